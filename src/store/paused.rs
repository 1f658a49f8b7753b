//! The partial files that nobody writes: kept so that a fill can be resumed, evicted like blobs
//! when room is needed.

use std::collections::HashMap;
use std::sync::Mutex;

use super::ledger::Charge;
use super::sync::lock;
use crate::oci::Digest;

/// The partial files, each with its charge and the stamp of its pause.
#[derive(Debug, Default)]
pub(crate) struct Paused(Mutex<HashMap<Digest, (Charge, u64)>>);

impl Paused {
    pub(crate) fn put(&self, digest: Digest, charge: Charge, stamp: u64) {
        let replaced = lock(&self.0).insert(digest, (charge, stamp));
        drop(replaced);
    }

    pub(crate) fn take(&self, digest: &Digest) -> Option<(Charge, u64)> {
        lock(&self.0).remove(digest)
    }

    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        lock(&self.0).contains_key(digest)
    }

    /// The partial files by age, oldest first.
    pub(crate) fn oldest(&self) -> Vec<(u64, Digest)> {
        let mut all: Vec<(u64, Digest)> = lock(&self.0)
            .iter()
            .map(|(digest, (_, stamp))| (*stamp, *digest))
            .collect();
        all.sort_unstable();
        all
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}
