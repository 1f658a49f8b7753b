//! The running fills: at most one a digest, and who joins it.
//!
//! Owns the table and the quarantine. A fill stands in the table from its start until what it leaves behind is
//! settled: its index row is visible, or its writer is gone, so that the next fill of the digest finds the store as it
//! will stay.

use std::collections::HashMap;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::mirror::rights::Rights;
use crate::oci::{Digest, Repository};
use crate::store::Store;
use crate::sync::lock;

use super::plan::Bounds;
use super::sources::{Source, Sources};
use super::{Fill, task};

/// For how long a repository is not asked for a digest after two fetches in a row gave wrong bytes.
const QUARANTINE: Duration = Duration::from_secs(30);
/// Entries of the quarantine, at most.
const QUARANTINE_ENTRIES: u64 = 10_000;

/// Fills that run or wait for their turn, at most, for each one that may run.
const QUEUED_PER_PLACE: usize = 8;

/// The bounds of fills.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// For how long a fill goes on without readers.
    pub linger: Duration,
    /// Pieces, connections and failures.
    pub bounds: Bounds,
    /// Fills at once, at most.
    pub running: usize,
}

/// What every driver works with.
pub struct Env {
    /// The disk.
    pub store: Store,
    /// Who may read what.
    pub rights: Arc<Rights>,
    /// The bounds of fills.
    pub settings: Settings,
    /// A place for each fill that may run.
    pub places: Semaphore,
    /// Cancelled when the mirror stops.
    pub stop: CancellationToken,
    /// The drivers, so that a stop can wait for them.
    pub drivers: TaskTracker,
    running: Mutex<HashMap<Digest, Arc<Fill>>>,
    quarantine: moka::sync::Cache<(Repository, Digest), Instant>,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Env {
    /// An empty table over `store`.
    pub fn new(store: Store, rights: Arc<Rights>, settings: Settings) -> Self {
        Self {
            store,
            rights,
            settings,
            places: Semaphore::new(settings.running),
            stop: CancellationToken::new(),
            drivers: TaskTracker::new(),
            running: Mutex::default(),
            quarantine: moka::sync::Cache::new(QUARANTINE_ENTRIES),
        }
    }

    /// How many fills run, or wait for their turn.
    pub fn len(&self) -> usize {
        self.table().len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.table().is_empty()
    }

    /// Whether `digest` is being filled.
    pub fn is_running(&self, digest: &Digest) -> bool {
        self.table().contains_key(digest)
    }

    /// Joins the running fill of `digest`, or starts one that asks `source`. `true` comes with it where it was running.
    /// `wanted` is the range that its client named both ends of.
    ///
    /// A source in quarantine starts none. It is looked up with the table held: the quarantine is written before the fill
    /// that proved it leaves the table, so that whoever misses the one finds the other.
    pub fn join(
        self: &Arc<Self>,
        digest: Digest,
        source: Source,
        wanted: Option<Range<u64>>,
    ) -> Result<(Lease, bool), NotStarted> {
        let mut table = self.table();
        if let Some(fill) = table.get(&digest) {
            fill.want_early(wanted);
            return Ok((Lease::new(fill), true));
        }
        if self.is_quarantined(&source.repository(), &digest, Instant::now()) {
            return Err(NotStarted::Quarantined);
        }
        if table.len() >= self.settings.running.saturating_mul(QUEUED_PER_PLACE) {
            return Err(NotStarted::TooMany);
        }
        let fill = Arc::new(Fill::new(digest, 0, Sources::new(source)));
        fill.want_early(wanted);
        let lease = Lease::new(&fill);
        table.insert(digest, Arc::clone(&fill));
        drop(table);
        self.start(fill);
        Ok((lease, false))
    }

    /// Whether `repository` gave wrong bytes for `digest` twice in a row a moment ago.
    pub fn is_quarantined(&self, repository: &Repository, digest: &Digest, now: Instant) -> bool {
        let until = self.quarantine.get(&(repository.clone(), *digest));
        until.is_some_and(|until| now < until)
    }

    /// Takes an ended fill out of the table.
    pub(super) fn remove(&self, fill: &Arc<Fill>) {
        let mut table = self.table();
        if table
            .get(&fill.digest)
            .is_some_and(|known| Arc::ptr_eq(known, fill))
        {
            table.remove(&fill.digest);
        }
    }

    /// Puts a fresh fill of the same digest in the place of one whose bytes were wrong. The second time, those who gave
    /// them are not asked for it for a while: each try costs a whole body.
    pub(super) fn start_over(self: &Arc<Self>, fill: &Arc<Fill>) {
        if fill.attempt > 0 {
            let until = Instant::now() + QUARANTINE;
            for repository in fill.sources.givers() {
                self.quarantine.insert((repository, fill.digest), until);
            }
            self.remove(fill);
            return;
        }
        let again = Arc::new(Fill::new(fill.digest, 1, fill.sources.renewed()));
        self.table().insert(fill.digest, Arc::clone(&again));
        self.start(again);
    }

    fn start(self: &Arc<Self>, fill: Arc<Fill>) {
        // Detached from every client: it ends by itself, by linger or by `stop`.
        self.drivers.spawn(task::run(Arc::clone(self), fill));
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Fill>>> {
        lock(&self.running)
    }
}

/// Why a fill does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// Its source gave wrong bytes twice in a row a moment ago.
    Quarantined,
    /// Too many wait for their turn already.
    TooMany,
}

/// A reader's hold on a fill: while one lives, the fill goes on.
#[derive(Debug)]
pub struct Lease(Arc<Fill>);

impl Lease {
    fn new(fill: &Arc<Fill>) -> Self {
        fill.readers.send_if_modified(|readers| {
            *readers += 1;
            // Nobody cares how many there are.
            *readers == 1
        });
        Self(Arc::clone(fill))
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Deref for Lease {
    type Target = Fill;

    fn deref(&self) -> &Fill {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.readers.send_if_modified(|readers| {
            *readers -= 1;
            *readers == 0
        });
    }
}

#[cfg(test)]
mod tests;
