//! The disk: content-addressed files under a hard limit, and an index of what they are, who may
//! read them and what tags mean.
//!
//! ```text
//! <dir>/lock                            one process a directory
//! <dir>/VERSION                         the layout's version
//! <dir>/blobs/<algorithm>/<2 hex>/<hex> verified blobs, and nothing else
//! <dir>/partial/<algorithm>-<hex>       blobs on their way, with a `.state` that says how far
//! <dir>/index.redb                      rows, links, tag records, lists, the order of eviction
//! <dir>/index.redb.broken-<n>           indexes that were set aside
//! ```
//!
//! What it promises, and where:
//! - Nothing stands under `blobs/` unless its bytes hash to its name: `commit` takes only what a
//!   finished [`Verifier`](crate::oci::Verifier) proves (`commit.rs`), and what is found there
//!   without a row is hashed before it gets one (`adopt.rs`).
//! - All bytes on disk or promised to writers, the index included, stay under the limit at every
//!   instant (`ledger.rs`, `room.rs`); eviction only unlinks (`evict.rs`), and spares what manifests
//!   served within the hour refer to while anything else can go (`guard.rs`).
//! - A crash at any point leaves what the next start can use or clear away (`commit.rs`, `open.rs`,
//!   `sweep.rs`).
//! - No async thread waits for the disk: all of it is on the blocking pool, except for reads of
//!   pages that are in memory (`reads.rs`), and but for what the system took back in the middle of a
//!   part that a socket is given (`part.rs`).
//! - The cache is disposable: every error means "go on without it". Errors of the index heal by
//!   themselves, by opening it again or by rebuilding it (`index/writer.rs`).
//!
//! Depends on `oci` and `metrics` only.

mod adopt;
mod audience;
mod begin;
#[doc(hidden)]
pub mod bench;
mod bodies;
mod buffers;
mod clock;
mod commit;
mod disk;
mod error;
mod evict;
mod extents;
mod faults;
mod file;
mod fill;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gone;
mod guard;
mod index;
mod inner;
mod layout;
mod ledger;
mod lists;
mod live;
mod lock;
mod open;
mod orphans;
mod part;
mod partial;
mod paused;
mod reads;
mod recent;
mod references;
mod room;
mod settings;
mod sweep;
mod tier;
mod touches;
mod upkeep;
mod usage;
mod uses;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::runtime::Handle;

pub use audience::Audience;
pub use clock::Clock;
pub use commit::Complete;
pub use error::{OpenError, StoreError};
pub use extents::Extents;
pub use faults::{Fault, Faults, Op};
pub use file::{BlobFile, PartialFile};
pub use index::{IndexError, ListRecord, TagRecord, Visibility};
pub use part::{Chunk, Lost, PART, Part, Trail};
pub use references::References;
pub use settings::{MIN_LIMIT, Settings};
pub use usage::Usage;
pub use writer::{BlobWriter, Written};

use crate::oci::{Digest, MediaType, Registry, Repository, RepositoryName, Tag, Verified};
use crate::sync;
use index::Change;
use inner::{Inner, lost};

/// An open cache directory. Cloning shares it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

