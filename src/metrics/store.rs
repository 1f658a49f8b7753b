//! The store: what it holds, what it gives up, and how its disk fares.

use metrics::{counter, gauge};

use super::label::{ReadPath, StoreOp, Swept};
use super::lossy;
use super::running::Tally;

/// What the cache holds and may hold, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// Committed blobs.
    pub committed: u64,
    /// Partial files and reservations.
    pub partial: u64,
    /// The index.
    pub index: u64,
    /// The configured limit.
    pub limit: u64,
    /// The part of the committed blobs that eviction spares: what manifests of the last hour need.
    pub guarded: u64,
    /// The number of committed blobs.
    pub blobs: u64,
}

/// The store's present usage.
pub fn store_usage(usage: StoreUsage) {
    for (state, bytes) in [
        ("committed", usage.committed),
        ("partial", usage.partial),
        ("index", usage.index),
    ] {
        gauge!("forebay_store_bytes", "state" => state).set(lossy(bytes));
    }
    gauge!("forebay_store_limit_bytes").set(lossy(usage.limit));
    gauge!("forebay_store_guarded_bytes").set(lossy(usage.guarded));
    gauge!("forebay_store_blobs").set(lossy(usage.blobs));
}

/// A blob was evicted.
pub fn eviction(bytes: u64) {
    counter!("forebay_evictions_total").increment(1);
    counter!("forebay_evicted_bytes_total").increment(bytes);
}

/// A blob was evicted that a manifest of the last hour needs: nothing else made the room.
pub fn guarded_eviction() {
    counter!("forebay_guarded_evictions_total").increment(1);
}

/// A reservation found no room, even after eviction.
pub fn no_room() {
    counter!("forebay_store_no_room_total").increment(1);
}

/// The store met a fault of the disk or the index.
pub fn store_fault(op: StoreOp) {
    counter!("forebay_store_faults_total", "op" => op.as_str()).increment(1);
}

/// The sweep dealt with a file that the index did not know.
pub fn swept(what: Swept) {
    counter!("forebay_store_swept_total", "outcome" => what.as_str()).increment(1);
}

/// Bytes of stored bodies that were read.
pub fn store_read(path: ReadPath) -> Tally {
    Tally::new(counter!("forebay_store_read_bytes_total", "path" => path.as_str()))
}
