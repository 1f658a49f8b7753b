//! One process a cache directory.
//!
//! An advisory lock on a file in it (`flock`), which the kernel lets go of when its holder dies.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::error::{OpenError, StoreError};
use super::faults::Op;

/// How often a taken lock is tried again. The kernel offers no wait with an end.
const RETRY: Duration = Duration::from_millis(50);

/// The held lock; dropped, it is free.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

/// Takes the lock, waiting for up to `wait`: on a rolling restart the old process still drains.
/// Blocks.
pub(crate) fn acquire(disk: &Disk, wait: Duration) -> Result<DirLock, OpenError> {
    let path = disk.layout.lock();
    let unusable = |error| OpenError::unusable(disk.layout.root(), error);
    let file = disk.create(&path).map_err(unusable)?;
    let start = Instant::now();
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(DirLock { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => {}
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(unusable(StoreError::io(Op::Open, &path)(error)));
            }
        }
        let waited = start.elapsed();
        if waited >= wait {
            return Err(OpenError::InUse {
                dir: disk.layout.root().to_owned(),
                waited: wait,
            });
        }
        if !told {
            tracing::info!(
                dir = %disk.layout.root().display(),
                "the cache directory is in use; waiting for the other process to let go"
            );
            told = true;
        }
        thread::sleep(RETRY.min(wait.saturating_sub(waited)));
    }
}
