//! The changes that the index takes, each applied within a transaction that may hold many.
//!
//! Knows the tables' relations (a blob's row and its place in the order of eviction; a manifest and
//! the tags that mean it) and keeps the totals. Opens and commits nothing.

use redb::{ReadableTable, Table, WriteTransaction};

use super::IndexError;
use super::catalog::Holdings;
use super::lists::{ListRecord, Lists};
use super::quotas::Quotas;
use super::tables::{
    BLOBS, BlobRow, LINKS, LRU, Link, META, TAGGED, TAGS, TagRecord, Totals, digest_key, link_key,
    lru_key, tag_key, tagged_key, text_after,
};
use crate::oci::{Digest, MediaType, Registry, Repository, RepositoryName, Tag};
use crate::store::Audience;
use crate::store::ledger::charged;

/// One change.
#[derive(Debug)]
pub(crate) enum Change {
    /// A blob was committed.
    Insert { digest: Digest, row: BlobRow },
    /// A stored blob turned out to be a manifest.
    SetMediaType {
        digest: Digest,
        media_type: MediaType,
    },
    /// Blobs' files were removed: their rows go, and with them their links and the tags that mean
    /// them.
    Remove { digests: Vec<Digest> },
    /// A repository, or the whole registry, may read a digest.
    Link {
        digest: Digest,
        registry: Registry,
        name: Option<RepositoryName>,
        audience: Audience,
        at: u64,
    },
    /// Links of digests that are not stored and not on their way.
    DropLinks { digests: Vec<Digest> },
    /// A tag was confirmed, or refused.
    PutTag {
        repository: Repository,
        tag: Tag,
        record: TagRecord,
    },
    /// A tag is gone upstream.
    RemoveTag { repository: Repository, tag: Tag },
    /// An upstream told a list, or, with `None`, that there is none.
    SetList {
        key: Vec<u8>,
        record: Option<ListRecord>,
    },
    /// What is known of upstreams' quotas.
    PutQuotas { rows: Vec<(String, Vec<u8>)> },
    /// A blob was used.
    Touch { digest: Digest, at: u64 },
}

/// How many links and tag records the index takes; what comes beyond is not recorded. How many bytes of
/// lists it takes; there the oldest make room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) links: u64,
    pub(crate) tags: u64,
    pub(crate) lists: u64,
}

impl Caps {
    /// Bounds that keep the index a small part of a cache of `limit` bytes: some 150 bytes a row,
    /// so at most 2 % of a large one.
    pub(crate) fn for_limit(limit: u64) -> Self {
        Self {
            links: (limit / (16 << 10)).max(10_000),
            tags: (limit / (64 << 10)).max(2_000),
            lists: (limit / 256).clamp(256 << 10, 32 << 20),
        }
    }
}

/// The tables, open for one transaction.
pub(super) struct Tables<'txn> {
    blobs: Table<'txn, &'static [u8], &'static [u8]>,
    lru: Table<'txn, &'static [u8], ()>,
    links: Table<'txn, &'static [u8], u64>,
    holdings: Holdings<'txn>,
    tags: Table<'txn, &'static [u8], &'static [u8]>,
    tagged: Table<'txn, &'static [u8], ()>,
    lists: Lists<'txn>,
    quotas: Quotas<'txn>,
    meta: Table<'txn, &'static str, u64>,
    totals: Totals,
    caps: Caps,
    changed: bool,
}

type Result<T> = std::result::Result<T, IndexError>;

impl<'txn> Tables<'txn> {
    /// Opens all tables, making those that are missing.
    pub(super) fn open(txn: &'txn WriteTransaction, totals: Totals, caps: Caps) -> Result<Self> {
        Ok(Self {
            blobs: txn.open_table(BLOBS)?,
            lru: txn.open_table(LRU)?,
            links: txn.open_table(LINKS)?,
            holdings: Holdings::open(txn)?,
            tags: txn.open_table(TAGS)?,
            tagged: txn.open_table(TAGGED)?,
            lists: Lists::open(txn, caps.lists)?,
            quotas: Quotas::open(txn)?,
            meta: txn.open_table(META)?,
            totals,
            caps,
            changed: false,
        })
    }

