//! The memory tier: manifests, tags and sizes, each bounded; `recent` holds what upstreams said a moment ago.
//!
//! Nothing here is the truth. What falls out is read from the store, or asked upstream.

mod asks;
mod recent;

use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use moka::Equivalent;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::oci::{Descriptor, Digest, Manifest, MediaType, Repository, Tag};
use crate::store::{Audience, References, TagRecord};

use super::rights::Granted;
use super::served::Fields;

pub use asks::Asks;
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
