//! The record of every request, kept while it runs and after.
//!
//! Owns the list of records. Whoever waits for something to happen is woken by
//! each change; nothing polls.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use tokio::sync::watch;

use super::request::{Kind, Outcome, Request};

/// Records kept; of older ones only the counts remain.
const KEPT: usize = 100_000;

/// Sums over requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Requests that arrived.
    pub requests: u64,
    /// Those answered with a status below 400.
    pub ok: u64,
    /// Bytes of body that sockets have taken.
    pub body_bytes: u64,
}

impl Tally {
    fn add(&mut self, request: &Request) {
        self.requests += 1;
        self.ok += u64::from(request.is_ok());
        self.body_bytes += request.body_bytes;
    }
}

/// A [`Tally`] for each kind of request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts(BTreeMap<Kind, Tally>);

impl Counts {
    /// The sums for one kind.
    pub fn of(&self, kind: Kind) -> Tally {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// How many requests of one kind arrived.
    pub fn requests(&self, kind: Kind) -> u64 {
        self.of(kind).requests
    }

    /// How many requests arrived.
    pub fn total(&self) -> u64 {
        self.0.values().map(|tally| tally.requests).sum()
    }

    /// How many bytes of body sockets have taken.
    pub fn body_bytes(&self) -> u64 {
        self.0.values().map(|tally| tally.body_bytes).sum()
    }

    fn add(&mut self, request: &Request) {
        self.0.entry(request.kind).or_default().add(request);
    }
}

/// All records.
#[derive(Debug)]
pub(crate) struct Log {
    records: Mutex<Records>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Records {
    next: u64,
    kept: VecDeque<Arc<Mutex<Request>>>,
    forgotten: Counts,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            records: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Log {
    /// Records a request that has arrived; its number is given here.
    pub(crate) fn arrived(self: &Arc<Self>, mut request: Request) -> Ticket {
        let record = {
            let mut records = self.lock();
            request.number = records.next;
            records.next += 1;
            let record = Arc::new(Mutex::new(request));
            records.kept.push_back(Arc::clone(&record));
            if records.kept.len() > KEPT
                && let Some(oldest) = records.kept.pop_front()
            {
                let oldest = read(&oldest);
                records.forgotten.add(&oldest);
            }
            record
        };
        self.changed.send_replace(());
        Ticket {
            log: Arc::clone(self),
            record,
        }
    }

    /// Forgets everything. Requests that still run are not recorded further.
    pub(crate) fn reset(&self) {
        let mut records = self.lock();
        records.kept.clear();
        records.forgotten = Counts::default();
    }

    pub(crate) fn snapshot(&self) -> Vec<Request> {
        self.lock().kept.iter().map(read).collect()
    }

    /// Adds something up over all requests.
    pub(crate) fn sum(&self, of: impl Fn(&Request) -> u64) -> u64 {
        let records = self.lock();
        let each =
            |record: &Arc<Mutex<Request>>| of(&record.lock().expect("nobody panics with the lock"));
        records.kept.iter().map(each).sum()
    }

    pub(crate) fn counts(&self) -> Counts {
        let records = self.lock();
        let mut counts = records.forgotten.clone();
        for record in &records.kept {
            counts.add(&record.lock().expect("nobody panics with the lock"));
        }
        counts
    }

    /// Is told of each change from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Records> {
        self.records.lock().expect("nobody panics with the lock")
    }
}

fn read(record: &Arc<Mutex<Request>>) -> Request {
    record.lock().expect("nobody panics with the lock").clone()
}

/// The right to write one request's record. Dropped before the end, the request
/// counts as [`Outcome::Gone`].
#[derive(Debug)]
pub(crate) struct Ticket {
    log: Arc<Log>,
    record: Arc<Mutex<Request>>,
}

impl Ticket {
    /// The head is about to go out.
    pub(crate) fn answered(&self, status: u16, span: Option<Range<u64>>) {
        self.change(|request| {
            request.status = Some(status);
            request.span = span;
        });
    }

    /// Offers body to the socket and adds up what it took. Whoever reads the
    /// record waits for that, so no client has a byte that is not counted.
    pub(crate) fn sending(&self, write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        let mut result = Ok(0);
        self.change(|request| {
            result = write();
            request.body_bytes += *result.as_ref().unwrap_or(&0) as u64;
        });
        result
    }

    pub(crate) fn ended(&self, outcome: Outcome) {
        self.change(|request| request.outcome = outcome);
    }

    fn change(&self, change: impl FnOnce(&mut Request)) {
        change(&mut self.record.lock().expect("nobody panics with the lock"));
        self.log.changed.send_replace(());
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.change(|request| {
            if request.outcome == Outcome::Running {
                request.outcome = Outcome::Gone;
            }
        });
    }
}

/// How many positions lie in more than one of `ranges`, each time after the
/// first counted.
pub(crate) fn repeated(ranges: &[Range<u64>]) -> u64 {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| !range.is_empty()).collect();
    sorted.sort_by_key(|range| range.start);
    let mut covered = 0;
    let mut repeated = 0;
    for range in sorted {
        repeated += covered.min(range.end).saturating_sub(range.start);
        covered = covered.max(range.end);
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_counts_each_position_beyond_its_first_time() {
        assert_eq!(repeated(&[0..10, 10..20]), 0);
        assert_eq!(repeated(&[10..20, 0..10]), 0);
        assert_eq!(repeated(&[0..10, 5..20, 20..20]), 5);
        assert_eq!(repeated(&[0..10, 0..10, 0..10]), 20);
        assert_eq!(repeated(&[0..100, 20..30, 25..35]), 20);
    }
}