    /// Writes the totals; `None` when nothing changed and there is nothing to commit.
    pub(super) fn finish(mut self) -> Result<Option<Totals>> {
        if !self.changed {
            return Ok(None);
        }
        for (name, value) in self.totals.rows() {
            self.meta.insert(name, value)?;
        }
        Ok(Some(self.totals))
    }

    pub(super) fn apply(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Insert { digest, row } => self.insert(digest, row),
            Change::SetMediaType { digest, media_type } => self.set_media_type(digest, media_type),
            Change::Remove { digests } => digests.iter().try_for_each(|digest| self.remove(digest)),
            Change::Link {
                digest,
                registry,
                name,
                audience,
                at,
            } => {
                let link = Link {
                    at: *at,
                    audience: *audience,
                };
                self.link(digest, &link_key(digest, registry, name.as_ref()), link)
            }
            Change::DropLinks { digests } => digests
                .iter()
                .try_for_each(|digest| self.drop_links(digest)),
            Change::PutTag {
                repository,
                tag,
                record,
            } => self.put_tag(&tag_key(repository, tag), record),
            Change::RemoveTag { repository, tag } => self.remove_tag(&tag_key(repository, tag)),
            Change::SetList { key, record } => {
                self.changed |= self.lists.set(key, record.as_ref(), &mut self.totals)?;
                Ok(())
            }
            Change::PutQuotas { rows } => {
                self.changed |= self.quotas.put(rows)?;
                Ok(())
            }
            Change::Touch { digest, at } => self.touch(digest, *at),
        }
    }

    fn row(&self, digest: &Digest) -> Result<Option<BlobRow>> {
        let key = digest_key(digest);
        let row = self.blobs.get(key.as_slice())?;
        row.map(|row| BlobRow::decode(row.value())).transpose()
    }

    fn write_row(&mut self, digest: &Digest, row: &BlobRow) -> Result<()> {
        let key = digest_key(digest);
        self.blobs.insert(key.as_slice(), row.encode().as_slice())?;
        self.changed = true;
        Ok(())
    }

    fn insert(&mut self, digest: &Digest, row: &BlobRow) -> Result<()> {
        if let Some(old) = self.row(digest)? {
            self.forget(digest, &old)?;
        }
        self.write_row(digest, row)?;
        let place = lru_key(row.last_use, digest);
        self.lru.insert(place.as_slice(), ())?;
        self.totals.blobs += 1;
        self.totals.bytes += charged(row.size);
        Ok(())
    }

    /// Takes a row out of the order of eviction and the totals.
    fn forget(&mut self, digest: &Digest, row: &BlobRow) -> Result<()> {
        let place = lru_key(row.last_use, digest);
        self.lru.remove(place.as_slice())?;
        self.totals.blobs = self.totals.blobs.saturating_sub(1);
        self.totals.bytes = self.totals.bytes.saturating_sub(charged(row.size));
        self.changed = true;
        Ok(())
    }

    fn set_media_type(&mut self, digest: &Digest, media_type: &MediaType) -> Result<()> {
        let Some(mut row) = self.row(digest)? else {
            return Ok(());
        };
        if row.media_type.as_ref() == Some(media_type) {
            return Ok(());
        }
        row.media_type = Some(media_type.clone());
        self.write_row(digest, &row)
    }

    fn remove(&mut self, digest: &Digest) -> Result<()> {
        if let Some(row) = self.row(digest)? {
            self.forget(digest, &row)?;
            self.blobs.remove(digest_key(digest).as_slice())?;
        }
        self.drop_links(digest)?;
        self.drop_tags_of(digest)
    }

    fn drop_links(&mut self, digest: &Digest) -> Result<()> {
        let prefix = digest_key(digest);
        let (from, to) = text_after(&prefix);
        let mut gone = 0;
        for entry in self
            .links
            .extract_from_if(from.as_slice()..to.as_slice(), |_, _| true)?
        {
            let key = entry?.0;
            self.holdings.remove(digest, &key.value()[prefix.len()..])?;
            gone += 1;
        }
        self.totals.links = self.totals.links.saturating_sub(gone);
        self.changed |= gone > 0;
        Ok(())
    }

    fn drop_tags_of(&mut self, digest: &Digest) -> Result<()> {
        let prefix = digest_key(digest);
        let (from, to) = text_after(&prefix);
        let mut keys = Vec::new();
        for entry in self
            .tagged
            .extract_from_if(from.as_slice()..to.as_slice(), |_, ()| true)?
        {
            keys.push(entry?.0.value()[prefix.len()..].to_vec());
        }
        for key in keys {
            self.tags.remove(key.as_slice())?;
            self.totals.tags = self.totals.tags.saturating_sub(1);
            self.changed = true;
        }
        Ok(())
    }

    fn link(&mut self, digest: &Digest, key: &[u8], link: Link) -> Result<()> {
        let known = self.links.get(key)?.map(|row| Link::decode(row.value()));
        if known.is_none() && self.totals.links >= self.caps.links {
            return Ok(());
        }
        // What is everyone's stays so.
        if known.is_none_or(|known| !known.audience.includes(link.audience)) {
            self.links.insert(key, link.encode())?;
            self.totals.links += u64::from(known.is_none());
            self.changed = true;
        }
        let is_manifest = |row: BlobRow| row.media_type.is_some();
        if self.row(digest)?.is_some_and(is_manifest) {
            let place = &key[digest_key(digest).len()..];
            self.changed |= self.holdings.add(digest, place)?;
        }
        Ok(())
    }

    fn put_tag(&mut self, key: &[u8], record: &TagRecord) -> Result<()> {
        if record.refused {
            return self.refuse_tag(key);
        }
        // A record whose manifest is not stored could not be served, and nothing would remove it.
        // The old record stays: a record advances only when its manifest is stored.
        if self.row(&record.descriptor.digest)?.is_none() {
            return Ok(());
        }
        let old = self.tag(key)?;
        if old.is_none() && self.totals.tags >= self.caps.tags {
            return Ok(());
        }
        match old {
            Some(old) if old.descriptor.digest == record.descriptor.digest => {}
            Some(old) => {
                let place = tagged_key(&old.descriptor.digest, key);
                self.tagged.remove(place.as_slice())?;
            }
            None => self.totals.tags += 1,
        }
        self.tags.insert(key, record.encode().as_slice())?;
        let place = tagged_key(&record.descriptor.digest, key);
        self.tagged.insert(place.as_slice(), ())?;
        self.changed = true;
        Ok(())
    }

    /// Marks what stands, which need not be what was refused: that may never have been stored.
    fn refuse_tag(&mut self, key: &[u8]) -> Result<()> {
        let Some(mut record) = self.tag(key)? else {
            return Ok(());
        };
        record.refused = true;
        self.tags.insert(key, record.encode().as_slice())?;
        self.changed = true;
        Ok(())
    }

    fn tag(&self, key: &[u8]) -> Result<Option<TagRecord>> {
        let row = self.tags.get(key)?;
        row.map(|row| TagRecord::decode(row.value())).transpose()
    }

    fn remove_tag(&mut self, key: &[u8]) -> Result<()> {
        let Some(old) = self.tag(key)? else {
            return Ok(());
        };
        self.tags.remove(key)?;
        let place = tagged_key(&old.descriptor.digest, key);
        self.tagged.remove(place.as_slice())?;
        self.totals.tags = self.totals.tags.saturating_sub(1);
        self.changed = true;
        Ok(())
    }

    fn touch(&mut self, digest: &Digest, at: u64) -> Result<()> {
        let Some(mut row) = self.row(digest)? else {
            return Ok(());
        };
        if row.last_use >= at {
            return Ok(());
        }
        self.lru.remove(lru_key(row.last_use, digest).as_slice())?;
        row.last_use = at;
        self.lru.insert(lru_key(at, digest).as_slice(), ())?;
        self.write_row(digest, &row)
    }
}
