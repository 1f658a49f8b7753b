//! The index's tables, and how their keys and rows are written as bytes.
//!
//! Pure. Keys are byte strings made so that one digest's links and tags are one range. Rows are
//! read back with every length checked: a damaged one is an error, never a panic or a wrong answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redb::TableDefinition;

use super::IndexError;
use crate::oci::{
    Algorithm, Descriptor, Digest, MediaType, Registry, Repository, RepositoryName, Tag,
};
use crate::store::Audience;

/// Digest to [`BlobRow`].
pub(super) const BLOBS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("blobs");
/// Last use and digest: the order of eviction.
pub(super) const LRU: TableDefinition<'_, &[u8], ()> = TableDefinition::new("lru");
/// Digest, registry, repository: who may read what; since when, in milliseconds since 1970, and by whose login ([`Link`]).
pub(super) const LINKS: TableDefinition<'_, &[u8], u64> = TableDefinition::new("links");
/// Registry, repository, tag to [`TagRecord`].
pub(super) const TAGS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("tags");
/// Digest, registry, repository, tag: which tags go when a manifest goes.
pub(super) const TAGGED: TableDefinition<'_, &[u8], ()> = TableDefinition::new("tagged");
/// Sums and the schema's version.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The version of everything in this file.
pub(super) const SCHEMA: u64 = 1;

/// What the index knows of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlobRow {
    /// Length in bytes.
    pub(crate) size: u64,
    /// When it was last used, as its place in the order of eviction.
    pub(crate) last_use: u64,
    /// A manifest's type; other blobs have none.
    pub(crate) media_type: Option<MediaType>,
}

/// What a tag was last known to mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRecord {
    /// The manifest: type, digest and size, nothing else of the descriptor is kept.
    pub descriptor: Descriptor,
    /// When the upstream last said so, by the wall clock, to the millisecond.
    pub confirmed_at: SystemTime,
    /// Whether the upstream has since refused to say so again (401, 403).
    pub refused: bool,
    /// Who may go by it.
    pub audience: Audience,
}

/// Of a tag's row: set in its time where the tag was refused since. No time in milliseconds comes near it.
const REFUSED: u64 = 1 << 63;
/// Of a tag's or a link's row: set in its time where it was learned with a client's login.
const BY_LOGIN: u64 = 1 << 62;
/// All that is set in a time.
const MARKS: u64 = REFUSED | BY_LOGIN;

/// What a link's row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// When it was recorded, in milliseconds since 1970.
    pub(super) at: u64,
    /// Who may go by it.
    pub(super) audience: Audience,
}

impl Link {
    pub(super) fn encode(self) -> u64 {
        (self.at & !MARKS) | mark(self.audience)
    }

    pub(super) fn decode(row: u64) -> Self {
        Self {
            at: row & !MARKS,
            audience: audience(row),
        }
    }
}

fn mark(audience: Audience) -> u64 {
    match audience {
        Audience::Everyone => 0,
        Audience::Logins => BY_LOGIN,
    }
}

fn audience(row: u64) -> Audience {
    if row & BY_LOGIN == 0 {
        Audience::Everyone
    } else {
        Audience::Logins
    }
}

/// The sums that make start-up independent of the number of blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Number of blobs.
    pub(crate) blobs: u64,
    /// What they are charged.
    pub(crate) bytes: u64,
    /// Number of links.
    pub(crate) links: u64,
    /// Number of tag records.
    pub(crate) tags: u64,
    /// What the lists take, in bytes.
    pub(crate) lists: u64,
}

impl Totals {
    /// The rows of `meta`, by name.
    pub(super) fn rows(&self) -> [(&'static str, u64); 5] {
        [
            ("blobs", self.blobs),
            ("bytes", self.bytes),
            ("links", self.links),
            ("tags", self.tags),
            ("lists", self.lists),
        ]
    }

    pub(super) fn read(get: impl Fn(&str) -> Result<u64, IndexError>) -> Result<Self, IndexError> {
        Ok(Self {
            blobs: get("blobs")?,
            bytes: get("bytes")?,
            links: get("links")?,
            tags: get("tags")?,
            lists: get("lists")?,
        })
    }
}

fn damaged(what: &str) -> IndexError {
    IndexError::Damaged(format!("a malformed {what}").into())
}

/// A digest as a key: its algorithm's number, then its bytes. No key is a prefix of another.
pub(super) fn digest_key(digest: &Digest) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + digest.bytes().len());
    key.push(match digest.algorithm() {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    });
    key.extend_from_slice(digest.bytes());
    key
}

