//! The questions that the index answers. All of them read the disk: callers are on the blocking
//! pool.

use std::ops::Bound;

use redb::{ReadOnlyTable, ReadableTable as _};

use super::tables::{
    BLOBS, BlobRow, LINKS, LRU, Link, TAGS, TagRecord, digest_key, link_key, read_link_name,
    read_lru_key, shard_start, split_digest, tag_key, text_after,
};
use super::{Index, IndexError};
use crate::oci::{Algorithm, Digest, Registry, Repository, RepositoryName, Tag};
use crate::store::Audience;

/// The blobs of one algorithm whose digests begin with one byte.
pub(crate) type Shard = (Algorithm, u8);

/// A blob's place in the order of eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) last_use: u64,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// Who may read a digest through a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Any repository of the registry.
    Public,
    /// This repository, because its upstream said so.
    Repository,
}

/// All blobs' rows, as they are at one moment.
pub(crate) struct Blobs(ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Blobs {
    pub(crate) fn get(&self, digest: &Digest) -> Result<Option<BlobRow>> {
        let row = self.0.get(digest_key(digest).as_slice())?;
        row.map(|row| BlobRow::decode(row.value())).transpose()
    }
}

/// Most links of a digest that are looked at for a public one. Who has none of its own is asked about upstream.
const MOST_LINKS: usize = 1000;

type Result<T> = std::result::Result<T, IndexError>;

impl Index {
    pub(crate) fn blob(&self, digest: &Digest) -> Result<Option<BlobRow>> {
        self.blobs(|blobs| blobs.get(digest))
    }

    /// Looks at many blobs' rows in one transaction.
    pub(crate) fn blobs<T>(&self, look: impl FnOnce(&Blobs) -> Result<T>) -> Result<T> {
        self.read(|txn| look(&Blobs(txn.open_table(BLOBS)?)))
    }

    /// Whether a repository may read a digest, as far as that counts for `audience`: everyone may, or it has the right itself.
    pub(crate) fn link(
        &self,
        registry: &Registry,
        name: &RepositoryName,
        digest: &Digest,
        audience: Audience,
    ) -> Result<Option<Visibility>> {
        self.read(|txn| {
            let table = txn.open_table(LINKS)?;
            let counts = |key: Vec<u8>| -> Result<bool> {
                let row = table.get(key.as_slice())?;
                Ok(row.is_some_and(|row| Link::decode(row.value()).audience.includes(audience)))
            };
            if counts(link_key(digest, registry, None))? {
                return Ok(Some(Visibility::Public));
            }
            let here = counts(link_key(digest, registry, Some(name)))?;
            Ok(here.then_some(Visibility::Repository))
        })
    }

    /// Whether one of the first [`MOST_LINKS`] repositories that may read a digest, as far as that counts for `audience`,
    /// `is_public`.
    pub(crate) fn is_linked_where(
        &self,
        registry: &Registry,
        digest: &Digest,
        audience: Audience,
        is_public: impl Fn(&RepositoryName) -> bool,
    ) -> Result<bool> {
        self.read(|txn| {
            let table = txn.open_table(LINKS)?;
            let (from, to) = text_after(&link_key(digest, registry, None));
            for entry in table
                .range(from.as_slice()..to.as_slice())?
                .take(MOST_LINKS)
            {
                let (key, row) = entry?;
                let counts = Link::decode(row.value()).audience.includes(audience);
                if counts && is_public(&read_link_name(&key.value()[from.len()..])?) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    pub(crate) fn tag(&self, repository: &Repository, tag: &Tag) -> Result<Option<TagRecord>> {
        self.read(|txn| {
            let table = txn.open_table(TAGS)?;
            let row = table.get(tag_key(repository, tag).as_slice())?;
            row.map(|row| TagRecord::decode(row.value())).transpose()
        })
    }

    /// The first blobs in the order of eviction after a place, at most `count`.
    pub(crate) fn oldest(&self, after: Option<&Place>, count: usize) -> Result<Vec<Place>> {
        self.read(|txn| {
            let blobs = txn.open_table(BLOBS)?;
            let lru = txn.open_table(LRU)?;
            let after = after.map(|place| super::tables::lru_key(place.last_use, &place.digest));
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut places = Vec::new();
            for entry in lru.range::<&[u8]>((from, Bound::Unbounded))?.take(count) {
                let (last_use, digest) = read_lru_key(entry?.0.value())?;
                let row = blobs
                    .get(digest_key(&digest).as_slice())?
                    .ok_or_else(|| IndexError::Damaged("a place without a row".into()))?;
                let size = BlobRow::decode(row.value())?.size;
                places.push(Place {
                    last_use,
                    digest,
                    size,
                });
            }
            Ok(places)
        })
    }

    /// The latest last use.
    pub(crate) fn newest(&self) -> Result<u64> {
        self.read(|txn| {
            let lru = txn.open_table(LRU)?;
            match lru.last()? {
                Some((key, _)) => Ok(read_lru_key(key.value())?.0),
                None => Ok(0),
            }
        })
    }

    /// The manifests that were last used at `latest` or at most `within` milliseconds before it, the
    /// last one first, among so many blobs.
    pub(crate) fn manifests_before(
        &self,
        latest: u64,
        within: u64,
        rows: usize,
    ) -> Result<Vec<(Digest, BlobRow)>> {
        self.read(|txn| {
            let blobs = txn.open_table(BLOBS)?;
            let lru = txn.open_table(LRU)?;
            let from = latest.saturating_sub(within).to_be_bytes();
            let to = latest.saturating_add(1).to_be_bytes();
            let mut manifests = Vec::new();
            for entry in lru.range(from.as_slice()..to.as_slice())?.rev().take(rows) {
                let (_, digest) = read_lru_key(entry?.0.value())?;
                let row = blobs
                    .get(digest_key(&digest).as_slice())?
                    .ok_or_else(|| IndexError::Damaged("a place without a row".into()))?;
                let row = BlobRow::decode(row.value())?;
                if row.media_type.is_some() {
                    manifests.push((digest, row));
                }
            }
            Ok(manifests)
        })
    }

    /// The blobs of one shard, in order, with their sizes.
    pub(crate) fn shard(&self, shard: Shard) -> Result<Vec<(Digest, u64)>> {
        self.read(|txn| {
            let table = txn.open_table(BLOBS)?;
            let from = shard_start(shard.0, shard.1);
            let mut rows = Vec::new();
            for entry in table.range(from.as_slice()..)? {
                let (key, row) = entry?;
                if !key.value().starts_with(&from) {
                    break;
                }
                let (digest, _) = split_digest(key.value())?;
                rows.push((digest, BlobRow::decode(row.value())?.size));
            }
            Ok(rows)
        })
    }

    /// Digests after `after` that have links, of the next `count` links, each with when the last of
    /// these was recorded; empty at the end.
    pub(crate) fn linked(
        &self,
        after: Option<&Digest>,
        count: usize,
    ) -> Result<Vec<(Digest, u64)>> {
        self.read(|txn| {
            let table = txn.open_table(LINKS)?;
            // Every link of a digest sorts before its key with 0xff behind it.
            let after = after.map(|digest| [digest_key(digest), vec![0xff]].concat());
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut digests: Vec<(Digest, u64)> = Vec::new();
            for entry in table.range::<&[u8]>((from, Bound::Unbounded))?.take(count) {
                let (key, row) = entry?;
                let (digest, _) = split_digest(key.value())?;
                let at = Link::decode(row.value()).at;
                match digests.last_mut() {
                    Some((same, last)) if *same == digest => *last = at.max(*last),
                    _ => digests.push((digest, at)),
                }
            }
            Ok(digests)
        })
    }
}
