//! The store's background work: eviction ahead of time, orphans, stale partial files, and now and
//! then a sweep.
//!
//! One task, tied to the store: it ends when the store is closed or its last handle is dropped.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::error::StoreError;
use super::inner::Inner;
use super::sweep::LINK_AGE;

/// How often everything is looked at without being asked to.
const INTERVAL: Duration = Duration::from_mins(1);

/// How often the links are looked through.
const LINK_SWEEPS: u64 = 24 * 3_600_000;

/// After rounds that failed, the next one waits this long at least, and twice as long each time.
const PAUSE: RangeInclusive<Duration> = Duration::from_secs(1)..=INTERVAL;

/// What the task keeps from round to round.
pub(crate) struct Upkeep {
    /// Whether files and rows are to be compared.
    sweep: bool,
    /// When the links were last looked through.
    links_at: u64,
    /// When it was last looked at what is guarded, by the clock that never steps.
    guarded_at: u64,
}

impl Upkeep {
    /// Everything is to be done.
    pub(crate) fn new() -> Self {
        Self {
            sweep: true,
            links_at: 0,
            guarded_at: 0,
        }
    }
}

impl Upkeep {
    /// Keeps the sum of what is guarded no older than the interval. The first time comes before the
    /// sweep: what that finds in no order was not served last.
    async fn look_at_guarded(&mut self, inner: &Arc<Inner>) -> Result<(), StoreError> {
        let now = inner.stamps.elapsed();
        if u128::from(now.saturating_sub(self.guarded_at)) >= INTERVAL.as_millis() {
            inner.guarded().await?;
            self.guarded_at = now;
        }
        Ok(())
    }
}

/// Starts the task.
pub(crate) fn start(inner: &Arc<Inner>) -> JoinHandle<()> {
    let weak = Arc::downgrade(inner);
    let attention = Arc::clone(&inner.attention);
    let stop = inner.stop.clone();
    inner.handle.spawn(async move {
        let mut upkeep = Upkeep::new();
        let mut pause = Duration::ZERO;
        loop {
            let Some(inner) = weak.upgrade() else { return };
            let done = tokio::select! {
                () = stop.cancelled() => return,
                done = round(&inner, &mut upkeep) => done,
            };
            drop(inner);
            if let Err(error) = done {
                pause = (pause * 2).clamp(*PAUSE.start(), *PAUSE.end());
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    ?pause,
                    "the upkeep of the cache met an error; it goes on after a pause"
                );
            } else {
                pause = Duration::ZERO;
            }
            let wait = async {
                tokio::time::sleep(pause).await;
                let _ = tokio::time::timeout(INTERVAL, attention.notified()).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = wait => {}
            }
        }
    })
}

/// One look at everything.
pub(crate) async fn round(inner: &Arc<Inner>, upkeep: &mut Upkeep) -> Result<(), StoreError> {
    upkeep.look_at_guarded(inner).await?;
    inner.report_usage();
    upkeep.sweep |= inner.index.take_rebuild();
    let mut swept = Ok(());
    if upkeep.sweep {
        swept = inner.sweep().await;
        upkeep.sweep = swept.is_err();
    }
    // A sweep that stumbles must not keep the cache from being tidied.
    inner.tidy().await.and(swept)?;
    let now = inner.stamps.now();
    let since = now.saturating_sub(upkeep.links_at);
    if since >= LINK_SWEEPS || (since >= LINK_AGE && inner.index.is_full_of_links()) {
        inner.sweep_links(now).await?;
        upkeep.links_at = now;
    }
    Ok(())
}

impl Inner {
    /// The small things.
    async fn tidy(self: &Arc<Self>) -> Result<(), StoreError> {
        self.settle_gone().await?;
        for digest in self.orphans.digests() {
            self.adopt(&digest).await?;
        }
        self.drop_stale_partials().await;
        self.note_uses().await;
        if !self.touches.is_empty() {
            self.index.flush().await;
        }
        self.evict_ahead().await
    }

    async fn drop_stale_partials(self: &Arc<Self>) {
        let age = u64::try_from(self.partial_age.as_millis()).unwrap_or(u64::MAX);
        let horizon = self.stamps.now().saturating_sub(age);
        self.blocking(move |inner| {
            for (stamp, digest) in inner.paused.oldest() {
                if stamp < horizon {
                    inner.evict_partial(&digest);
                }
            }
        })
        .await;
    }
}
