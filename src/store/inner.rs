//! What all handles of one open store share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, OnceCell, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::clock::Stamps;
use super::disk::Disk;
use super::error::StoreError;
use super::index::Index;
use super::ledger::Ledger;
use super::live::Live;
use super::lock::DirLock;
use super::orphans::Orphans;
use super::paused::Paused;
use super::reads::Reads;
use super::recent::Recent;
use super::room::{Room, is_crowded};
use super::tier::OpenFiles;
use super::touches::Touches;
use crate::metrics;

/// The store, shared by its handles, its writers and its upkeep.
pub(crate) struct Inner {
    pub(crate) disk: Disk,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) index: Index,
    pub(crate) live: Arc<Live>,
    pub(crate) reads: Arc<Reads>,
    pub(crate) open: OpenFiles,
    pub(crate) touches: Arc<Touches>,
    pub(crate) stamps: Stamps,
    pub(crate) opened: Opened,
    pub(crate) recent: Recent,
    /// Set once what was served before the start is in `recent`.
    pub(crate) recalled: OnceCell<()>,
    pub(crate) paused: Paused,
    pub(crate) orphans: Arc<Orphans>,
    pub(crate) room: Room,
    pub(crate) handle: Handle,
    /// Wakes upkeep.
    pub(crate) attention: Arc<Notify>,
    /// Whether every file on disk is in the ledger; until then nothing new is let in.
    pub(crate) counted: watch::Sender<bool>,
    pub(crate) counts: Counts,
    pub(crate) stop: CancellationToken,
    pub(crate) closed: AtomicBool,
    /// The directory's lock is kept by those that write to it: the index and the fills.
    pub(crate) lock: Weak<DirLock>,
    /// How long a paused partial file is kept.
    pub(crate) partial_age: Duration,
    /// The upkeep task, until it is waited for.
    pub(crate) upkeep: Mutex<Option<JoinHandle<()>>>,
}

/// The moment at which the store was opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    /// By the clock that never steps.
    pub(crate) at: u64,
    /// The last use of all that were recorded before.
    pub(crate) newest: u64,
}

/// What happened since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) evictions: AtomicU64,
    /// Blobs that evictions have looked at.
    pub(crate) candidates: AtomicU64,
    pub(crate) evicted_bytes: AtomicU64,
    pub(crate) guarded_evictions: AtomicU64,
    /// How many bytes were guarded when that was last looked at.
    pub(crate) guarded: AtomicU64,
    /// How many might have been then.
    pub(crate) guardable: AtomicU64,
    pub(crate) adopted: AtomicU64,
    pub(crate) swept: AtomicU64,
    pub(crate) no_room: AtomicU64,
}

impl Inner {
    /// Runs something that reads or writes the disk on the blocking pool. It goes on when the
    /// caller loses interest.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> T {
        let inner = Arc::clone(self);
        match self.handle.spawn_blocking(move || work(&inner)).await {
            Ok(value) => value,
            Err(error) => lost(error).await,
        }
    }

    /// The directory's lock, for a new writer.
    pub(crate) fn dir_lock(&self) -> Result<Arc<DirLock>, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        self.lock.upgrade().ok_or(StoreError::Closed)
    }

    /// Sets the gauges.
    pub(crate) fn report_usage(&self) {
        metrics::store_usage(self.usage().metrics());
    }

    /// Wakes upkeep when the cache is nearly full, so that the next fill need not wait for it.
    pub(crate) fn after_commit(&self) {
        self.report_usage();
        if is_crowded(&self.ledger) {
            self.attention.notify_one();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A job of ours did not end: it panicked, and so do we; or the runtime is shutting down, and
/// nobody is left to hear of it.
pub(crate) async fn lost<T>(error: JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => std::future::pending().await,
    }
}