impl Store {
    /// Opens a cache directory, making it where it is missing. Waits for its lock; then ready at
    /// once, with a sweep in the background. A broken or missing index is no error: it is rebuilt.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        let handle = Handle::current();
        let opened = handle.clone().spawn_blocking(move || {
            let inner = open::open(&settings, handle)?;
            *sync::lock(&inner.upkeep) = Some(upkeep::start(&inner));
            Ok(inner)
        });
        match opened.await {
            Ok(inner) => inner.map(Self),
            Err(error) => lost(error).await,
        }
    }

    /// Ends the background work, writes what is pending and closes the index. The directory is free
    /// for others when the last writer is gone too.
    pub async fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.stop.cancel();
        let upkeep = sync::lock(&self.0.upkeep).take();
        if let Some(task) = upkeep {
            let _ = task.await;
        }
        self.0.note_all_uses().await;
        self.0.open.clear();
        self.0.index.close().await;
    }

    /// Opens a stored blob, and counts as its use. A file that is missing or was cut is dropped.
    pub async fn blob(&self, digest: &Digest) -> Result<Option<Arc<BlobFile>>, StoreError> {
        self.0.blob(digest).await
    }

    /// As [`Store::blob`], where the file is open already; never blocks.
    pub fn blob_if_open(&self, digest: &Digest) -> Option<Arc<BlobFile>> {
        self.0.blob_if_open(digest)
    }

    /// Removes a stored blob that turned out to be unreadable, or wrong; does nothing while it is
    /// being written. Readers that have it open go on.
    pub async fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        let digest = *digest;
        self.0
            .blocking(move |inner| inner.drop_blob(&digest))
            .await?;
        self.0.settle_gone().await
    }

    /// The length of a stored blob. Not a use.
    pub async fn stat(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.0.stat(digest).await
    }

    /// Stores a small blob that is whole. For one that is stored already it only adds the type.
    pub async fn put(
        &self,
        verified: Verified,
        bytes: Bytes,
        media_type: Option<MediaType>,
    ) -> Result<(), StoreError> {
        self.0.put(verified, bytes, media_type).await
    }

    /// A stored manifest, its hash checked, and its type; `None` for a blob that was stored without
    /// a type. Counts as a use.
    pub async fn manifest(
        &self,
        digest: &Digest,
    ) -> Result<Option<(MediaType, Bytes)>, StoreError> {
        self.0.manifest(digest).await
    }

    /// A client is given a manifest: for an hour, what it refers to and itself are not evicted while
    /// anything else can be, see `guard.rs`. Costs no more than a short lock.
    pub fn served(&self, references: &Arc<References>) {
        self.0.served(references);
    }

    /// Starts to write a blob, from where an earlier writer got to: what it left is hashed before
    /// this returns. Room for `size` bytes is reserved, evicting others; where the length is not
    /// known it is reserved as the blob grows.
    ///
    /// Fails with [`StoreError::Busy`] while the digest has a writer, with
    /// [`StoreError::AlreadyStored`] when there is nothing to write, and with
    /// [`StoreError::NoRoom`] when eviction cannot make room.
    pub async fn begin(&self, digest: Digest, size: Option<u64>) -> Result<BlobWriter, StoreError> {
        // A task of its own: what it takes over must end up in a writer, whoever waits for it.
        let task = self
            .0
            .handle
            .spawn(begin::begin(Arc::clone(&self.0), digest, size));
        match task.await {
            Ok(writer) => writer,
            Err(error) => lost(error).await,
        }
    }

    /// Records that a repository, or with `None` the whole registry, may read a digest, and who may go by that. The link
    /// goes when the blob goes; one of a digest that is never stored goes with the next sweep.
    pub async fn record_link(
        &self,
        registry: &Registry,
        name: Option<&RepositoryName>,
        digest: &Digest,
        audience: Audience,
    ) -> Result<(), StoreError> {
        self.change(Change::Link {
            digest: *digest,
            registry: registry.clone(),
            name: name.cloned(),
            audience,
            at: self.0.stamps.now(),
        })
        .await
    }

    /// Whether a repository may read a digest, and why, as far as that counts for `audience`.
    pub async fn has_link(
        &self,
        registry: &Registry,
        name: &RepositoryName,
        digest: &Digest,
        audience: Audience,
    ) -> Result<Option<Visibility>, StoreError> {
        let (registry, name, digest) = (registry.clone(), name.clone(), *digest);
        self.0
            .blocking(move |inner| Ok(inner.index.link(&registry, &name, &digest, audience)?))
            .await
    }

    /// Whether a repository that `is_public` may read a digest, as far as that counts for `audience`. Looks at each that may, up
    /// to a bound.
    pub async fn is_linked_where(
        &self,
        registry: &Registry,
        digest: &Digest,
        audience: Audience,
        is_public: impl Fn(&RepositoryName) -> bool + Send + 'static,
    ) -> Result<bool, StoreError> {
        let (registry, digest) = (registry.clone(), *digest);
        self.0
            .blocking(move |inner| {
                let index = &inner.index;
                Ok(index.is_linked_where(&registry, &digest, audience, is_public)?)
            })
            .await
    }

    /// What a tag was last known to mean.
    pub async fn tag(
        &self,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Option<TagRecord>, StoreError> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.0
            .blocking(move |inner| Ok(inner.index.tag(&repository, &tag)?))
            .await
    }

    /// The registries of which a manifest is here, in order, at most `count`.
    pub async fn registries(&self, count: usize) -> Result<Vec<Registry>, StoreError> {
        self.0
            .blocking(move |inner| Ok(inner.index.registries(count)?))
            .await
    }

    /// The names of a registry's repositories that have tag records, or a link to a manifest that is here,
    /// in the order of their bytes, after `after`, at most `count`, as far as that counts for `audience`.
    pub async fn repositories(
        &self,
        registry: &Registry,
        after: &str,
        count: usize,
        audience: Audience,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        let (registry, after) = (registry.clone(), after.to_owned());
        self.0
            .blocking(move |inner| {
                let index = &inner.index;
                Ok(index.repositories(&registry, &after, count, audience)?)
            })
            .await
    }

    /// Records what a tag means. A record whose manifest is not stored is not kept, and the one
    /// before it stays; records go when their manifest goes. One that is refused marks the one that stands.
    pub async fn put_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
        record: TagRecord,
    ) -> Result<(), StoreError> {
        self.change(Change::PutTag {
            repository: repository.clone(),
            tag: tag.clone(),
            record,
        })
        .await
    }

    /// Forgets what a tag meant.
    pub async fn remove_tag(&self, repository: &Repository, tag: &Tag) -> Result<(), StoreError> {
        self.change(Change::RemoveTag {
            repository: repository.clone(),
            tag: tag.clone(),
        })
        .await
    }

    /// What was last known of upstreams' quotas: rows by key, which mean something to their writer.
    pub async fn quotas(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.0.blocking(|inner| Ok(inner.index.quotas()?)).await
    }

    /// Writes such rows over those with their keys.
    pub async fn put_quotas(&self, rows: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        self.change(Change::PutQuotas { rows }).await
    }

    /// What is used, and what happened.
    pub fn usage(&self) -> Usage {
        self.0.usage()
    }

    /// Whether the directory takes writes and the index answers.
    pub async fn writable(&self) -> Result<(), StoreError> {
        self.0.blocking(|inner| inner.probe()).await
    }

    async fn change(&self, change: Change) -> Result<(), StoreError> {
        let done = self.0.index.change(change, None).await;
        done.map_err(|unsettled| unsettled.error.into())
    }
}

impl Inner {
    fn probe(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let path = self.disk.layout.probe();
        let file = self.disk.create(&path)?;
        let written = self.disk.write_at(&file, &path, b"ok", 0);
        self.disk.unlink(&path)?;
        written?;
        if self.index.in_service() {
            Ok(())
        } else {
            Err(IndexError::OutOfService.into())
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.0.disk.layout.root())
            .finish_non_exhaustive()
    }
}
