//! Making room: reservations that wait for eviction, and the eviction itself.
//!
//! Eviction is strict LRU over blobs and paused partial files together. It only unlinks, files
//! first and rows after: a row without a file is a miss that the next eviction or sweep clears,
//! and bytes come free even while the index is in trouble. What is owned (being written, adopted)
//! or open for a reader is passed over: unlinking an open file frees nothing, and it is in use.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::error::StoreError;
use super::fill::remove_partial;
use super::gone::Gone;
use super::index::Place;
use super::inner::Inner;
use super::ledger::{Charge, Kind, Ledger, Shortfall, charged};
use crate::metrics;
use crate::oci::Digest;

/// Above this part of the limit, upkeep evicts ahead of time.
const HIGH_PERCENT: u64 = 95;
/// Down to this part of the limit.
const LOW_PERCENT: u64 = 90;
/// Blobs unlinked before their rows are removed in one change.
const BATCH: usize = 64;
/// How long a reservation waits, after the index was lost, for the files on disk to be counted.
const COUNTING: Duration = Duration::from_secs(5);
/// How often a reservation is tried again: others may take the room that was made.
const ATTEMPTS: u32 = 8;

/// Who makes room, one at a time.
#[derive(Default)]
pub(crate) struct Room {
    pub(super) gate: tokio::sync::Mutex<()>,
    pub(super) gone: Mutex<Option<Gone>>,
}

/// Whether the high watermark is passed.
pub(crate) fn is_crowded(ledger: &Ledger) -> bool {
    ledger.excess(percent(ledger.limit(), HIGH_PERCENT), u64::MAX) > 0
}

fn percent(limit: u64, part: u64) -> u64 {
    limit / 100 * part
}

impl Inner {
    /// Reserves bytes for a writer, evicting what has to go.
    pub(crate) async fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Charge, StoreError> {
        let mut charge = self.ledger.hold(Kind::Running, 0);
        self.grow(&mut charge, bytes, bytes).await?;
        Ok(charge)
    }

    /// Makes a reservation at least `bytes`, and `wish` where that is as easy, evicting what has to
    /// go.
    pub(crate) async fn grow(
        self: &Arc<Self>,
        charge: &mut Charge,
        bytes: u64,
        wish: u64,
    ) -> Result<(), StoreError> {
        if charge.bytes() >= bytes {
            return Ok(());
        }
        self.wait_counted(bytes).await?;
        let free = self.blocking(|inner| inner.disk.free()).await?;
        let take = |charge: &mut Charge, free| {
            let wished = charge.grow(wish, free);
            wished.or_else(|_| charge.grow(bytes, free))
        };
        if take(charge, free).is_ok() {
            return Ok(());
        }
        let _gate = self.room.gate.lock().await;
        for attempt in 0..=ATTEMPTS {
            // Who had the gate before may have made room enough for all who wait.
            let free = self.blocking(|inner| inner.disk.free()).await?;
            let Err(shortfall) = take(charge, free) else {
                return Ok(());
            };
            if shortfall.hopeless || attempt == ATTEMPTS || !self.evict_for(shortfall).await? {
                break;
            }
        }
        self.counts.no_room.fetch_add(1, Ordering::Relaxed);
        metrics::no_room();
        Err(StoreError::NoRoom { wanted: bytes })
    }

    /// Nothing new is let in before every file on disk is in the ledger.
    async fn wait_counted(&self, wanted: u64) -> Result<(), StoreError> {
        let mut counted = self.counted.subscribe();
        match tokio::time::timeout(COUNTING, counted.wait_for(|done| *done)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => Err(StoreError::NoRoom { wanted }),
        }
    }

    /// Evicts what is missing, and down to the low watermark; whether anything came free.
    async fn evict_for(self: &Arc<Self>, shortfall: Shortfall) -> Result<bool, StoreError> {
        let low = percent(self.ledger.limit(), LOW_PERCENT);
        let wanted = shortfall.missing.max(self.ledger.excess(low, u64::MAX));
        let freed = self.evict(wanted).await;
        // Half of what was wanted may still be what was missing; the caller tries.
        freed.map(|bytes| bytes > 0)
    }

