//! The index: what is stored, when it was last used, who may read it, and what tags mean.
//!
//! redb behind one writer thread, which groups the changes that wait into one transaction, and
//! readers on the blocking pool. After an I/O error redb refuses everything until it is opened
//! anew: the writer thread does that, and sets a damaged file aside, while callers get errors and
//! the mirror goes on without the cache.

mod catalog;
mod change;
mod error;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod lists;
mod open;
mod quotas;
mod read;
mod seed;
mod tables;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use redb::{Database, ReadTransaction, ReadableDatabase as _};
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use change::{Caps, Change};
pub use error::IndexError;
pub use lists::ListRecord;
pub(crate) use lists::list_key;
pub(crate) use open::broken_indexes;
pub use read::Visibility;
pub(crate) use read::{Blobs, Place, Shard};
pub(in crate::store) use seed::seed;
pub use tables::TagRecord;
pub(crate) use tables::{BlobRow, Totals};

use super::disk::Disk;
use super::ledger::{Charge, Ledger};
use super::lock::DirLock;
use super::orphans::Orphans;
use super::sync::lock;
use super::touches::Touches;
use writer::{Job, Writer};

/// How many changes may wait for the writer thread.
const QUEUE: usize = 1024;

/// The open index. Cloning shares it; the writer thread ends with the last clone.
#[derive(Clone)]
pub(crate) struct Index {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    caps: Caps,
}

/// What the writer thread and the readers share.
pub(super) struct Shared {
    /// `None` while the index is out of service.
    database: RwLock<Option<Database>>,
    /// Counts the databases that stood there.
    generation: AtomicU64,
    totals: Mutex<Totals>,
    /// Set when the index was started empty: the sweep has to find the blobs again.
    rebuild: AtomicBool,
    /// Wakes the store's upkeep: the index was replaced, or wants room.
    attention: Arc<Notify>,
}

/// What the index needs to start.
pub(crate) struct IndexParts {
    pub(crate) disk: Disk,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) touches: Arc<Touches>,
    pub(crate) orphans: Arc<Orphans>,
    pub(crate) caps: Caps,
    pub(crate) attention: Arc<Notify>,
    /// Held by the writer thread to its end, so that nobody else opens a directory whose index is
    /// still being closed.
    pub(crate) _lock: Arc<DirLock>,
}

/// A change that failed, with the charge that it was to settle.
#[derive(Debug)]
pub(crate) struct Unsettled {
    pub(crate) error: IndexError,
    pub(crate) charge: Option<Charge>,
}

impl Index {
    /// Opens the index and starts its writer thread. Blocks.
    pub(crate) fn open(parts: IndexParts) -> Result<Self, IndexError> {
        let opened = open::open(&parts.disk, &parts.ledger)?;
        parts.ledger.settle(opened.totals.bytes, []);
        let shared = Arc::new(Shared {
            database: RwLock::new(Some(opened.database)),
            generation: AtomicU64::new(0),
            totals: Mutex::new(opened.totals),
            rebuild: AtomicBool::new(opened.fresh),
            attention: Arc::clone(&parts.attention),
        });
        let caps = parts.caps;
        let (jobs, queue) = mpsc::channel(QUEUE);
        Writer::start(parts, Arc::clone(&shared), queue)
            .map_err(|e| IndexError::Io(Arc::new(e)))?;
        Ok(Self { jobs, shared, caps })
    }

    /// Applies a change; returns when it is durable, with its charge settled in the ledger.
    pub(crate) async fn change(
        &self,
        change: Change,
        settles: Option<Charge>,
    ) -> Result<(), Unsettled> {
        let (done, answer) = oneshot::channel();
        let job = Job::Change {
            change,
            charge: settles,
            done,
        };
        if let Err(mpsc::error::SendError(Job::Change { charge, .. })) = self.jobs.send(job).await {
            return Err(Unsettled {
                error: IndexError::OutOfService,
                charge,
            });
        }
        answer.await.unwrap_or(Err(Unsettled {
            error: IndexError::OutOfService,
            charge: None,
        }))
    }

    /// Writes pending touches; returns when that was tried.
    pub(crate) async fn flush(&self) {
        let (done, answer) = oneshot::channel();
        if self.jobs.send(Job::Flush { done }).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// Writes what is pending and closes the file; everything after that fails.
    pub(crate) async fn close(&self) {
        let (done, answer) = oneshot::channel();
        if self.jobs.send(Job::Close { done }).await.is_ok() {
            let _ = answer.await;
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        *lock(&self.shared.totals)
    }

    /// Whether no more links are recorded.
    pub(crate) fn is_full_of_links(&self) -> bool {
        self.totals().links >= self.caps.links
    }

    /// Whether the index can be asked now.
    pub(crate) fn in_service(&self) -> bool {
        self.shared
            .database
            .try_read()
            .is_ok_and(|database| database.is_some())
    }

    /// Whether the index was started empty since this was last asked.
    pub(crate) fn take_rebuild(&self) -> bool {
        self.shared.rebuild.swap(false, Ordering::AcqRel)
    }

    /// Whether the index was started empty and the sweep has not heard of it.
    pub(crate) fn wants_rebuild(&self) -> bool {
        self.shared.rebuild.load(Ordering::Acquire)
    }

    /// Runs a query. Blocks.
    fn read<T>(
        &self,
        query: impl FnOnce(&ReadTransaction) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        let result = catch_unwind(AssertUnwindSafe(|| self.shared.read(query)))
            .unwrap_or_else(|_| Err(IndexError::Damaged("redb panicked on it".into())));
        if let Err(error) = &result {
            let damaged = matches!(error, IndexError::Damaged(_));
            // Only the writer thread may replace the database; if its queue is full it is about
            // to meet the trouble itself.
            let _ = self.jobs.try_send(Job::Inspect {
                generation,
                damaged,
            });
        }
        result
    }
}

impl Shared {
    fn read<T>(
        &self,
        query: impl FnOnce(&ReadTransaction) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let database = self
            .database
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let database = database.as_ref().ok_or(IndexError::OutOfService)?;
        query(&database.begin_read()?)
    }
}
