//! The memory tier: manifests, tags and sizes, each bounded; `recent` holds what upstreams said a moment ago.
//!
//! Nothing here is the truth. What falls out is read from the store, or asked upstream.

mod recent;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, RwLock, Weak};

use bytes::Bytes;
use foldhash::fast::RandomState;
use moka::Equivalent;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::oci::{Descriptor, Digest, Manifest, MediaType, Repository, Tag};
use crate::store::{Audience, References, TagRecord};
use crate::sync::{read, write};
use crate::upstream::Upstream;

use super::rights::Granted;
use super::served::Fields;

pub use recent::{Absent, AbsentKey, Held, Troubles};

/// Sizes and tag records, at most; each size is some 200 bytes, each record twice that.
const ENTRIES: u64 = 100_000;

/// What a manifest takes beside its bytes and what it refers to: its header fields, twice, and its place in the tier.
const OVERHEAD: usize = 2 << 10;

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
    /// What goes before it.
    pub fields: Arc<Fields>,
}

impl StoredManifest {
    /// The manifest that `bytes` are, which hash to `digest` and say `parsed`.
    pub fn new(digest: Digest, bytes: Bytes, parsed: &Manifest) -> Self {
        Self {
            digest,
            media_type: parsed.media_type().clone(),
            fields: Arc::new(Fields::of(parsed.media_type(), &digest)),
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
    pub fn record(&self) -> Option<&TagRecord> {
        match self {
            Self::Record(record) => Some(record),
            Self::Gone => None,
        }
    }
}

/// What is known of a tag, and how often it was served since that was learned.
#[derive(Debug)]
pub struct Told {
    /// What is known.
    pub known: KnownTag,
    /// How often it was served.
    pub asks: Asks,
}

impl Told {
    /// Whether it counts for this audience.
    pub fn counts(&self, audience: Audience) -> bool {
        match &self.known {
            KnownTag::Record(record) => record.audience.includes(audience),
            KnownTag::Gone => true,
        }
    }
}

impl From<KnownTag> for Told {
    fn from(known: KnownTag) -> Self {
        Self {
            known,
            asks: Asks::default(),
        }
    }
}

/// How often a tag was served as it was last confirmed, whether it will be asked for ahead of its time, and what it was served
/// with last.
#[derive(Debug, Default)]
pub struct Asks {
    count: AtomicU32,
    is_planned: AtomicBool,
    at_hand: RwLock<Option<AtHand>>,
    /// How often that was looked at.
    looked_at: AtomicU32,
}

/// What a tag was served with last. It keeps neither alive, but the place that each had in memory.
#[derive(Debug)]
struct AtHand {
    /// The upstream by the configuration that the right to read it was found by.
    upstream: Weak<Upstream>,
    manifest: Weak<StoredManifest>,
}

impl AtHand {
    fn is_of(&self, upstream: &Arc<Upstream>) -> bool {
        Weak::as_ptr(&self.upstream) == Arc::as_ptr(upstream)
    }
}

/// Which of so many is found by its names and not taken from where it is at hand: what is looked for often stays in memory.
const LOOKED_FOR: u32 = 8;

impl Asks {
    /// Counts one more, and says how often it was; not at all once it is planned.
    pub fn one_more(&self) -> u32 {
        if self.is_planned.load(Ordering::Relaxed) {
            return 0;
        }
        self.count.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// It could not be asked for; whoever asks for it next may plan it again.
    pub fn plan_again(&self) {
        self.is_planned.store(false, Ordering::Relaxed);
    }

    /// The manifest that this tag points at, where it is still in memory, and the right to read it was found under the present
    /// configuration of its upstream.
    pub fn at_hand(&self, upstream: &Arc<Upstream>) -> Option<Arc<StoredManifest>> {
        let looked_at = self.looked_at.fetch_add(1, Ordering::Relaxed);
        if looked_at.is_multiple_of(LOOKED_FOR) {
            return None;
        }
        let at_hand = read(&self.at_hand);
        let known = at_hand.as_ref()?;
        let is_theirs = known.is_of(upstream);
        known.manifest.upgrade().filter(|_| is_theirs)
    }

    /// Has what the tag points at at hand from now on, as far as the right to it lasts.
    pub fn keep_at_hand(
        &self,
        upstream: &Arc<Upstream>,
        granted: &Granted,
        manifest: &Arc<StoredManifest>,
    ) {
        if !granted.is_fact() || *granted.digest() != manifest.digest {
            return;
        }
        // What is looked for now and then is there mostly, and others read it.
        let is_there = read(&self.at_hand).as_ref().is_some_and(|known| {
            known.is_of(upstream) && Weak::as_ptr(&known.manifest) == Arc::as_ptr(manifest)
        });
        if is_there {
            return;
        }
        *write(&self.at_hand) = Some(AtHand {
            upstream: Arc::downgrade(upstream),
            manifest: Arc::downgrade(manifest),
        });
    }

    /// True for the one who plans it.
    pub fn plan(&self) -> bool {
        !self.is_planned.swap(true, Ordering::Relaxed)
    }
}

/// A tag to look for, as the key that it is kept by.
#[derive(Hash)]
struct TagKey<'a>(&'a Repository, &'a Tag);

impl Equivalent<(Repository, Tag)> for TagKey<'_> {
    fn equivalent(&self, (repository, tag): &(Repository, Tag)) -> bool {
        (self.0, self.1) == (repository, tag)
    }
}

/// Manifests, tags and sizes.
#[derive(Debug)]
pub struct Memory {
    manifests: Cache<Digest, Arc<StoredManifest>, RandomState>,
    tags: Cache<(Repository, Tag), Arc<Told>, RandomState>,
    sizes: Cache<(Repository, Digest), u64, RandomState>,
}

impl Memory {
    /// A tier that keeps at most `bytes` of manifests.
    pub fn new(bytes: u64) -> Self {
        let weigh = |_: &Digest, manifest: &Arc<StoredManifest>| {
            let weight = manifest.bytes.len() + manifest.references.weight() + OVERHEAD;
            u32::try_from(weight).unwrap_or(u32::MAX)
        };
        Self {
            manifests: Cache::builder()
                .max_capacity(bytes)
                .weigher(weigh)
                .build_with_hasher(RandomState::default()),
            // What was learned last counts, before what is asked for most.
            tags: Cache::builder()
                .max_capacity(ENTRIES)
                .eviction_policy(EvictionPolicy::lru())
                .build_with_hasher(RandomState::default()),
            sizes: Cache::builder()
                .max_capacity(ENTRIES)
                .build_with_hasher(RandomState::default()),
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
    pub fn tag(&self, repository: &Repository, tag: &Tag) -> Option<Arc<Told>> {
        self.tags.get(&TagKey(repository, tag))
    }

    /// Keeps what the upstream says of a tag. Confirmations of one tag do not overlap, so what comes is newer than what
    /// is here.
    pub fn learn_tag(&self, repository: &Repository, tag: &Tag, known: KnownTag) {
        let key = (repository.clone(), tag.clone());
        self.tags.insert(key, Arc::new(known.into()));
    }

    /// Keeps a record that was read from disk, and returns what stands: where something is known here it came from
    /// upstream while the disk was read, or waits to be written there.
    pub fn load_tag(&self, repository: &Repository, tag: &Tag, record: TagRecord) -> Arc<Told> {
        let entry = self.tags.entry((repository.clone(), tag.clone()));
        let told = Told::from(KnownTag::Record(record));
        entry.or_insert(Arc::new(told)).into_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Registry;

    fn record(text: &str) -> TagRecord {
        TagRecord {
            descriptor: Descriptor::new(
                crate::oci::media_type::OCI_MANIFEST,
                Digest::of(crate::oci::Algorithm::Sha256, text.as_bytes()),
                1,
            ),
            confirmed_at: std::time::SystemTime::UNIX_EPOCH,
            refused: false,
            audience: crate::store::Audience::Everyone,
        }
    }

    fn upstream() -> Arc<Upstream> {
        let config = crate::config::Config::from_toml("cache.dir = '/nowhere'").unwrap();
        let upstreams = crate::upstream::Upstreams::new(&config).unwrap();
        upstreams.get(&"docker.io".parse().unwrap()).unwrap()
    }

    fn manifest() -> Arc<StoredManifest> {
        let text = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        let parsed = Manifest::parse(text.as_bytes(), None).unwrap();
        let digest = Digest::of(crate::oci::Algorithm::Sha256, text.as_bytes());
        Arc::new(StoredManifest::new(digest, text.into(), &parsed))
    }

    /// How many of so many are taken from where they are at hand.
    fn taken(asks: &Asks, upstream: &Arc<Upstream>, times: u32) -> u32 {
        (0..times)
            .map(|_| u32::from(asks.at_hand(upstream).is_some()))
            .sum()
    }

    /// Else the tier would take what is asked for all the time for what nobody wants.
    #[test]
    fn what_is_at_hand_is_looked_for_now_and_then() {
        let (upstream, manifest, asks) = (upstream(), manifest(), Asks::default());
        assert_eq!(taken(&asks, &upstream, LOOKED_FOR * 2), 0);
        let granted = Granted::for_tests(&manifest.digest, true);
        asks.keep_at_hand(&upstream, &granted, &manifest);
        assert_eq!(
            taken(&asks, &upstream, LOOKED_FOR * 10),
            (LOOKED_FOR - 1) * 10
        );
    }

    #[test]
    fn what_is_at_hand_is_so_for_the_configuration_that_it_was_granted_under_and_keeps_nothing() {
        let (before, manifest, asks) = (upstream(), manifest(), Asks::default());
        let granted = Granted::for_tests(&manifest.digest, true);
        asks.keep_at_hand(&before, &granted, &manifest);
        let is_at_hand = |upstream| taken(&asks, upstream, LOOKED_FOR) > 0;
        assert!(is_at_hand(&before));
        let after = upstream();
        assert!(!is_at_hand(&after));
        asks.keep_at_hand(&after, &granted, &manifest);
        assert!(is_at_hand(&after) && !is_at_hand(&before));
        assert_eq!(Arc::strong_count(&manifest), 1);
        drop(manifest);
        assert!(!is_at_hand(&after));
    }

    #[test]
    fn the_word_of_a_running_fill_and_a_right_to_something_else_are_not_kept() {
        let (upstream, manifest, asks) = (upstream(), manifest(), Asks::default());
        let other = Digest::of(crate::oci::Algorithm::Sha256, b"other");
        for granted in [
            Granted::for_tests(&manifest.digest, false),
            Granted::for_tests(&other, true),
        ] {
            asks.keep_at_hand(&upstream, &granted, &manifest);
            assert_eq!(taken(&asks, &upstream, LOOKED_FOR), 0);
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
        let stands = |told: Arc<Told>| Some(told.known.record()?.descriptor.clone());
        let loaded = memory.load_tag(&repository, &tag, record("old"));
        assert_eq!(stands(loaded), Some(record("old").descriptor));

        memory.learn_tag(&repository, &tag, KnownTag::Record(record("new")));
        let loaded = memory.load_tag(&repository, &tag, record("old"));
        assert_eq!(stands(loaded), Some(record("new").descriptor));

        let mut refused = record("new");
        refused.refused = true;
        memory.learn_tag(&repository, &tag, KnownTag::Record(refused));
        let loaded = memory.load_tag(&repository, &tag, record("new"));
        assert!(loaded.known.record().unwrap().refused);

        memory.learn_tag(&repository, &tag, KnownTag::Gone);
        let loaded = memory.load_tag(&repository, &tag, record("new"));
        assert!(matches!(loaded.known, KnownTag::Gone));
        let stands = memory.tag(&repository, &tag).unwrap();
        assert!(matches!(stands.known, KnownTag::Gone));
    }
}
