//! What the store is opened with.

use std::path::PathBuf;
use std::time::Duration;

use super::clock::Clock;
use super::faults::Faults;

/// The store's settings; the defaults are for everything but the directory and the limit.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cache's directory; made where it is missing.
    pub dir: PathBuf,
    /// Bytes that the cache may take on disk, everything included; at least [`MIN_LIMIT`].
    pub max_size: u64,
    /// Bytes of the file system that the cache leaves free.
    pub min_free: u64,
    /// Files that are kept open between requests.
    pub open_files: usize,
    /// How long another process's lock is waited for.
    pub lock_wait: Duration,
    /// How long a partial file that nobody goes on with is kept.
    pub partial_age: Duration,
    /// The seam for disk faults.
    pub faults: Faults,
    /// The clock that orders uses.
    pub clock: Clock,
}

/// The smallest limit that leaves room for anything beside the index.
pub const MIN_LIMIT: u64 = 8 << 20;

impl Settings {
    /// Settings for a directory and a limit.
    pub fn new(dir: impl Into<PathBuf>, max_size: u64) -> Self {
        Self {
            dir: dir.into(),
            max_size,
            min_free: 0,
            open_files: 1024,
            lock_wait: Duration::from_secs(30),
            partial_age: Duration::from_hours(7 * 24),
            faults: Faults::none(),
            clock: Clock::system(),
        }
    }
}