/// The digest that a key begins with, and the rest.
pub(super) fn split_digest(key: &[u8]) -> Result<(Digest, &[u8]), IndexError> {
    let malformed = || damaged("digest");
    let (&number, rest) = key.split_first().ok_or_else(malformed)?;
    let algorithm = match number {
        1 => Algorithm::Sha256,
        2 => Algorithm::Sha512,
        _ => return Err(malformed()),
    };
    let (bytes, rest) = rest
        .split_at_checked(algorithm.digest_len())
        .ok_or_else(malformed)?;
    let digest = Digest::from_bytes(algorithm, bytes).map_err(|_| malformed())?;
    Ok((digest, rest))
}

/// Keys of the blobs of one algorithm that begin with `first`: from here, up to the next one's.
pub(super) fn shard_start(algorithm: Algorithm, first: u8) -> Vec<u8> {
    let number = match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    };
    vec![number, first]
}

/// The range that holds exactly the keys that begin with `prefix` and go on with text.
pub(super) fn text_after(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    // No name has a byte of 0xff.
    (prefix.to_vec(), [prefix, &[0xff]].concat())
}

pub(super) fn lru_key(last_use: u64, digest: &Digest) -> Vec<u8> {
    let mut key = last_use.to_be_bytes().to_vec();
    key.extend_from_slice(&digest_key(digest));
    key
}

pub(super) fn read_lru_key(key: &[u8]) -> Result<(u64, Digest), IndexError> {
    let (last_use, rest) = split_u64(key)?;
    match split_digest(rest)? {
        (digest, []) => Ok((last_use, digest)),
        _ => Err(damaged("place in the order of eviction")),
    }
}

/// A link; without a repository it holds for the whole registry.
pub(super) fn link_key(
    digest: &Digest,
    registry: &Registry,
    name: Option<&RepositoryName>,
) -> Vec<u8> {
    let mut key = digest_key(digest);
    key.extend_from_slice(registry.as_str().as_bytes());
    // Neither part can hold a NUL.
    key.push(0);
    key.extend_from_slice(name.map_or("", RepositoryName::as_str).as_bytes());
    key
}

/// The repository in a link's key, after its registry.
pub(super) fn read_link_name(name: &[u8]) -> Result<RepositoryName, IndexError> {
    let name = std::str::from_utf8(name).ok();
    name.and_then(|name| name.parse().ok())
        .ok_or_else(|| damaged("link"))
}

pub(super) fn tag_key(repository: &Repository, tag: &Tag) -> Vec<u8> {
    [
        repository.registry.as_str(),
        repository.name.as_str(),
        tag.as_str(),
    ]
    .join("\0")
    .into_bytes()
}

/// The key in `TAGGED` of a tag's key in `TAGS`.
pub(super) fn tagged_key(digest: &Digest, tag_key: &[u8]) -> Vec<u8> {
    let mut key = digest_key(digest);
    key.extend_from_slice(tag_key);
    key
}

impl BlobRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(16);
        row.extend_from_slice(&self.size.to_be_bytes());
        row.extend_from_slice(&self.last_use.to_be_bytes());
        let media_type = self.media_type.as_ref().map_or("", MediaType::as_str);
        row.extend_from_slice(media_type.as_bytes());
        row
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, IndexError> {
        let (size, row) = split_u64(row)?;
        let (last_use, row) = split_u64(row)?;
        let media_type = match row {
            [] => None,
            text => Some(read_media_type(text)?),
        };
        Ok(Self {
            size,
            last_use,
            media_type,
        })
    }
}

