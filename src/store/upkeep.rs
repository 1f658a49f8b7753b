//! The store's background work: eviction ahead of time, orphans, stale partial files, and the sweep
//! that brings disk and index together after a start or a lost index.
//!
//! One task, tied to the store: it ends when the store is closed or its last handle is dropped.

use std::collections::HashSet;
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
use crate::oci::Digest;

/// How often everything is looked at without being asked to.
const INTERVAL: Duration = Duration::from_mins(1);

/// Links looked at in one read.
const LINKS: usize = 1024;

/// Starts the task.
pub(crate) fn start(inner: &Arc<Inner>) -> JoinHandle<()> {
    let weak = Arc::downgrade(inner);
    let attention = Arc::clone(&inner.attention);
    let stop = inner.stop.clone();
    inner.handle.spawn(async move {
        let mut sweep = true;
        loop {
            let Some(inner) = weak.upgrade() else { return };
            tokio::select! {
                () = stop.cancelled() => return,
                () = round(&inner, &mut sweep) => {}
            }
            drop(inner);
            tokio::select! {
                () = stop.cancelled() => return,
                () = attention.notified() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    })
}

/// One look at everything.
async fn round(inner: &Arc<Inner>, sweep: &mut bool) {
    *sweep |= inner.index.take_rebuild();
    if *sweep {
        match inner.sweep().await {
            Ok(()) => *sweep = false,
            Err(error) => report(
                &error,
                "the sweep of the cache did not end; it starts again later",
            ),
        }
    }
    if let Err(error) = inner.tidy().await {
        report(&error, "the upkeep of the cache met an error");
    }
    metrics::store_usage(inner.usage().metrics());
}

fn report(error: &StoreError, what: &'static str) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
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
        for shard in all_shards() {
            self.sweep_shard(shard).await?;
        }
        self.orphans.clear_rest();
        self.sweep_links().await
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

    async fn sweep_shard(self: &Arc<Self>, shard: Shard) -> Result<(), StoreError> {
        let (unknown, missing) = self
            .blocking(move |inner| inner.compare_shard(shard))
            .await?;
        for digest in missing {
            self.blocking(move |inner| inner.drop_if_missing(&digest))
                .await?;
        }
        for digest in unknown {
            self.adopt(&digest).await?;
        }
        Ok(())
    }

    /// Files without rows, and rows without files. Blocks.
    fn compare_shard(&self, shard: Shard) -> Result<(Vec<Digest>, Vec<Digest>), StoreError> {
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
        let unknown = files.difference(&known).copied().collect();
        let missing = known.difference(&files).copied().collect();
        Ok((unknown, missing))
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
    async fn sweep_links(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut after: Option<Digest> = None;
        loop {
            let from = after;
            let (last, idle) = self
                .blocking(move |inner| inner.idle_links(from.as_ref()))
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
    ) -> Result<(Option<Digest>, Vec<Digest>), StoreError> {
        let linked = self.index.linked(after, LINKS)?;
        let mut idle = Vec::new();
        for digest in &linked {
            let on_its_way = self.live.is_owned(digest) || self.paused.contains(digest);
            if !on_its_way && self.index.blob(digest)?.is_none() {
                idle.push(*digest);
            }
        }
        Ok((linked.last().copied(), idle))
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

fn all_shards() -> impl Iterator<Item = Shard> {
    crate::oci::Algorithm::ALL
        .into_iter()
        .flat_map(|algorithm| (0..=u8::MAX).map(move |first| (algorithm, first)))
}
