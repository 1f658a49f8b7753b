//! The one thread that writes the index.
//!
//! It takes what waits, up to a bound, applies it in one transaction with the pending touches, and
//! answers every caller when that is durable. It alone replaces the database after an error.

use std::io;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use redb::{Database, ReadableTableMetadata as _};
use tokio::sync::{mpsc, oneshot};

use super::change::{Change, Tables};
use super::tables::{BLOBS, Totals};
use super::{IndexError, IndexParts, Shared, Unsettled, open};
use crate::store::ledger::Charge;
use crate::sync::lock;

/// Largest group.
const GROUP: usize = 256;

/// How long a failed reopening keeps the next one away, at first; twice as long each time.
const REOPEN_PAUSE: RangeInclusive<Duration> = Duration::from_millis(250)..=Duration::from_secs(30);

/// What the writer thread is asked to do.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all jobs are changes, and few wait at a time"
)]
pub(super) enum Job {
    Change {
        change: Change,
        /// Becomes part of the committed sum when the change is durable.
        charge: Option<Charge>,
        done: oneshot::Sender<Result<(), Unsettled>>,
    },
    /// Write pending touches.
    Flush { done: oneshot::Sender<()> },
    /// A reader met an error in the database of this generation: see whether it still works.
    Inspect { generation: u64, damaged: bool },
    /// Write pending touches and close the file.
    Close { done: oneshot::Sender<()> },
}

pub(super) struct Writer {
    parts: IndexParts,
    shared: Arc<Shared>,
    /// When the database may be opened again, after how long a pause.
    reopen_after: Option<(Instant, Duration)>,
}

