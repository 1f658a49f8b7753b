//! One fetch of one blob from upstream into the cache, read by any number of clients while it runs.
//!
//! - [`plan`]: which bytes to ask for next. Pure.
//! - [`ramp`]: over how many connections. Pure.
//! - [`sources`]: whom to ask.
//! - [`table`]: the running fills, and who joins one.
//! - [`task`]: a fill's life, in a task that belongs to no client.
//! - [`driver`]: which connections run, and what becomes of their reports.
//! - [`ingest`]: what has come, on its way to the disk.
//! - [`fetch`]: one connection of a driver.
//! - [`settle`]: what a driver leaves behind.
//! - [`reader`]: a client's view of a fill.
//! - [`solo`]: a client on its own, where the disk can't help.
//!
//! A fill publishes what it has through one `watch` cell. A dropped sender reads as failed.

pub mod driver;
pub mod fetch;
pub mod ingest;
pub mod plan;
pub mod ramp;
pub mod reader;
pub mod settle;
pub mod solo;
pub mod sources;
pub mod table;
pub mod task;

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::{Notify, watch};

use crate::mirror::error::MirrorError;
use crate::mirror::rights::Provisional;
use crate::oci::{Digest, Verifier};
use crate::store::{Extents, PartialFile};
use crate::sync::lock;

use plan::MOST_WANTED;
use sources::Sources;

/// As far as a fill has come.
#[derive(Debug, Clone)]
pub enum Progress {
    /// No upstream has answered yet, or none has told the size.
    Connecting,
    /// Bytes are arriving.
    Growing {
        /// The ranges that are on disk.
        extents: Arc<Extents>,
        /// The frontier: the length of the contiguous, hashed prefix in bytes.
        hashed: u64,
        /// The size of the blob in bytes.
        total: u64,
    },
    /// All bytes are on disk and match the digest.
    Verified {
        /// The size of the blob in bytes.
        size: u64,
    },
    /// The disk failed or has no room; each reader goes on by itself.
    Detached(Arc<Detached>),
    /// It ended without the blob.
    Failed(Failure),
}

/// What a fill leaves to its readers when the disk fails it.
#[derive(Debug)]
pub struct Detached {
    /// The frontier: so many bytes can still be read from the file.
    pub hashed: u64,
    /// The state of the hash at the frontier.
    pub verifier: Verifier,
    /// The size of the blob in bytes, where it is known.
    pub total: Option<u64>,
}

/// Why a fill ended without the blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The bytes don't match the digest.
    Mismatch,
    /// No source could give it.
    Sources(MirrorError),
    /// It was paused because nobody read it, or the mirror is stopping. What has come is kept.
    Paused,
    /// The store has the blob already.
    Stored,
    /// The driver went away.
    Abandoned,
}

/// A fill as its driver and its readers share it.
#[derive(Debug)]
pub struct Fill {
    digest: Digest,
    /// Which try at this digest it is: 0, or 1 when it starts over after a mismatch.
    attempt: u32,
    sources: Sources,
    progress: watch::Sender<Progress>,
    /// Set before the first [`Progress::Growing`] is published.
    file: OnceLock<Arc<PartialFile>>,
    readers: watch::Sender<usize>,
    wanted: Mutex<Vec<Range<u64>>>,
    /// What its sources' answers say about rights, until the digest proves them or the fill ends without the blob.
    learned: Mutex<Vec<Provisional>>,
    /// Wakes the driver: a range is wanted.
    nudge: Notify,
}

impl Fill {
    fn new(digest: Digest, attempt: u32, sources: Sources) -> Self {
        Self {
            digest,
            attempt,
            sources,
            progress: watch::Sender::new(Progress::Connecting),
            file: OnceLock::new(),
            readers: watch::Sender::new(0),
            wanted: Mutex::default(),
            learned: Mutex::default(),
            nudge: Notify::new(),
        }
    }

    /// The blob's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Where it may ask.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// How far it has come, and every change of it.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Tells the driver that a client waits for `range`.
    fn want(&self, range: Range<u64>) {
        let mut wanted = lock(&self.wanted);
        // Beyond the bound a range is served all the same, when the frontier gets there.
        if wanted.len() < MOST_WANTED {
            wanted.push(range);
        }
        drop(wanted);
        self.nudge.notify_one();
    }

    /// The same while the size is not known, so that the first request can suit it; once it is, its reader says so.
    fn want_early(&self, range: Option<Range<u64>>) {
        let connecting = matches!(*self.progress.borrow(), Progress::Connecting);
        if let Some(range) = range.filter(|_| connecting) {
            self.want(range);
        }
    }

    fn learn(&self, fact: Provisional) {
        lock(&self.learned).push(fact);
    }

    fn take_learned(&self) -> Vec<Provisional> {
        std::mem::take(&mut *lock(&self.learned))
    }

    fn take_wanted(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut *lock(&self.wanted))
    }
}