    /// Evicts ahead of time where the high watermark, or the free space to leave, is passed.
    pub(crate) async fn evict_ahead(self: &Arc<Self>) -> Result<(), StoreError> {
        let limit = self.ledger.limit();
        let free = self.blocking(|inner| inner.disk.free()).await?;
        if self.ledger.excess(percent(limit, HIGH_PERCENT), free) == 0 {
            return Ok(());
        }
        let _gate = self.room.gate.lock().await;
        let wanted = self.ledger.excess(percent(limit, LOW_PERCENT), free);
        self.evict(wanted).await.map(drop)
    }

    /// Removes the least recently used until `wanted` bytes are free; returns how many are. The
    /// caller holds the gate.
    async fn evict(self: &Arc<Self>, wanted: u64) -> Result<u64, StoreError> {
        if !self.touches.is_empty() {
            self.index.flush().await;
        }
        self.clear_gone().await?;
        let mut freed = 0;
        let mut after = None;
        while freed < wanted {
            let batch = self
                .blocking(move |inner| inner.evict_batch(wanted - freed, after))
                .await?;
            freed += batch.freed;
            self.clear_gone().await?;
            if batch.after.is_none() {
                break;
            }
            after = batch.after;
        }
        Ok(freed)
    }

    /// One batch of candidates, in order. Blocks.
    fn evict_batch(
        self: &Arc<Self>,
        wanted: u64,
        after: Option<Place>,
    ) -> Result<Evicted, StoreError> {
        let blobs = self.index.oldest(after.as_ref(), BATCH)?;
        let mut partials = self.paused.oldest().into_iter().peekable();
        let mut evicted = Evicted {
            freed: 0,
            after: None,
        };
        for place in &blobs {
            while let Some((_, digest)) = partials.next_if(|(stamp, _)| *stamp <= place.last_use) {
                evicted.freed += self.evict_partial(&digest);
                if evicted.freed >= wanted {
                    return Ok(evicted);
                }
            }
            evicted.freed += self.evict_blob(place);
            if evicted.freed >= wanted {
                return Ok(evicted);
            }
        }
        if blobs.len() == BATCH {
            evicted.after = blobs.last().copied();
            return Ok(evicted);
        }
        for (_, digest) in partials {
            if evicted.freed >= wanted {
                break;
            }
            evicted.freed += self.evict_partial(&digest);
        }
        Ok(evicted)
    }

    /// Unlinks one blob; returns how many bytes that freed.
    fn evict_blob(self: &Arc<Self>, place: &Place) -> u64 {
        let digest = place.digest;
        if !self.may_evict(&digest) {
            return 0;
        }
        let Some(claim) = self.live.claim_for_upkeep(&digest) else {
            return 0;
        };
        if !self.open.is_idle(&digest) {
            return 0;
        }
        self.open.remove(&digest);
        if claim.file().is_some() {
            return 0;
        }
        if self.disk.unlink(&self.disk.layout.blob(&digest)).is_err() {
            return 0;
        }
        let bytes = charged(place.size);
        if !self.is_gone(&digest) {
            self.note_gone(digest, bytes, Some(claim));
        }
        self.counts.evictions.fetch_add(1, Ordering::Relaxed);
        self.counts
            .evicted_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        metrics::eviction(bytes);
        bytes
    }

    /// Where protection from eviction is decided; nothing is protected yet.
    #[expect(
        clippy::unused_self,
        reason = "protection will ask what was served lately"
    )]
    fn may_evict(&self, _digest: &Digest) -> bool {
        true
    }

    /// Removes a paused partial file; returns how many bytes that freed. Blocks.
    pub(crate) fn evict_partial(self: &Arc<Self>, digest: &Digest) -> u64 {
        let Some(claim) = self.live.claim_for_upkeep(digest) else {
            return 0;
        };
        if claim.file().is_some() {
            return 0;
        }
        let Some((charge, _)) = self.paused.take(digest) else {
            return 0;
        };
        let bytes = charge.bytes();
        remove_partial(self, *digest, charge, &claim);
        if self.paused.contains(digest) {
            return 0;
        }
        bytes
    }
}

/// What a batch did.
struct Evicted {
    freed: u64,
    /// Where the next batch begins; `None` when there are no more candidates.
    after: Option<Place>,
}
