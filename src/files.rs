//! Files that people and machines replace while the mirror runs: what tells one writing from the next. [`pem`] reads those
//! that TLS takes.
//!
//! Owns nothing, and knows no other module.

pub mod pem;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// How often a file is asked whether it has changed.
pub const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What tells one writing of a file from the next, as far as can be told without reading it. Links are followed: Kubernetes
/// changes what a directory's link points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// That of now; `None` where there is no such file, or it can't be looked at. Blocks.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}
