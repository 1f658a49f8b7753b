//! What the store holds and what happened to it.

use std::sync::atomic::Ordering;

use super::inner::Inner;
use crate::metrics::StoreUsage;

/// A look at the store, in bytes and counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The limit that all bytes together stay under.
    pub limit: u64,
    /// Committed blobs.
    pub committed: u64,
    /// Running writers: what they wrote and what is reserved for them.
    pub running: u64,
    /// Partial files that nobody writes.
    pub paused: u64,
    /// Removed files that readers have open.
    pub unlinked: u64,
    /// Files that the index does not know yet.
    pub orphaned: u64,
    /// Directories, and indexes that were set aside.
    pub other: u64,
    /// The index's file.
    pub index: u64,
    /// All of the above.
    pub total: u64,
    /// Number of committed blobs.
    pub blobs: u64,
    /// Number of links.
    pub links: u64,
    /// Number of tag records.
    pub tags: u64,
    /// Number of partial files that nobody writes.
    pub partial_files: usize,
    /// Blobs evicted since the start.
    pub evictions: u64,
    /// What they were charged.
    pub evicted_bytes: u64,
    /// Of the committed bytes those that were guarded when that was last looked at.
    pub guarded: u64,
    /// Guarded blobs evicted since the start, because nothing else made the room.
    pub guarded_evictions: u64,
    /// Files adopted since the start.
    pub adopted: u64,
    /// Files removed by the sweep since the start.
    pub swept: u64,
    /// Reservations refused since the start.
    pub no_room: u64,
}

impl Usage {
    /// The part that has gauges.
    pub fn metrics(&self) -> StoreUsage {
        StoreUsage {
            committed: self.committed,
            partial: self.running + self.paused + self.unlinked + self.orphaned + self.other,
            index: self.index,
            limit: self.limit,
            guarded: self.guarded,
            blobs: self.blobs,
        }
    }
}

impl Inner {
    pub(crate) fn usage(&self) -> Usage {
        let sums = self.ledger.sums();
        let totals = self.index.totals();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Usage {
            limit: self.ledger.limit(),
            committed: sums.committed.saturating_sub(sums.gone),
            running: sums.running,
            paused: sums.paused,
            unlinked: sums.unlinked,
            orphaned: sums.orphaned,
            other: sums.other,
            index: sums.index,
            total: sums.total(),
            blobs: totals.blobs,
            links: totals.links,
            tags: totals.tags,
            partial_files: self.paused.len(),
            evictions: count(&self.counts.evictions),
            evicted_bytes: count(&self.counts.evicted_bytes),
            guarded: count(&self.counts.guarded),
            guarded_evictions: count(&self.counts.guarded_evictions),
            adopted: count(&self.counts.adopted),
            swept: count(&self.counts.swept),
            no_room: count(&self.counts.no_room),
        }
    }
}
