//! The sweep: brings the disk and the index together after a start or a lost index, and clears away
//! links of what never came.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::StoreError;
use super::index::{Change, Shard};
use super::inner::Inner;
use super::layout::parse_blob_name;
use super::ledger::{Kind, charged};
use crate::metrics::{self, Swept};
use crate::oci::{Algorithm, Digest};

/// Files compared with their rows in one trip to the blocking pool.
const AT_ONCE: usize = 4096;

/// Links looked at in one read.
const LINKS: usize = 1024;

/// How long, in milliseconds, a link of a digest that is not stored is kept: its fill may be about
/// to start.
pub(super) const LINK_AGE: u64 = 3_600_000;

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

impl Inner {
    /// Looks at every file and every row once.
    pub(super) async fn sweep(self: &Arc<Self>) -> Result<(), StoreError> {
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
                None => self.remove_stranger(&path),
            }
        }
        let known: HashSet<Digest> = rows.iter().map(|(digest, _)| *digest).collect();
        Ok(Differing {
            unknown: files.difference(&known).copied().collect(),
            missing: known.difference(&files).copied().collect(),
            looked_at: files.len().max(known.len()),
        })
    }

    fn remove_stranger(&self, path: &Path) {
        tracing::warn!(path = %path.display(), "removing a file that is not the cache's");
        if self.disk.unlink(path).is_ok() {
            self.counts.swept.fetch_add(1, Ordering::Relaxed);
            metrics::swept(Swept::Removed);
        }
    }

    /// Drops a row whose file is missing, unless it came meanwhile. Blocks.
    fn drop_if_missing(self: &Arc<Self>, digest: &Digest) -> Result<(), StoreError> {
        if self.disk.info(&self.disk.layout.blob(digest))?.is_some() {
            return Ok(());
        }
        self.drop_blob(digest)
    }

    /// Drops links of digests that are neither stored nor on their way.
    pub(super) async fn sweep_links(self: &Arc<Self>, now: u64) -> Result<(), StoreError> {
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
        self.index.blobs(|blobs| {
            for (digest, recorded) in &linked {
                let on_its_way = self.live.is_owned(digest) || self.paused.contains(digest);
                if *recorded <= horizon && !on_its_way && blobs.get(digest)?.is_none() {
                    idle.push(*digest);
                }
            }
            Ok(())
        })?;
        Ok((linked.last().map(|(digest, _)| *digest), idle))
    }
}

fn all_shards() -> std::vec::IntoIter<Shard> {
    let shards: Vec<Shard> = Algorithm::ALL
        .into_iter()
        .flat_map(|algorithm| (0..=u8::MAX).map(move |first| (algorithm, first)))
        .collect();
    shards.into_iter()
}
