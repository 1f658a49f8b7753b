//! When blobs were last used, between two writes of the index.
//!
//! Owns a bounded map; what does not fit, and what a crash takes, is lost: the order of eviction
//! is then a little older than it should be.

use std::collections::HashMap;
use std::sync::Mutex;

use super::index::Change;
use super::sync::lock;
use crate::oci::Digest;

/// A use within this many milliseconds after the last recorded one is not recorded.
pub(crate) const GRANULE: u64 = 3_600_000;

/// How many blobs may have a use pending.
const PENDING: usize = 16 << 10;

/// The pending uses.
#[derive(Debug, Default)]
pub(crate) struct Touches(Mutex<HashMap<Digest, u64>>);

impl Touches {
    /// Notes a use; of several of one blob the last one counts, whichever is noted first.
    pub(crate) fn note(&self, digest: &Digest, at: u64) {
        let mut pending = lock(&self.0);
        if let Some(noted) = pending.get_mut(digest) {
            *noted = at.max(*noted);
        } else if pending.len() < PENDING {
            pending.insert(*digest, at);
        }
    }

    /// Takes what is pending, as changes of the index.
    pub(crate) fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *lock(&self.0))
            .into_iter()
            .map(|(digest, at)| Change::Touch { digest, at })
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}
