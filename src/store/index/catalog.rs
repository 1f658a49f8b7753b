//! Which repositories have something here: those with tag records, and those whose upstream said that they
//! hold a manifest that is stored. Not those whose tags their upstream has all refused since, nor, for everyone, those of
//! which all was learned with clients' logins.
//!
//! The second are looked up by digest as links; [`HOLDINGS`] is the same the other way round, for manifests
//! alone: a repository of which only blobs are here has nothing that could be pulled. An index of before
//! there was this table has none until the first change.

use redb::{ReadOnlyTable, ReadTransaction, Table, TableDefinition, TableError, WriteTransaction};

use super::tables::{LINKS, Link, TAGS, TagRecord, digest_key, text_after};
use super::{Index, IndexError};
use crate::oci::{Digest, Registry, RepositoryName};
use crate::store::Audience;

/// Registry, repository, digest of a manifest.
const HOLDINGS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("holdings");

type Result<T> = std::result::Result<T, IndexError>;

/// [`HOLDINGS`], open for one transaction.
pub(super) struct Holdings<'txn>(Table<'txn, &'static [u8], ()>);

impl<'txn> Holdings<'txn> {
    /// Opens the table, making it where it is missing.
    pub(super) fn open(txn: &'txn WriteTransaction) -> Result<Self> {
        Ok(Self(txn.open_table(HOLDINGS)?))
    }

    /// Adds the place that a link of a manifest names, unless it is a whole registry; says whether it is new.
    pub(super) fn add(&mut self, digest: &Digest, place: &[u8]) -> Result<bool> {
        match holding(digest, place) {
            Some(key) => Ok(self.0.insert(key.as_slice(), ())?.is_none()),
            None => Ok(false),
        }
    }

    /// Removes what was added for a link.
    pub(super) fn remove(&mut self, digest: &Digest, place: &[u8]) -> Result<()> {
        if let Some(key) = holding(digest, place) {
            self.0.remove(key.as_slice())?;
        }
        Ok(())
    }
}

/// `place` is the part of a link's key behind the digest: registry, NUL, and the name, if any.
fn holding(digest: &Digest, place: &[u8]) -> Option<Vec<u8>> {
    let is_named = !place.ends_with(b"\0");
    is_named.then(|| [place, b"\0", &digest_key(digest)].concat())
}

/// The registry and the repository that a key begins with.
fn place_of(key: &[u8]) -> Result<(Registry, RepositoryName)> {
    let mut parts = key.split(|byte| *byte == 0);
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let registry = text().and_then(|text| text.parse().ok());
    let name = text().and_then(|text| text.parse().ok());
    registry
        .zip(name)
        .ok_or_else(|| IndexError::Damaged("a malformed place".into()))
}

/// Both tables whose keys begin with registry and repository, and whose eyes the second one's were seen with.
struct Places {
    tags: ReadOnlyTable<&'static [u8], &'static [u8]>,
    holdings: Option<ReadOnlyTable<&'static [u8], ()>>,
    links: ReadOnlyTable<&'static [u8], u64>,
}

impl Places {
    fn open(txn: &ReadTransaction) -> Result<Self> {
        Ok(Self {
            tags: txn.open_table(TAGS)?,
            holdings: match txn.open_table(HOLDINGS) {
                Err(TableError::TableDoesNotExist(_)) => None,
                table => Some(table?),
            },
            links: txn.open_table(LINKS)?,
        })
    }

    /// The first place in `from..to`.
    fn first(&self, from: &[u8], to: &[u8]) -> Result<Option<(Registry, RepositoryName)>> {
        let mut keys = Vec::new();
        if let Some(entry) = self.tags.range(from..to)?.next() {
            keys.push(entry?.0.value().to_vec());
        }
        if let Some(holdings) = &self.holdings
            && let Some(entry) = holdings.range(from..to)?.next()
        {
            keys.push(entry?.0.value().to_vec());
        }
        keys.iter().min().map(|key| place_of(key)).transpose()
    }

    /// Whether the repository that begins with `from`, up to `to`, is shown to `audience`: it has a tag that was not refused
    /// since it was confirmed; or no tag at all, but a manifest.
    fn is_shown(&self, from: &[u8], to: &[u8], audience: Audience) -> Result<bool> {
        let mut are_refused = false;
        for entry in self.tags.range(from..to)? {
            let record = TagRecord::decode(entry?.1.value())?;
            if !record.audience.includes(audience) {
                continue;
            }
            if !record.refused {
                return Ok(true);
            }
            are_refused = true;
        }
        Ok(!are_refused && self.is_held(from, to, audience)?)
    }

    fn is_held(&self, from: &[u8], to: &[u8], audience: Audience) -> Result<bool> {
        let Some(holdings) = &self.holdings else {
            return Ok(false);
        };
        // A place in the order of links is the digest, then the rest but its last NUL.
        let place = &from[..from.len() - 1];
        for entry in holdings.range(from..to)? {
            let key = entry?.0;
            let link = [&key.value()[from.len()..], place].concat();
            let link = self.links.get(link.as_slice())?;
            if link.is_some_and(|row| Link::decode(row.value()).audience.includes(audience)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Index {
    /// The registries that have something here, in order, at most `count`. Two look-ups each.
    pub(crate) fn registries(&self, count: usize) -> Result<Vec<Registry>> {
        self.read(|txn| {
            let places = Places::open(txn)?;
            let mut found = Vec::new();
            let mut from = Vec::new();
            while found.len() < count
                && let Some((registry, _)) = places.first(&from, &[0xff])?
            {
                from = text_after(&[registry.as_str().as_bytes(), b"\0"].concat()).1;
                found.push(registry);
            }
            Ok(found)
        })
    }

    /// The names of a registry's repositories that have something here, in order, after `after`, at most
    /// `count`, as far as that counts for `audience`. Four look-ups each, and one for each tag that was refused, or does not
    /// count, before one that does.
    pub(crate) fn repositories(
        &self,
        registry: &Registry,
        after: &str,
        count: usize,
        audience: Audience,
    ) -> Result<Vec<RepositoryName>> {
        let (first, end) = text_after(&[registry.as_str().as_bytes(), b"\0"].concat());
        // What follows a name is a tag or a digest, and no digest's key begins with 0xff.
        let of = |name: &str| text_after(&[&first, name.as_bytes(), b"\0"].concat());
        self.read(|txn| {
            let places = Places::open(txn)?;
            let mut found = Vec::new();
            let mut from = if after.is_empty() {
                first.clone()
            } else {
                of(after).1
            };
            while found.len() < count
                && from < end
                && let Some((_, name)) = places.first(&from, &end)?
            {
                let (own, behind) = of(name.as_str());
                if places.is_shown(&own, &behind, audience)? {
                    found.push(name);
                }
                from = behind;
            }
            Ok(found)
        })
    }
}
