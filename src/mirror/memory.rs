//! The memory tier: manifests, tags, sizes, absences and troubles, each bounded.
//!
//! Nothing here is the truth. What falls out is read from the store, or asked upstream.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::oci::{Descriptor, Digest, Manifest, MediaType, Registry, Repository, Tag};
use crate::store::{References, TagRecord};

use super::error::MirrorError;
use super::freshness;
use super::rights::{Granted, Kind};
use super::served::StaleReason;

/// Sizes and tag records, at most; each is some 200 bytes.
const ENTRIES: u64 = 100_000;
/// Absences, at most.
const ABSENCES: u64 = 10_000;
/// Upstreams in trouble, at most.
const TROUBLES: u64 = 1_000;

/// A manifest as it is served: verbatim, with what its bytes are.
#[derive(Debug)]
pub struct StoredManifest {
    /// What its bytes hash to.
    pub digest: Digest,
    /// What it is.
    pub media_type: MediaType,
    /// As they came from upstream.
    pub bytes: Bytes,
    /// What clients that have it ask for next.
    pub references: Arc<References>,
}

impl StoredManifest {
    /// The manifest that `bytes` are, which hash to `digest` and say `parsed`.
    pub fn new(digest: Digest, bytes: Bytes, parsed: &Manifest) -> Self {
        Self {
            digest,
            media_type: parsed.media_type().clone(),
            bytes,
            references: Arc::new(References::new(digest, parsed)),
        }
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(
            self.media_type.clone(),
            self.digest,
            self.bytes.len() as u64,
        )
    }
}

/// What is known of a tag.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly all are records")]
pub enum KnownTag {
    /// Its upstream has confirmed this record, and may have refused it since: then it is not served until it is
    /// confirmed again.
    Record(TagRecord),
    /// Its upstream has said that there is no such tag. Known, so that an older record cannot come back from disk.
    Gone,
}

impl KnownTag {
    /// What it last pointed at.
    pub fn into_record(self) -> Option<TagRecord> {
        match self {
            Self::Record(record) => Some(record),
            Self::Gone => None,
        }
    }
}

/// Manifests, tags and sizes.
#[derive(Debug)]
pub struct Memory {
    manifests: Cache<Digest, Arc<StoredManifest>>,
    tags: Cache<(Repository, Tag), KnownTag>,
    sizes: Cache<(Repository, Digest), u64>,
}

impl Memory {
    /// A tier that keeps at most `bytes` of manifests.
    pub fn new(bytes: u64) -> Self {
        let weigh = |_: &Digest, manifest: &Arc<StoredManifest>| {
            let weight = manifest.bytes.len() + manifest.references.weight() + 256;
            u32::try_from(weight).unwrap_or(u32::MAX)
        };
        Self {
            manifests: Cache::builder().max_capacity(bytes).weigher(weigh).build(),
            // What was learned last counts, before what is asked for most.
            tags: Cache::builder()
                .max_capacity(ENTRIES)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            sizes: Cache::new(ENTRIES),
        }
    }

    /// A manifest's bytes.
    pub fn manifest(&self, granted: &Granted) -> Option<Arc<StoredManifest>> {
        self.manifests.get(granted.digest())
    }

