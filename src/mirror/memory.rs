//! The memory tier: manifests, tag records, sizes and absences, each bounded.
//!
//! Nothing here is the truth. What falls out is read from the store, or asked upstream.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::sync::Cache;

use crate::oci::{Descriptor, Digest, Manifest, MediaType, Repository, Tag};
use crate::store::TagRecord;

use super::error::MirrorError;
use super::rights::Kind;

/// Sizes and tag records, at most; each is some 200 bytes.
const ENTRIES: u64 = 100_000;
/// Absences, at most.
const ABSENCES: u64 = 10_000;

/// A manifest as it is served: verbatim, with what its bytes are.
#[derive(Debug, Clone)]
pub struct StoredManifest {
    /// What its bytes hash to.
    pub digest: Digest,
    /// What it is.
    pub media_type: MediaType,
    /// As they came from upstream.
    pub bytes: Bytes,
}

impl StoredManifest {
    /// Its descriptor.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(
            self.media_type.clone(),
            self.digest,
            self.bytes.len() as u64,
        )
    }
}

/// Manifests, tag records and sizes.
#[derive(Debug)]
pub struct Memory {
    manifests: Cache<Digest, Arc<StoredManifest>>,
    tags: Cache<(Repository, Tag), TagRecord>,
    sizes: Cache<(Repository, Digest), u64>,
}

impl Memory {
    /// A tier that keeps at most `bytes` of manifests.
    pub fn new(bytes: u64) -> Self {
        let weigh = |_: &Digest, manifest: &Arc<StoredManifest>| {
            u32::try_from(manifest.bytes.len() + 256).unwrap_or(u32::MAX)
        };
        Self {
            manifests: Cache::builder().max_capacity(bytes).weigher(weigh).build(),
            tags: Cache::new(ENTRIES),
            sizes: Cache::new(ENTRIES),
        }
    }

    /// A manifest's bytes. The caller holds the right to them.
    pub fn manifest(&self, digest: &Digest) -> Option<Arc<StoredManifest>> {
        self.manifests.get(digest)
    }

    /// Keeps a manifest, and the sizes that it gives for what `repository` refers to by it.
    pub fn keep_manifest(
        &self,
        repository: &Repository,
        manifest: &Arc<StoredManifest>,
        parsed: &Manifest,
    ) {
        for child in parsed.references() {
            self.sizes
                .insert((repository.clone(), child.digest), child.size);
        }
        self.manifests.insert(manifest.digest, Arc::clone(manifest));
    }

    /// The size of a blob as a manifest of the repository gives it.
    pub fn size_hint(&self, repository: &Repository, digest: &Digest) -> Option<u64> {
        self.sizes.get(&(repository.clone(), *digest))
    }

    /// What a tag was last seen to point at.
    pub fn tag(&self, repository: &Repository, tag: &Tag) -> Option<TagRecord> {
        self.tags.get(&(repository.clone(), tag.clone()))
    }

    /// Keeps a tag's record.
    pub fn keep_tag(&self, repository: &Repository, tag: &Tag, record: TagRecord) {
        self.tags.insert((repository.clone(), tag.clone()), record);
    }

    /// Forgets a tag.
    pub fn forget_tag(&self, repository: &Repository, tag: &Tag) {
        self.tags.invalidate(&(repository.clone(), tag.clone()));
    }
}

/// What a moment ago did not exist upstream: repository, kind, and tag or digest.
pub type AbsentKey = (Repository, Kind, String);

/// Answers that stay negative for seconds. Only a true 404 comes here, never trouble.
#[derive(Debug)]
pub struct Absent<K: Hash + Eq + Send + Sync + 'static = AbsentKey>(
    Cache<K, (Instant, MirrorError)>,
);

impl<K: Hash + Eq + Send + Sync + 'static> Default for Absent<K> {
    fn default() -> Self {
        Self(Cache::new(ABSENCES))
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> Absent<K> {
    /// The answer, while it lasts.
    pub fn get(&self, key: &K) -> Option<MirrorError> {
        self.get_at(key, Instant::now())
    }

    /// Remembers `error` for `lifetime`.
    pub fn insert(&self, key: K, error: MirrorError, lifetime: Duration) {
        if let Some(until) = Instant::now().checked_add(lifetime) {
            self.0.insert(key, (until, error));
        }
    }

    fn get_at(&self, key: &K, now: Instant) -> Option<MirrorError> {
        let (until, error) = self.0.get(key)?;
        (now < until).then_some(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_is_forgotten_when_its_time_is_over() {
        let absent = Absent::<u8>::default();
        let lifetime = Duration::from_secs(10);
        let before = Instant::now();
        absent.insert(1, MirrorError::Internal, lifetime);
        let after = Instant::now();
        assert!(absent.get_at(&1, before).is_some());
        assert!(absent.get_at(&1, after + lifetime).is_none());
        assert!(absent.get_at(&2, before).is_none());
    }
}
