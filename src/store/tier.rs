//! The bounded set of files that stay open between requests.
//!
//! Exact on purpose: a blob's bytes are free only when its last descriptor is closed, so a file
//! that is removed from here must be closed now, not when some cache gets round to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use super::file::BlobFile;
use super::sync::lock;
use crate::oci::Digest;

/// Least recently used files make room for others.
pub(crate) struct OpenFiles {
    capacity: usize,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    by_digest: HashMap<Digest, (Arc<BlobFile>, u64)>,
    /// Turn of last use to digest.
    by_turn: BTreeMap<u64, Digest>,
    turn: u64,
}

impl OpenFiles {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            files: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<BlobFile>> {
        let mut files = lock(&self.files);
        files.turn += 1;
        let now = files.turn;
        let (file, turn) = files.by_digest.get_mut(digest)?;
        let file = Arc::clone(file);
        let before = std::mem::replace(turn, now);
        files.by_turn.remove(&before);
        files.by_turn.insert(now, *digest);
        Some(file)
    }

    /// Keeps a file open. Of two files of one digest the first stays.
    pub(crate) fn insert(&self, file: &Arc<BlobFile>) -> Arc<BlobFile> {
        let digest = file.digest();
        if let Some(earlier) = self.get(&digest) {
            return earlier;
        }
        let mut files = lock(&self.files);
        files.turn += 1;
        let now = files.turn;
        let replaced = files.by_digest.insert(digest, (Arc::clone(file), now));
        if let Some((_, turn)) = &replaced {
            files.by_turn.remove(turn);
        }
        files.by_turn.insert(now, digest);
        let evicted = if files.by_digest.len() > self.capacity {
            files
                .by_turn
                .pop_first()
                .and_then(|(_, oldest)| files.by_digest.remove(&oldest))
        } else {
            None
        };
        // Closing a file is not for within the lock.
        drop(files);
        drop((evicted, replaced));
        Arc::clone(file)
    }

    pub(crate) fn remove(&self, digest: &Digest) {
        let mut files = lock(&self.files);
        let removed = files.by_digest.remove(digest);
        if let Some((_, turn)) = &removed {
            files.by_turn.remove(turn);
        }
        drop(files);
        drop(removed);
    }

    /// Whether nobody but this set has the digest's file; also when it has none.
    pub(crate) fn is_idle(&self, digest: &Digest) -> bool {
        lock(&self.files)
            .by_digest
            .get(digest)
            .is_none_or(|(file, _)| Arc::strong_count(file) == 1)
    }

    pub(crate) fn clear(&self) {
        let files = std::mem::take(&mut *lock(&self.files));
        drop(files);
    }
}
