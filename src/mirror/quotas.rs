//! What is known of the upstreams' quotas, over restarts: written down within a second of what changes it, and at the end.

use std::sync::Arc;
use std::time::Duration;

use super::Mirror;
use crate::store::Store;
use crate::upstream::{Quotas, UpstreamStanding};

/// Between two writes. A process that is killed forgets as much.
const PAUSE: Duration = Duration::from_secs(1);

impl Mirror {
    /// Takes up what an earlier process knew of the quotas, and sees to it that the next one can do the same. Comes before
    /// the first request.
    pub async fn keep_quotas(&self) {
        let inner = &self.inner;
        match inner.store.quotas().await {
            Ok(rows) => inner.upstreams.restore_quotas(rows),
            Err(error) => {
                tracing::warn!(%error, "what was known of the upstreams' quotas can't be read; it is asked for again");
            }
        }
        for upstream in inner.upstreams.named() {
            let (upstream, tasks) = (Arc::clone(upstream), inner.tasks.clone());
            // Detached; nobody waits for it, and a stop ends it.
            inner.tasks.spawn(async move {
                tasks.unless_stopped(upstream.read_quota()).await;
            });
        }
        let (quotas, store) = (inner.upstreams.quotas(), inner.store.clone());
        let tasks = inner.tasks.clone();
        // Ends with the mirror, which waits for it.
        inner.tasks.spawn(async move {
            loop {
                let changed = tasks.unless_stopped(quotas.changed()).await;
                write_down(&quotas, &store).await;
                if changed.is_none() {
                    return;
                }
                tasks.unless_stopped(tokio::time::sleep(PAUSE)).await;
            }
        });
    }

    /// How each upstream stands.
    pub fn upstreams(&self) -> Vec<UpstreamStanding> {
        self.inner.upstreams.standings()
    }
}

async fn write_down(quotas: &Quotas, store: &Store) {
    let rows = quotas.rows();
    if rows.is_empty() {
        return;
    }
    // A cache whose disk fails costs its help, not more.
    if let Err(error) = store.put_quotas(rows).await {
        tracing::debug!(%error, "the upstreams' quotas can't be written down");
    }
}
