//! Where things are in the cache's directory.
//!
//! Pure. Paths derive from decoded digests only, so no name that a client or an upstream sent can
//! leave the directory.

use std::path::{Path, PathBuf};

use crate::oci::{Algorithm, Digest};

/// What `VERSION` says in a directory laid out as described here.
pub(crate) const VERSION: &str = "1";

/// The paths of one cache directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// A file name in `partial/`, read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartialName {
    /// The bytes of a blob that is not complete.
    Data(Digest),
    /// The sidecar that says how many of them are hashed.
    State(Digest),
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn version(&self) -> PathBuf {
        self.root.join("VERSION")
    }

    pub(crate) fn version_draft(&self) -> PathBuf {
        self.root.join("VERSION.new")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("index.redb")
    }

    /// Where the `n`-th broken index is set aside.
    pub(crate) fn broken_index(&self, n: u64) -> PathBuf {
        self.root.join(format!("index.redb.broken-{n}"))
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(crate) fn partials(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(crate) fn algorithm_dir(&self, algorithm: Algorithm) -> PathBuf {
        self.blobs().join(algorithm.as_str())
    }

    /// The directory that holds the blobs whose first byte is `first`.
    pub(crate) fn shard(&self, algorithm: Algorithm, first: u8) -> PathBuf {
        self.algorithm_dir(algorithm).join(format!("{first:02x}"))
    }

    pub(crate) fn shard_of(&self, digest: &Digest) -> PathBuf {
        self.shard(digest.algorithm(), digest.bytes()[0])
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.shard_of(digest).join(digest.hex())
    }

    pub(crate) fn partial(&self, digest: &Digest) -> PathBuf {
        self.partials().join(partial_name(digest))
    }

    pub(crate) fn state(&self, digest: &Digest) -> PathBuf {
        self.partials().join(partial_name(digest) + STATE_SUFFIX)
    }

    /// A file written and removed to see whether the directory takes writes.
    pub(crate) fn probe(&self) -> PathBuf {
        self.partials().join("probe")
    }
}

const STATE_SUFFIX: &str = ".state";

fn partial_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().as_str(), digest.hex())
}

/// The digest that a file in `blobs/<algorithm>/<2 hex>/` is named by.
pub(crate) fn parse_blob_name(algorithm: Algorithm, first: u8, name: &str) -> Option<Digest> {
    let digest: Digest = format!("{}:{name}", algorithm.as_str()).parse().ok()?;
    (digest.bytes()[0] == first).then_some(digest)
}

/// What a file in `partial/` is.
pub(crate) fn parse_partial_name(name: &str) -> Option<PartialName> {
    let digest = |name: &str| -> Option<Digest> {
        let (algorithm, hex) = name.split_once('-')?;
        format!("{algorithm}:{hex}").parse().ok()
    };
    match name.strip_suffix(STATE_SUFFIX) {
        Some(name) => digest(name).map(PartialName::State),
        None => digest(name).map(PartialName::Data),
    }
}

/// Whether a name in the root of a cache directory is one of ours.
pub(crate) fn is_known_root_name(name: &str) -> bool {
    matches!(
        name,
        "lock" | "VERSION" | "VERSION.new" | "index.redb" | "blobs" | "partial" | "lost+found"
    ) || broken_index_number(name).is_some()
}

/// The `n` of a broken index's name.
pub(crate) fn broken_index_number(name: &str) -> Option<u64> {
    name.strip_prefix("index.redb.broken-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_read_back_as_the_digest_they_came_from(bytes: [u8; 32], long: [u8; 64]) {
            let layout = Layout::new("/cache".into());
            for digest in [Digest::Sha256(bytes), Digest::Sha512(long)] {
                let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
                let first = digest.bytes()[0];
                prop_assert_eq!(
                    parse_blob_name(digest.algorithm(), first, &name(layout.blob(&digest))),
                    Some(digest)
                );
                prop_assert_eq!(
                    parse_partial_name(&name(layout.partial(&digest))),
                    Some(PartialName::Data(digest))
                );
                prop_assert_eq!(
                    parse_partial_name(&name(layout.state(&digest))),
                    Some(PartialName::State(digest))
                );
                prop_assert!(layout.blob(&digest).starts_with("/cache/blobs"));
            }
        }

        #[test]
        fn strange_names_are_nobodys(name in "\\PC{0,80}") {
            prop_assert_eq!(parse_partial_name(&name), None);
            prop_assert_eq!(parse_blob_name(Algorithm::Sha256, 0, &name), None);
        }
    }

    #[test]
    fn a_blob_in_the_wrong_directory_is_not_recognised() {
        let name = "00".repeat(32);
        assert!(parse_blob_name(Algorithm::Sha256, 0, &name).is_some());
        assert!(parse_blob_name(Algorithm::Sha256, 1, &name).is_none());
    }
}