impl TagRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let confirmed = self
            .confirmed_at
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let millis = u64::try_from(confirmed.as_millis()).unwrap_or(u64::MAX) & !MARKS;
        let refused = if self.refused { REFUSED } else { 0 };
        let marked = millis | refused | mark(self.audience);
        let mut row = marked.to_be_bytes().to_vec();
        row.extend_from_slice(&self.descriptor.size.to_be_bytes());
        row.extend_from_slice(&digest_key(&self.descriptor.digest));
        row.extend_from_slice(self.descriptor.media_type.as_str().as_bytes());
        row
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, IndexError> {
        let (millis, row) = split_u64(row)?;
        let (size, row) = split_u64(row)?;
        let (digest, row) = split_digest(row)?;
        let confirmed_at = UNIX_EPOCH
            .checked_add(Duration::from_millis(millis & !MARKS))
            .ok_or_else(|| damaged("time"))?;
        Ok(Self {
            descriptor: Descriptor::new(read_media_type(row)?, digest, size),
            confirmed_at,
            refused: millis & REFUSED != 0,
            audience: audience(millis),
        })
    }
}

fn read_media_type(bytes: &[u8]) -> Result<MediaType, IndexError> {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| damaged("media type"))
}

fn split_u64(bytes: &[u8]) -> Result<(u64, &[u8]), IndexError> {
    bytes
        .split_first_chunk()
        .map(|(number, rest)| (u64::from_be_bytes(*number), rest))
        .ok_or_else(|| damaged("row"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oci::media_type;

    fn any_digest() -> impl Strategy<Value = Digest> {
        prop_oneof![
            any::<[u8; 32]>().prop_map(Digest::Sha256),
            any::<[u8; 64]>().prop_map(Digest::Sha512),
        ]
    }

    proptest! {
        #[test]
        fn rows_and_keys_read_back(digest in any_digest(), size: u64, last_use: u64, millis in 0..1_u64 << 45, typed: bool, refused: bool, by_login: bool) {
            let row = BlobRow { size, last_use, media_type: typed.then_some(media_type::OCI_INDEX) };
            prop_assert_eq!(BlobRow::decode(&row.encode()).unwrap(), row);
            let audience = if by_login { Audience::Logins } else { Audience::Everyone };
            let record = TagRecord {
                descriptor: Descriptor::new(media_type::DOCKER_MANIFEST, digest, size),
                confirmed_at: UNIX_EPOCH + Duration::from_millis(millis),
                refused,
                audience,
            };
            let link = Link { at: millis, audience };
            prop_assert_eq!(Link::decode(link.encode()), link);
            // As it was written before there were logins.
            prop_assert_eq!(Link::decode(millis), Link { at: millis, audience: Audience::Everyone });
            prop_assert_eq!(TagRecord::decode(&record.encode()).unwrap(), record);
            prop_assert_eq!(read_lru_key(&lru_key(last_use, &digest)).unwrap(), (last_use, digest));
            let tagged = tagged_key(&digest, b"a\0b\0c");
            prop_assert_eq!(split_digest(&tagged).unwrap(), (digest, &b"a\0b\0c"[..]));
        }

        #[test]
        fn the_order_of_eviction_is_that_of_last_use(a: u64, b: u64, one in any_digest(), other in any_digest()) {
            prop_assume!(a != b);
            prop_assert_eq!(lru_key(a, &one) < lru_key(b, &other), a < b);
        }

        #[test]
        fn damaged_rows_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = BlobRow::decode(&bytes);
            let _ = TagRecord::decode(&bytes);
            let _ = read_lru_key(&bytes);
            let _ = split_digest(&bytes);
        }

        #[test]
        fn a_digests_links_are_one_range(digest in any_digest(), other in any_digest()) {
            prop_assume!(digest != other);
            let registry: Registry = "ghcr.io".parse().unwrap();
            let name: RepositoryName = "a/b".parse().unwrap();
            let (from, to) = text_after(&digest_key(&digest));
            for name in [None, Some(&name)] {
                let inside = link_key(&digest, &registry, name);
                prop_assert!(from <= inside && inside < to);
                let outside = link_key(&other, &registry, name);
                prop_assert!(!(from <= outside && outside < to));
            }
        }
    }

    #[test]
    fn links_of_different_places_never_meet() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let registry = |text: &str| text.parse::<Registry>().unwrap();
        let name = |text: &str| text.parse::<RepositoryName>().unwrap();
        let mut keys = vec![
            link_key(&digest, &registry("ghcr.io"), None),
            link_key(&digest, &registry("ghcr.io"), Some(&name("a"))),
            link_key(&digest, &registry("ghcr.io"), Some(&name("a/b"))),
            link_key(&digest, &registry("quay.io"), None),
            link_key(&digest, &registry("quay.io"), Some(&name("a/b"))),
        ];
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }
}