    /// Whether a manifest is here.
    pub fn holds(&self, digest: &Digest) -> bool {
        self.manifests.contains_key(digest)
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

    /// What is known of a tag.
    pub fn tag(&self, repository: &Repository, tag: &Tag) -> Option<KnownTag> {
        self.tags.get(&(repository.clone(), tag.clone()))
    }

    /// Keeps what the upstream says of a tag. Confirmations of one tag do not overlap, so what comes is newer than what
    /// is here.
    pub fn learn_tag(&self, repository: &Repository, tag: &Tag, known: KnownTag) {
        self.tags.insert((repository.clone(), tag.clone()), known);
    }

    /// Keeps a record that was read from disk, and returns what stands: where something is known here it came from
    /// upstream while the disk was read, or waits to be written there.
    pub fn load_tag(&self, repository: &Repository, tag: &Tag, record: TagRecord) -> KnownTag {
        let entry = self.tags.entry((repository.clone(), tag.clone()));
        entry.or_insert(KnownTag::Record(record)).into_value()
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

/// Tags of which an upstream said a moment ago what leaves the old answer standing, and why that is stale. It would say the
/// same again, so that it is not asked for a while.
#[derive(Debug)]
pub struct Held(Cache<(Repository, Tag), (Instant, StaleReason)>);

impl Default for Held {
    fn default() -> Self {
        Self(Cache::new(ABSENCES))
    }
}

impl Held {
    /// Why the old answer stands, while it does.
    pub fn get(&self, repository: &Repository, tag: &Tag) -> Option<StaleReason> {
        let (until, reason) = self.0.get(&(repository.clone(), tag.clone()))?;
        (Instant::now() < until).then_some(reason)
    }

    /// The old answer stands for `lifetime`.
    pub fn insert(
        &self,
        repository: &Repository,
        tag: &Tag,
        reason: StaleReason,
        lifetime: Duration,
    ) {
        if let Some(until) = Instant::now().checked_add(lifetime) {
            let key = (repository.clone(), tag.clone());
            self.0.insert(key, (until, reason));
        }
    }

    /// The upstream has said something else.
    pub fn remove(&self, repository: &Repository, tag: &Tag) {
        self.0.invalidate(&(repository.clone(), tag.clone()));
    }
}

/// When upstreams were last seen in trouble.
#[derive(Debug)]
pub struct Troubles(Cache<Registry, Instant>);

impl Default for Troubles {
    fn default() -> Self {
        Self(Cache::new(TROUBLES))
    }
}

impl Troubles {
    /// The upstream did not answer, or not in time.
    pub fn note(&self, registry: &Registry) {
        self.0.insert(registry.clone(), Instant::now());
    }

    /// What came of a question to the upstream.
    pub fn heard(&self, registry: &Registry, error: Option<&MirrorError>) {
        match error {
            Some(MirrorError::Unavailable { .. }) => self.note(registry),
            // Of our own making: they say nothing of the upstream.
            Some(MirrorError::Busy(_) | MirrorError::Internal) => {}
            _ => self.clear(registry),
        }
    }

    /// The upstream has answered.
    fn clear(&self, registry: &Registry) {
        self.0.invalidate(registry);
    }

    /// Whether it is not worth waiting for the upstream at `now`.
    pub fn lasts(&self, registry: &Registry, now: Instant) -> bool {
        let seen = self.0.get(registry);
        seen.is_some_and(|seen| freshness::in_trouble(now, seen))
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

    fn record(text: &str) -> TagRecord {
        TagRecord {
            descriptor: Descriptor::new(
                crate::oci::media_type::OCI_MANIFEST,
                Digest::of(crate::oci::Algorithm::Sha256, text.as_bytes()),
                1,
            ),
            confirmed_at: std::time::SystemTime::UNIX_EPOCH,
            refused: false,
        }
    }

    fn a_tag() -> (Repository, Tag) {
        let registry: Registry = "docker.io".parse().unwrap();
        let repository = Repository::new(registry, "library/app".parse().unwrap());
        (repository, "v1".parse().unwrap())
    }

    /// A reader that began to read the disk before a confirmation ended put the old record over the new one, and
    /// brought records of deleted tags back.
    #[test]
    fn a_record_read_from_disk_never_takes_the_place_of_what_the_upstream_said() {
        let memory = Memory::new(1 << 20);
        let (repository, tag) = a_tag();
        let stands = |known: KnownTag| known.into_record().map(|record| record.descriptor);
        let loaded = memory.load_tag(&repository, &tag, record("old"));
        assert_eq!(stands(loaded), Some(record("old").descriptor));

        memory.learn_tag(&repository, &tag, KnownTag::Record(record("new")));
        let loaded = memory.load_tag(&repository, &tag, record("old"));
        assert_eq!(stands(loaded), Some(record("new").descriptor));

        let mut refused = record("new");
        refused.refused = true;
        memory.learn_tag(&repository, &tag, KnownTag::Record(refused));
        let loaded = memory.load_tag(&repository, &tag, record("new"));
        assert!(loaded.into_record().unwrap().refused);

        memory.learn_tag(&repository, &tag, KnownTag::Gone);
        let loaded = memory.load_tag(&repository, &tag, record("new"));
        assert!(matches!(loaded, KnownTag::Gone));
        let stands = memory.tag(&repository, &tag);
        assert!(matches!(stands, Some(KnownTag::Gone)));
    }

    #[test]
    fn trouble_lasts_until_the_upstream_answers_or_its_time_is_over() {
        let troubles = Troubles::default();
        let (docker, quay) = ("docker.io".parse().unwrap(), "quay.io".parse().unwrap());
        troubles.note(&docker);
        let now = Instant::now();
        assert!(troubles.lasts(&docker, now));
        assert!(!troubles.lasts(&quay, now), "each upstream has its own");
        assert!(!troubles.lasts(&docker, now + Duration::from_mins(1)));
        troubles.clear(&docker);
        assert!(!troubles.lasts(&docker, now));
    }
}
