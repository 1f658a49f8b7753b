//! What a manifest refers to, as the mirror hands it to the store when it serves the manifest.

use std::collections::BTreeMap;

use crate::oci::{Digest, Manifest};

/// What a manifest refers to. Made once for each manifest that is held in memory.
#[derive(Debug)]
pub struct References {
    manifest: Digest,
    digests: Box<[Digest]>,
    claimed: u64,
}

impl References {
    /// Those of `parsed`, whose bytes hash to `manifest`.
    pub fn new(manifest: Digest, parsed: &Manifest) -> Self {
        let children = parsed.references().map(|child| (child.digest, child.size));
        let children: BTreeMap<Digest, u64> = children.collect();
        let sizes = children.values();
        Self {
            manifest,
            claimed: sizes.fold(0, |sum, size| sum.saturating_add(*size)),
            digests: children.into_keys().collect(),
        }
    }

    /// A manifest with neither size nor text.
    #[cfg(test)]
    pub(crate) fn fake(manifest: Digest, digests: impl IntoIterator<Item = Digest>) -> Self {
        Self {
            manifest,
            digests: digests.into_iter().collect(),
            claimed: 0,
        }
    }

    /// What they take in memory, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.digests)
    }

    /// The manifest.
    pub(crate) fn manifest(&self) -> &Digest {
        &self.manifest
    }

    /// What it refers to, and at last itself; each once.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = &Digest> {
        let count = self.digests.len() + 1;
        (0..count).map(|at| self.digests.get(at).unwrap_or(&self.manifest))
    }

    /// Their sizes together, as the manifest gives them.
    pub(crate) fn claimed(&self) -> u64 {
        self.claimed
    }
}
