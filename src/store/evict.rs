//! The eviction itself.
//!
//! It is strict LRU over blobs and paused partial files together; what `guard.rs` spares goes only
//! where all else was not enough for what must be free. It only unlinks, files first and rows after:
//! a row without a file is a miss that the next eviction or sweep clears, and bytes come free even
//! while the index is in trouble. What is owned (being written, adopted) or open for a reader is
//! passed over: unlinking an open file frees nothing, and it is in use.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::StoreError;
use super::fill::remove_partial;
use super::guard::Guarded;
use super::index::Place;
use super::inner::Inner;
use super::ledger::charged;
use crate::metrics;
use crate::oci::Digest;

/// Blobs unlinked before their rows are removed in one change.
const BATCH: usize = 64;

/// How many bytes are to come free.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// By all means.
    pub(crate) must: u64,
    /// As long as nothing guarded has to go for it, and no more batches than these: others wait meanwhile.
    pub(crate) wish: u64,
    pub(crate) batches: usize,
}

impl Goal {
    /// What is wanted before this batch, the first being 0.
    fn wanted(&self, batch: usize) -> u64 {
        if batch < self.batches {
            self.must.max(self.wish)
        } else {
            self.must
        }
    }
}

/// What a batch did.
struct Evicted {
    freed: u64,
    /// Where the next batch begins; `None` when there are no more candidates.
    after: Option<Place>,
}

impl Inner {
    /// Removes the least recently used until enough is free; returns how many bytes that freed. The
    /// caller holds the gate.
    pub(crate) async fn evict(self: &Arc<Self>, goal: Goal) -> Result<u64, StoreError> {
        self.note_uses().await;
        if !self.touches.is_empty() {
            self.index.flush().await;
        }
        self.clear_gone().await?;
        let guarded = self.guarded().await?;
        let mut freed = self.evict_unguarded(goal, &guarded).await?;
        if freed < goal.must {
            freed += self.evict_guarded(goal.must - freed, &guarded).await?;
        }
        Ok(freed)
    }

    async fn evict_unguarded(
        self: &Arc<Self>,
        goal: Goal,
        guarded: &Arc<Guarded>,
    ) -> Result<u64, StoreError> {
        let mut freed = 0;
        let mut after = None;
        for number in 0.. {
            let wanted = goal.wanted(number);
            if freed >= wanted {
                break;
            }
            let spared = Arc::clone(guarded);
            let batch = self
                .blocking(move |inner| inner.evict_batch(wanted - freed, after, &spared))
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
        guarded: &Guarded,
    ) -> Result<Evicted, StoreError> {
        let blobs = self.index.oldest(after.as_ref(), BATCH)?;
        self.counts
            .candidates
            .fetch_add(blobs.len() as u64, Ordering::Relaxed);
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
            if guarded.spares(&place.digest) {
                continue;
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

    /// Removes what is guarded, the image that was served longest ago first. One of which something
    /// went is not guarded any more: it cannot be pulled from here, so the rest of it goes next.
    async fn evict_guarded(
        self: &Arc<Self>,
        wanted: u64,
        guarded: &Arc<Guarded>,
    ) -> Result<u64, StoreError> {
        let mut freed = 0;
        for batch in guarded.in_order().chunks(BATCH) {
            let batch = batch.to_vec();
            freed += self
                .blocking(move |inner| inner.evict_guarded_batch(wanted - freed, &batch))
                .await;
            self.clear_gone().await?;
            if freed >= wanted {
                break;
            }
        }
        Ok(freed)
    }

    /// One batch of them; returns how many bytes that freed. Blocks.
    fn evict_guarded_batch(self: &Arc<Self>, wanted: u64, batch: &[(u64, Place)]) -> u64 {
        let mut freed = 0;
        for (turn, place) in batch {
            let bytes = self.evict_blob(place);
            if bytes > 0 {
                self.recent.forget(*turn);
                self.counts
                    .guarded_evictions
                    .fetch_add(1, Ordering::Relaxed);
                metrics::guarded_eviction();
            }
            freed += bytes;
            if freed >= wanted {
                break;
            }
        }
        freed
    }

    /// Unlinks one blob; returns how many bytes that freed.
    fn evict_blob(self: &Arc<Self>, place: &Place) -> u64 {
        let digest = place.digest;
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
