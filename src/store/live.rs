//! Which digests somebody is busy with, and which files are open.
//!
//! Owns one map under one short lock. A digest has at most one owner: its writer, or upkeep (an
//! eviction, an adoption, a writer's clean-up). While it has one, nobody opens its file anew; while
//! somebody opens it, nobody becomes upkeep's. So a file that is removed is either open in a
//! [`DiskFile`] that this map knows, or not open at all, and its bytes can be accounted for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::file::DiskFile;
use super::sync::lock;
use crate::oci::Digest;

/// Who has a digest to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A writer; it may take hours.
    Writer,
    /// Something short; worth waiting for.
    Upkeep,
}

#[derive(Default)]
struct Entry {
    owner: Option<Owner>,
    openers: u32,
    file: Weak<DiskFile>,
}

impl Entry {
    fn is_idle(&self) -> bool {
        self.owner.is_none() && self.openers == 0 && self.file.strong_count() == 0
    }
}

/// The map.
#[derive(Default)]
pub(crate) struct Live {
    entries: Mutex<HashMap<Digest, Entry>>,
    /// Signalled whenever upkeep lets go of a digest.
    released: Notify,
}

/// A digest of one's own; dropped, it is free.
pub(crate) struct Claim {
    live: Arc<Live>,
    digest: Digest,
}

/// Leave to open a digest's file.
pub(crate) struct Opening {
    live: Arc<Live>,
    digest: Digest,
}

/// What a reader finds.
pub(crate) enum Found {
    /// Somebody has the file open.
    Open(Arc<DiskFile>),
    /// Nobody has.
    Closed(Opening),
    /// Not now: the digest has an owner.
    Owned,
}

impl Live {
    /// Makes the caller the digest's writer, once upkeep is done with it; `None` when it has a
    /// writer already.
    pub(crate) async fn claim_for_writer(self: &Arc<Self>, digest: &Digest) -> Option<Claim> {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            match self.try_claim_as(digest, Owner::Writer) {
                Ok(claim) => return Some(claim),
                Err(Owner::Writer) => return None,
                Err(Owner::Upkeep) => released.await,
            }
        }
    }

    /// Takes the digest for upkeep; `None` when it is owned, or being opened.
    pub(crate) fn claim_for_upkeep(self: &Arc<Self>, digest: &Digest) -> Option<Claim> {
        self.try_claim_as(digest, Owner::Upkeep).ok()
    }

    fn try_claim_as(self: &Arc<Self>, digest: &Digest, owner: Owner) -> Result<Claim, Owner> {
        let mut entries = lock(&self.entries);
        let entry = entries.entry(*digest).or_default();
        if let Some(owner) = entry.owner {
            return Err(owner);
        }
        if owner == Owner::Upkeep && entry.openers > 0 {
            return Err(Owner::Upkeep);
        }
        entry.owner = Some(owner);
        Ok(Claim {
            live: Arc::clone(self),
            digest: *digest,
        })
    }

    /// Finds the open file of a digest, or leave to open it.
    pub(crate) fn find(self: &Arc<Self>, digest: &Digest) -> Found {
        let mut entries = lock(&self.entries);
        let entry = entries.entry(*digest).or_default();
        if entry.owner.is_some() {
            return Found::Owned;
        }
        if let Some(file) = entry.file.upgrade() {
            return Found::Open(file);
        }
        entry.openers += 1;
        Found::Closed(Opening {
            live: Arc::clone(self),
            digest: *digest,
        })
    }

    /// Whether somebody owns the digest.
    pub(crate) fn is_owned(&self, digest: &Digest) -> bool {
        lock(&self.entries)
            .get(digest)
            .is_some_and(|entry| entry.owner.is_some())
    }

    /// Whether nobody owns or opens anything.
    #[cfg(test)]
    pub(crate) fn is_quiet(&self) -> bool {
        lock(&self.entries)
            .values()
            .all(|entry| entry.owner.is_none() && entry.openers == 0)
    }

    /// How many digests somebody owns.
    #[cfg(test)]
    pub(crate) fn owned(&self) -> usize {
        let entries = lock(&self.entries);
        entries
            .values()
            .filter(|entry| entry.owner.is_some())
            .count()
    }

    /// Forgets a closed file.
    pub(crate) fn closed(&self, digest: &Digest) {
        self.tidy(&mut lock(&self.entries), digest);
    }

    #[expect(clippy::unused_self, reason = "reads as the map's own act")]
    fn tidy(&self, entries: &mut HashMap<Digest, Entry>, digest: &Digest) {
        if entries.get(digest).is_some_and(Entry::is_idle) {
            entries.remove(digest);
        }
    }
}

impl Claim {
    /// The open file of the digest, if any reader or the writer has one.
    pub(crate) fn file(&self) -> Option<Arc<DiskFile>> {
        lock(&self.live.entries).get(&self.digest)?.file.upgrade()
    }

    /// From now on readers find this file.
    pub(crate) fn set_file(&self, file: &Arc<DiskFile>) {
        if let Some(entry) = lock(&self.live.entries).get_mut(&self.digest) {
            entry.file = Arc::downgrade(file);
        }
    }

    /// The file was removed: readers that have it go on, nobody else finds it.
    pub(crate) fn forget_file(&self) {
        if let Some(entry) = lock(&self.live.entries).get_mut(&self.digest) {
            entry.file = Weak::new();
        }
    }

    /// The writer is done; what remains is worth waiting for.
    pub(crate) fn settle(&self) {
        if let Some(entry) = lock(&self.live.entries).get_mut(&self.digest) {
            entry.owner = Some(Owner::Upkeep);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        {
            let mut entries = lock(&self.live.entries);
            if let Some(entry) = entries.get_mut(&self.digest) {
                entry.owner = None;
            }
            self.live.tidy(&mut entries, &self.digest);
        }
        self.live.released.notify_waiters();
    }
}

impl Opening {
    /// From now on readers find this file, unless another was opened meanwhile: then that one is
    /// returned.
    pub(crate) fn opened(self, file: Arc<DiskFile>) -> Arc<DiskFile> {
        let mut entries = lock(&self.live.entries);
        let Some(entry) = entries.get_mut(&self.digest) else {
            return file;
        };
        if let Some(earlier) = entry.file.upgrade() {
            // `file` is dropped by the caller's frame, after the lock.
            drop(entries);
            return earlier;
        }
        entry.file = Arc::downgrade(&file);
        file
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        {
            let mut entries = lock(&self.live.entries);
            if let Some(entry) = entries.get_mut(&self.digest) {
                entry.openers -= 1;
            }
            self.live.tidy(&mut entries, &self.digest);
        }
        self.live.released.notify_waiters();
    }
}