impl Writer {
    pub(super) fn start(
        parts: IndexParts,
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Job>,
    ) -> io::Result<()> {
        let writer = Self {
            parts,
            shared,
            reopen_after: None,
        };
        thread::Builder::new()
            .name("store-index".into())
            .spawn(move || writer.run(queue))?;
        Ok(())
    }

    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut closing = None;
        while closing.is_none() {
            let Some(first) = queue.blocking_recv() else {
                break;
            };
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(next) = queue.try_recv()
            {
                group.push(next);
            }
            closing = self.handle(group);
        }
        self.commit(&[]).ok();
        self.put_database(None);
        // Whoever waits in the queue is told that the index is gone.
        queue.close();
        while let Ok(job) = queue.try_recv() {
            refuse(vec![job], &IndexError::OutOfService);
        }
        let Self { parts, .. } = self;
        drop(parts);
        if let Some(done) = closing {
            let _ = done.send(());
        }
    }

    /// Does a group of jobs; returns whom to tell when the index is closed, if it is to be.
    fn handle(&mut self, group: Vec<Job>) -> Option<oneshot::Sender<()>> {
        let result = self.commit(&group);
        if let Err(error) = &result {
            self.recover(error);
        }
        match result {
            Ok(totals) => self.settle(totals, group),
            Err(error) => refuse(group, &error),
        }
    }

    /// Enters a durable group in the ledger, then tells its callers.
    fn settle(&mut self, totals: Totals, mut group: Vec<Job>) -> Option<oneshot::Sender<()>> {
        let charges = group.iter_mut().filter_map(|job| match job {
            Job::Change { charge, .. } => charge.take(),
            _ => None,
        });
        self.parts.ledger.settle(totals.bytes, charges);
        let mut closing = None;
        for job in group {
            match job {
                Job::Change { done, .. } => drop(done.send(Ok(()))),
                Job::Flush { done } => drop(done.send(())),
                Job::Inspect {
                    generation,
                    damaged,
                } => self.inspect(generation, damaged),
                Job::Close { done } => closing = Some(done),
            }
        }
        closing
    }

    /// Applies the changes of a group and the pending touches in one transaction.
    fn commit(&mut self, group: &[Job]) -> Result<Totals, IndexError> {
        self.ensure_open()?;
        let touches = self.parts.touches.take();
        let totals = *lock(&self.shared.totals);
        let changes = || {
            let asked = group.iter().filter_map(|job| match job {
                Job::Change { change, .. } => Some(change),
                _ => None,
            });
            touches.iter().chain(asked)
        };
        if changes().next().is_none() {
            return Ok(totals);
        }
        let database = self.shared.database.read();
        let database = database.unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(IndexError::OutOfService)?;
        let applied = catch_unwind(AssertUnwindSafe(|| {
            apply(database, changes(), totals, &self.parts)
        }))
        .unwrap_or_else(|_| Err(IndexError::Damaged("redb panicked on it".into())))?;
        *lock(&self.shared.totals) = applied;
        Ok(applied)
    }

    fn ensure_open(&mut self) -> Result<(), IndexError> {
        let is_open = {
            let database = self.shared.database.read();
            database.unwrap_or_else(PoisonError::into_inner).is_some()
        };
        if is_open {
            return Ok(());
        }
        match self.reopen_after {
            Some((after, _)) if Instant::now() < after => Err(IndexError::OutOfService),
            _ => self.reopen(),
        }
    }

    /// Opens the database anew, as after a crash; a damaged one is set aside.
    fn reopen(&mut self) -> Result<(), IndexError> {
        // The old one has to let go of the file first.
        self.put_database(None);
        match open::open(&self.parts.disk, &self.parts.ledger) {
            Ok(opened) => {
                self.reopen_after = None;
                *lock(&self.shared.totals) = opened.totals;
                if opened.fresh {
                    let charge = self.parts.ledger.orphan_committed();
                    self.parts.orphans.put_rest(charge);
                }
                self.parts.ledger.settle(opened.totals.bytes, []);
                self.put_database(Some(opened.database));
                if opened.fresh {
                    self.shared.rebuild.store(true, Ordering::Release);
                }
                self.shared.attention.notify_one();
                Ok(())
            }
            Err(error) => {
                let pause = self
                    .reopen_after
                    .map_or(Duration::ZERO, |(_, pause)| pause * 2);
                let pause = pause.clamp(*REOPEN_PAUSE.start(), *REOPEN_PAUSE.end());
                self.reopen_after = Some((Instant::now() + pause, pause));
                Err(error)
            }
        }
    }

    /// After a failed commit: redb takes no more from this handle.
    fn recover(&mut self, error: &IndexError) {
        if error.is_full() {
            // It may be the limit that refused: upkeep evicts.
            self.shared.attention.notify_one();
        }
        if matches!(error, IndexError::OutOfService) && self.reopen_after.is_some() {
            return;
        }
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "the cache's index failed; opening it again"
        );
        if let IndexError::Damaged(_) = error {
            self.put_database(None);
            self.set_aside();
        }
        if let Err(error) = self.reopen() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the cache's index stays out of service for now"
            );
        }
    }

    fn set_aside(&self) {
        if let Err(error) = open::set_aside(&self.parts.disk, &self.parts.ledger) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the cache's index could not be set aside"
            );
        }
    }

    /// A reader had trouble. Where the database works all the same, it was a row that made no
    /// sense, and the whole index is doubtful.
    fn inspect(&mut self, generation: u64, damaged: bool) {
        if self.shared.generation.load(Ordering::Acquire) != generation {
            return;
        }
        let works = self.shared.read(|txn| Ok(txn.open_table(BLOBS)?.len()?));
        match works {
            Err(error) => self.recover(&error),
            Ok(_) if damaged => {
                self.recover(&IndexError::Damaged("a row made no sense".into()));
            }
            Ok(_) => {}
        }
    }

    fn put_database(&self, database: Option<Database>) {
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
        let old = {
            let mut slot = self
                .shared
                .database
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *slot, database)
        };
        drop(old);
    }
}

/// Tells the callers of a failed group, and gives their charges back.
fn refuse(group: Vec<Job>, error: &IndexError) -> Option<oneshot::Sender<()>> {
    let mut closing = None;
    for job in group {
        match job {
            Job::Change { charge, done, .. } => {
                let error = error.clone();
                drop(done.send(Err(Unsettled { error, charge })));
            }
            Job::Flush { done } => drop(done.send(())),
            Job::Inspect { .. } => {}
            Job::Close { done } => closing = Some(done),
        }
    }
    closing
}

fn apply<'a>(
    database: &Database,
    changes: impl Iterator<Item = &'a Change>,
    totals: Totals,
    parts: &IndexParts,
) -> Result<Totals, IndexError> {
    let mut txn = database.begin_write()?;
    // A crash must not cost a walk over the whole index at the next start.
    txn.set_quick_repair(true);
    let mut tables = Tables::open(&txn, totals, parts.caps)?;
    for change in changes {
        tables.apply(change)?;
    }
    if let Some(totals) = tables.finish()? {
        txn.commit()?;
        return Ok(totals);
    }
    txn.abort()?;
    Ok(totals)
}
