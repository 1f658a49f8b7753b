//! The store's background work: eviction ahead of time, orphans, stale partial files, and the sweep
//! that brings disk and index together after a start or a lost index.
//!
//! One task, tied to the store: it ends when the store is closed or its last handle is dropped.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::error::StoreError;
use super::index::{Change, Shard};
use super::inner::Inner;
use super::layout::parse_blob_name;
use super::ledger::{Kind, charged};
use crate::metrics::{self, Swept};
use crate::oci::{Algorithm, Digest};

/// How often everything is looked at without being asked to.
const INTERVAL: Duration = Duration::from_mins(1);

/// Links looked at in one read.
const LINKS: usize = 1024;

/// Files compared with their rows in one trip to the blocking pool.
const AT_ONCE: usize = 4096;

/// How long a link of a digest that is not stored is kept: its fill may be about to start.
const LINK_AGE: u64 = 3_600_000;

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
}

impl Upkeep {
    /// Everything is to be done.
    pub(crate) fn new() -> Self {
        Self {
            sweep: true,
            links_at: 0,
        }
    }
}

/// What the files and the rows of a shard differ in.
struct Differing {
    /// Files without rows.
    unknown: Vec<Digest>,
    /// Rows without files.
    missing: Vec<Digest>,
    looked_at: usize,
}

impl Differing {
    fn is_some(&self) -> bool {
        !(self.unknown.is_empty() && self.missing.is_empty())
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
    inner.reads.report_all();
    inner.report_usage();
    upkeep.sweep |= inner.index.take_rebuild();
    if upkeep.sweep {
        inner.sweep().await?;
        upkeep.sweep = false;
    }
    inner.tidy().await?;
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
        if !self.touches.is_empty() {
            self.index.flush().await;
        }
        self.evict_ahead().await
    }

    /// Looks at every file and every row once.
    async fn sweep(self: &Arc<Self>) -> Result<(), StoreError> {
        if !*self.counted.borrow() {
            self.count_files().await?;
        }
        let mut shards = all_shards();
        loop {
            // Few trips to the blocking pool for a small cache, short ones for a large.
            let (rest, differing) = self
                .blocking(move |inner| inner.compare_some(shards))
                .await?;
            let Some(differing) = differing else { break };
            shards = rest;
            self.settle_shard(differing).await?;
        }
        self.orphans.clear_rest();
        Ok(())
    }

    /// Charges every file under `blobs/`, without reading any: then new ones may come.
    async fn count_files(self: &Arc<Self>) -> Result<(), StoreError> {
        self.blocking(|inner| {
            for shard in inner.disk.shards()? {
                let mut bytes = 0;
                for (_, path) in inner
                    .disk
                    .list(&inner.disk.layout.shard(shard.0, shard.1))?
                {
                    bytes += inner.disk.info(&path)?.map_or(0, |info| charged(info.size));
                }
                inner
                    .orphans
                    .put_rest(inner.ledger.hold(Kind::Orphaned, bytes));
            }
            inner.counted.send_replace(true);
            Ok(())
        })
        .await
    }

    /// Settles what a shard's files and rows differ in.
    async fn settle_shard(self: &Arc<Self>, differing: Differing) -> Result<(), StoreError> {
        for digest in differing.missing {
            self.blocking(move |inner| inner.drop_if_missing(&digest))
                .await?;
        }
        for digest in differing.unknown {
            self.adopt(&digest).await?;
        }
        Ok(())
    }

    /// Compares shards up to the first that differs, or until it has looked at enough; `None` when
    /// there are no more. Blocks.
    fn compare_some(
        &self,
        mut shards: std::vec::IntoIter<Shard>,
    ) -> Result<(std::vec::IntoIter<Shard>, Option<Differing>), StoreError> {
        let mut looked_at = 0;
        while let Some(shard) = shards.next() {
            let differing = self.compare_shard(shard)?;
            looked_at += differing.looked_at;
            if differing.is_some() || looked_at >= AT_ONCE {
                return Ok((shards, Some(differing)));
            }
        }
        Ok((shards, None))
    }

    /// Blocks.
    fn compare_shard(&self, shard: Shard) -> Result<Differing, StoreError> {
        let dir = self.disk.layout.shard(shard.0, shard.1);
        // Rows first: a blob committed in between is then an unknown file, which adoption finds
        // to be known after all.
        let rows = self.index.shard(shard)?;
        let mut files = HashSet::new();
        for (name, path) in self.disk.list(&dir)? {
            match parse_blob_name(shard.0, shard.1, &name) {
                Some(digest) => {
                    files.insert(digest);
                }
                None => self.remove_stranger(&path)?,
            }
        }
        let known: HashSet<Digest> = rows.iter().map(|(digest, _)| *digest).collect();
        Ok(Differing {
            unknown: files.difference(&known).copied().collect(),
            missing: known.difference(&files).copied().collect(),
            looked_at: files.len().max(known.len()),
        })
    }

    fn remove_stranger(&self, path: &std::path::Path) -> Result<(), StoreError> {
        tracing::warn!(path = %path.display(), "removing a file that is not the cache's");
        self.disk.unlink(path)?;
        self.counts.swept.fetch_add(1, Ordering::Relaxed);
        metrics::swept(Swept::Removed);
        Ok(())
    }

    /// Drops a row whose file is missing, unless it came meanwhile. Blocks.
    fn drop_if_missing(self: &Arc<Self>, digest: &Digest) -> Result<(), StoreError> {
        if self.disk.info(&self.disk.layout.blob(digest))?.is_some() {
            return Ok(());
        }
        self.drop_blob(digest)
    }

    /// Drops links of digests that are neither stored nor on their way.
    async fn sweep_links(self: &Arc<Self>, now: u64) -> Result<(), StoreError> {
        let horizon = now.saturating_sub(LINK_AGE);
        let mut after: Option<Digest> = None;
        loop {
            let from = after;
            let (last, idle) = self
                .blocking(move |inner| inner.idle_links(from.as_ref(), horizon))
                .await?;
            if !idle.is_empty() {
                self.index
                    .change(Change::DropLinks { digests: idle }, None)
                    .await
                    .map_err(|unsettled| unsettled.error)?;
            }
            if last.is_none() {
                return Ok(());
            }
            after = last;
        }
    }

    fn idle_links(
        &self,
        after: Option<&Digest>,
        horizon: u64,
    ) -> Result<(Option<Digest>, Vec<Digest>), StoreError> {
        let linked = self.index.linked(after, LINKS)?;
        let mut idle = Vec::new();
        for (digest, recorded) in &linked {
            let on_its_way = self.live.is_owned(digest) || self.paused.contains(digest);
            if *recorded <= horizon && !on_its_way && self.index.blob(digest)?.is_none() {
                idle.push(*digest);
            }
        }
        Ok((linked.last().map(|(digest, _)| *digest), idle))
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

fn all_shards() -> std::vec::IntoIter<Shard> {
    let shards: Vec<Shard> = Algorithm::ALL
        .into_iter()
        .flat_map(|algorithm| (0..=u8::MAX).map(move |first| (algorithm, first)))
        .collect();
    shards.into_iter()
}
