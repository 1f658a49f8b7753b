//! Manifests and tag records on their way to disk.
//!
//! A manifest is answered when its bytes are verified; syncing it takes longer than that. So it is stored by a task of
//! its own, which a stop waits for, and is served from here meanwhile. A tag's record follows what it points at: first
//! the manifest, then its links, then the record. A crash in between costs another fetch.
//!
//! Owns what is being written, and its bounds: beyond them a manifest is not kept, and a record not written down.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::oci::{Digest, Repository, Tag, Verified};
use crate::store::{Store, TagRecord};
use crate::sync::lock;

use super::memory::StoredManifest;
use super::rights::{Granted, Rights};
use super::tasks::Tasks;

/// Manifests that are being stored, at most, in KiB.
const MANIFESTS_KIB: usize = 64 << 10;
/// Tags whose records are being written, at most.
const TAGS: usize = 10_000;

/// What is being written. Clones are the same.
#[derive(Clone)]
pub struct Keeping {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    rights: Arc<Rights>,
    tasks: Tasks,
    room: Arc<Semaphore>,
    manifests: Mutex<HashMap<Digest, Held>>,
    /// The next record of each tag that has a task writing its records.
    tags: Mutex<HashMap<TagKey, Option<Next>>>,
}

/// A manifest that is being stored.
struct Held {
    manifest: Arc<StoredManifest>,
    /// Cancelled when it is stored, or is known not to be.
    settled: CancellationToken,
}

type TagKey = (Repository, Tag);

/// What is to be written down of a tag.
struct Next {
    /// What it points at; `None` where it is gone.
    record: Option<TagRecord>,
    /// What has to be stored before.
    after: Vec<Digest>,
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeping").finish_non_exhaustive()
    }
}

impl Keeping {
    /// Nothing being written to `store` yet; what will be is among `tasks`.
    pub fn new(store: Store, rights: Arc<Rights>, tasks: Tasks) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                rights,
                tasks,
                room: Arc::new(Semaphore::new(MANIFESTS_KIB)),
                manifests: Mutex::default(),
                tags: Mutex::default(),
            }),
        }
    }

    /// A manifest that is being stored.
    pub fn manifest(&self, granted: &Granted) -> Option<Arc<StoredManifest>> {
        let manifests = self.inner.manifests();
        let held = manifests.get(granted.digest())?;
        Some(Arc::clone(&held.manifest))
    }

    /// Whether a manifest is being stored.
    pub fn holds(&self, digest: &Digest) -> bool {
        self.inner.manifests().contains_key(digest)
    }

    /// Stores a manifest, and then what was learned of the rights to it.
    pub fn keep_manifest(&self, manifest: &Arc<StoredManifest>, verified: Verified) {
        let kib = u32::try_from(manifest.bytes.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let mut manifests = self.inner.manifests();
        let Entry::Vacant(place) = manifests.entry(manifest.digest) else {
            // Whoever stores it writes down the links of all who fetched it.
            return;
        };
        let Ok(room) = Arc::clone(&self.inner.room).try_acquire_many_owned(kib) else {
            tracing::warn!(digest = %manifest.digest, "the disk is behind: a manifest is not kept");
            return;
        };
        let settled = CancellationToken::new();
        place.insert(Held {
            manifest: Arc::clone(manifest),
            settled: settled.clone(),
        });
        drop(manifests);
        let storing = Storing {
            inner: Arc::clone(&self.inner),
            manifest: Arc::clone(manifest),
            settled,
            _room: room,
        };
        self.inner.tasks.spawn(storing.run(verified));
    }

    /// Writes down what a tag points at, or with `None` that it is gone, once what it depends on is stored. Of several
    /// records the last one counts.
    pub fn keep_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
        record: Option<TagRecord>,
        after: Vec<Digest>,
    ) {
        let mut tags = self.inner.tags();
        let full = tags.len() >= TAGS;
        let mut next = Next { record, after };
        match tags.entry((repository.clone(), tag.clone())) {
            Entry::Occupied(mut entry) => {
                let passed_over = entry.get_mut().take().map_or(Vec::new(), |old| old.after);
                next.after.extend(passed_over);
                next.after.sort_unstable();
                next.after.dedup();
                entry.insert(Some(next));
            }
            Entry::Vacant(entry) if !full => {
                let writing = WritingTag {
                    inner: Arc::clone(&self.inner),
                    key: entry.key().clone(),
                };
                entry.insert(Some(next));
                drop(tags);
                self.inner.tasks.spawn(writing.run());
            }
            Entry::Vacant(_) => {
                tracing::warn!(%repository, %tag, "the disk is behind: a tag record is not written down");
            }
        }
    }
}

impl Inner {
    /// Returns when `digest` is not being stored.
    async fn settled(&self, digest: &Digest) {
        let settled = self
            .manifests()
            .get(digest)
            .map(|held| held.settled.clone());
        if let Some(settled) = settled {
            settled.cancelled().await;
        }
    }

    fn manifests(&self) -> MutexGuard<'_, HashMap<Digest, Held>> {
        lock(&self.manifests)
    }

    fn tags(&self) -> MutexGuard<'_, HashMap<TagKey, Option<Next>>> {
        lock(&self.tags)
    }
}

/// The task that stores a manifest. However it ends, the manifest is no longer held then.
struct Storing {
    inner: Arc<Inner>,
    manifest: Arc<StoredManifest>,
    settled: CancellationToken,
    _room: OwnedSemaphorePermit,
}

impl Storing {
    async fn run(self, verified: Verified) {
        let Inner { store, rights, .. } = &*self.inner;
        let (digest, bytes) = (self.manifest.digest, self.manifest.bytes.clone());
        let media_type = Some(self.manifest.media_type.clone());
        if let Err(error) = store.put(verified, bytes, media_type).await {
            tracing::warn!(%digest, %error, "a manifest could not be kept on disk");
            return;
        }
        // Held no more before its links are written down: whoever has fetched it too and found it held is among them,
        // and whoever fetches it from now on writes down its own.
        self.inner.manifests().remove(&digest);
        rights.persist(&digest).await;
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        let mut manifests = self.inner.manifests();
        if let Entry::Occupied(entry) = manifests.entry(self.manifest.digest)
            && Arc::ptr_eq(&entry.get().manifest, &self.manifest)
        {
            entry.remove();
        }
        drop(manifests);
        self.settled.cancel();
    }
}

/// The task that writes a tag's records, one after the other. Should it panic, the next record has a task again.
struct WritingTag {
    inner: Arc<Inner>,
    key: TagKey,
}

impl WritingTag {
    async fn run(self) {
        while let Some(next) = self.next() {
            for digest in &next.after {
                self.inner.settled(digest).await;
            }
            self.write(next.record).await;
        }
    }

    /// The next record; where there is none, the tag has no task from now on.
    fn next(&self) -> Option<Next> {
        let mut tags = self.inner.tags();
        let next = tags.get_mut(&self.key)?.take();
        if next.is_none() {
            tags.remove(&self.key);
        }
        next
    }

    async fn write(&self, record: Option<TagRecord>) {
        let (store, (repository, tag)) = (&self.inner.store, &self.key);
        let written = match record {
            Some(record) => store.put_tag(repository, tag, record).await,
            None => store.remove_tag(repository, tag).await,
        };
        if let Err(error) = written {
            tracing::warn!(%repository, %tag, %error, "what was learned of a tag could not be written down");
        }
    }
}

impl Drop for WritingTag {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.inner.tags().remove(&self.key);
        }
    }
}
