//! Making room: reservations that wait for eviction, and eviction ahead of time.
//!
//! Owns the gate that lets one make room at a time, and what was removed of which the index does
//! not know yet.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::error::StoreError;
use super::evict::Goal;
use super::gone::Gone;
use super::inner::Inner;
use super::ledger::{Charge, Kind, Ledger, Shortfall};
use crate::metrics;

/// Above this part of the limit, upkeep evicts ahead of time.
const HIGH_PERCENT: u64 = 95;
/// Down to this part of the limit.
const LOW_PERCENT: u64 = 90;
/// How long a reservation waits, after the index was lost, for the files on disk to be counted.
const COUNTING: Duration = Duration::from_secs(5);
/// How often a reservation is tried again: others may take the room that was made.
const ATTEMPTS: u32 = 8;
/// Batches that a reservation removes beyond what it needs: some hundred blobs, so that looking at what is guarded is paid
/// for, and few enough for a client to wait for, however large the cache is.
const IN_PASSING: usize = 4;
/// Batches that upkeep removes before it lets reservations have their turn.
const STEP: usize = 8;

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
            if shortfall.hopeless
                || attempt == ATTEMPTS
                || !self.evict_for(shortfall, attempt == 0).await?
            {
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

    /// Evicts what is missing, at first towards the low watermark where that costs nothing guarded, and leaves the rest
    /// to upkeep; whether anything came free. What is missing after that is little, the index having grown by
    /// what it was told, and takes no more with it.
    async fn evict_for(
        self: &Arc<Self>,
        shortfall: Shortfall,
        is_first: bool,
    ) -> Result<bool, StoreError> {
        let goal = Goal {
            must: shortfall.missing,
            wish: if is_first {
                self.above_low(u64::MAX)
            } else {
                0
            },
            batches: IN_PASSING,
        };
        let freed = self.evict(goal).await?;
        if freed < goal.wish {
            self.attention.notify_one();
        }
        // Half of what was wanted may still be what was missing; the caller tries.
        Ok(freed > 0)
    }

    /// What is to go until the low watermark is reached, and the free space is left.
    fn above_low(&self, free: u64) -> u64 {
        let low = percent(self.ledger.limit(), LOW_PERCENT);
        self.ledger.excess(low, free)
    }

    /// Evicts ahead of time where the high watermark, or the free space to leave, is passed: step by step, so that who needs
    /// room meanwhile does not wait for all of it.
    pub(crate) async fn evict_ahead(self: &Arc<Self>) -> Result<(), StoreError> {
        let high = percent(self.ledger.limit(), HIGH_PERCENT);
        let free = self.blocking(|inner| inner.disk.free()).await?;
        if self.ledger.excess(high, free) == 0 {
            return Ok(());
        }
        while self.evict_step().await? {}
        Ok(())
    }

    /// Whether there is more to do.
    async fn evict_step(self: &Arc<Self>) -> Result<bool, StoreError> {
        let _gate = self.room.gate.lock().await;
        let free = self.blocking(|inner| inner.disk.free()).await?;
        let goal = Goal {
            must: self.ledger.excess(self.ledger.limit(), free),
            wish: self.above_low(free),
            batches: STEP,
        };
        if goal.wish == 0 {
            return Ok(false);
        }
        let unguarded = self.ledger.sums().evictable();
        let unguarded = unguarded.saturating_sub(self.counts.guarded.load(Ordering::Relaxed));
        if goal.must == 0 && unguarded == 0 {
            // What is being written takes the rest; nothing is to be had ahead of time.
            return Ok(false);
        }
        let freed = self.evict(goal).await?;
        Ok(freed > 0 && freed < goal.wish)
    }
}
