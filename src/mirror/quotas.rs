//! What is known of the upstreams' quotas, over restarts: written down within a second of what changes it, and at the end.

use std::sync::Arc;
use std::time::Duration;

use super::Mirror;
use crate::store::Store;
use crate::upstream::{Quotas, Upstream, UpstreamStanding};

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
        self.ask_quotas(|_| true);
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

    /// Asks the upstreams that a reload has brought how much is left of their quotas.
    pub fn ask_new_quotas(&self, before: &Self) {
        let known: Vec<_> = before.inner.upstreams.named().collect();
        self.ask_quotas(|upstream| !known.iter().any(|known| Arc::ptr_eq(known, upstream)));
    }

    fn ask_quotas(&self, wanted: impl Fn(&Arc<Upstream>) -> bool) {
        let inner = &self.inner;
        for upstream in inner.upstreams.named().filter(|upstream| wanted(upstream)) {
            let (upstream, tasks) = (Arc::clone(upstream), inner.tasks.clone());
            // Detached; nobody waits for it, and a stop ends it.
            inner.tasks.spawn(async move {
                tasks.unless_stopped(upstream.read_quota()).await;
            });
        }
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
