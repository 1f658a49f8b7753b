//! What can go wrong in the store, and what a caller can do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::faults::Op;
use super::index::IndexError;

/// A running store could not do what was asked. The cache is disposable: every variant means
/// "go on without the cache's help", never "fail the pull".
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The blob does not fit, even after eviction.
    #[error(
        "no room for {wanted} bytes: the cache's limit, or the free space it must leave, is reached and nothing can be evicted"
    )]
    NoRoom {
        /// What was to be reserved.
        wanted: u64,
    },
    /// The digest is being written by another writer.
    #[error("the blob is being written already")]
    Busy,
    /// The digest is stored already; read it instead.
    #[error("the blob is stored already")]
    AlreadyStored,
    /// A write reaches past the length that the writer was told.
    #[error("a write reaches byte {end} of a blob of {size} bytes")]
    BeyondSize {
        /// One past the last byte of the write.
        end: u64,
        /// The blob's length.
        size: u64,
    },
    /// The bytes are not those of the digest that they were to be stored under.
    #[error("the bytes do not match the digest")]
    WrongBytes,
    /// The disk refused.
    #[error("could not {op} {}", path.display())]
    Io {
        /// What was tried.
        op: Op,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The index refused.
    #[error("the cache's index failed")]
    Index(#[from] IndexError),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the disk or the cache is full: other blobs may still fit, and waiting may help.
    pub fn is_full(&self) -> bool {
        match self {
            Self::NoRoom { .. } => true,
            Self::Io { source, .. } => is_full(source),
            Self::Index(error) => error.is_full(),
            _ => false,
        }
    }

    /// Whether the disk cannot read back what it was given.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Io { op: Op::Open | Op::Read, source, .. } if is_damage(source))
    }

    pub(crate) fn io(op: Op, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { op, path, source }
    }
}

/// Whether the medium or the file system's own structure is at fault, or something else stands where the file was, rather
/// than a want of descriptors or memory: trying again would not help.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // File systems tell a wrong checksum as one of the middle two; a link is never followed.
    let lost = [Errno::IO, Errno::BADMSG, Errno::UCLEAN, Errno::LOOP];
    Errno::from_io_error(error).is_some_and(|errno| lost.contains(&errno))
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// The store could not be opened. Each message tells an operator what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be created or written.
    #[error(
        "the cache directory {} cannot be used: could not {op} {}: {source}; make it a directory that this user can write, or set cache.dir to another",
        dir.display(),
        path.display()
    )]
    Unusable {
        /// The cache's directory.
        dir: PathBuf,
        /// What was tried.
        op: Op,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process holds the directory.
    #[error(
        "the cache directory {} is in use by another forebay (waited {} s); stop that one, or set cache.dir to another directory",
        dir.display(),
        waited.as_secs()
    )]
    InUse {
        /// The cache's directory.
        dir: PathBuf,
        /// How long the lock was waited for.
        waited: Duration,
    },
    /// The directory was written by a version that this one does not know.
    #[error(
        "the cache directory {} has layout version {found:?}, and this forebay knows only {known:?}; run the version that wrote it, or set cache.dir to an empty directory",
        dir.display()
    )]
    UnknownVersion {
        /// The cache's directory.
        dir: PathBuf,
        /// What its `VERSION` file says.
        found: String,
        /// What it would have to say.
        known: &'static str,
    },
    /// The directory holds something else.
    #[error(
        "the directory {} holds {found:?}, which is not forebay's; set cache.dir to an empty directory",
        dir.display()
    )]
    NotACache {
        /// The directory.
        dir: PathBuf,
        /// A file in it that is not the cache's.
        found: String,
    },
    /// The limit leaves no room for any blob.
    #[error("cache.max_size is {limit} bytes; set it to at least {minimum}")]
    LimitTooSmall {
        /// The limit as set.
        limit: u64,
        /// The least that works.
        minimum: u64,
    },
    /// The index can be neither opened nor set aside.
    #[error(
        "the index of the cache directory {} cannot be opened: {source}; free disk space or file descriptors, or remove its index.redb (it will be rebuilt)",
        dir.display()
    )]
    Index {
        /// The cache's directory.
        dir: PathBuf,
        /// Why.
        source: IndexError,
    },
}

impl OpenError {
    pub(crate) fn unusable(dir: &Path, error: StoreError) -> Self {
        match error {
            StoreError::Io { op, path, source } => Self::Unusable {
                dir: dir.to_owned(),
                op,
                path,
                source,
            },
            other => Self::Unusable {
                dir: dir.to_owned(),
                op: Op::Open,
                path: dir.to_owned(),
                source: io::Error::other(other),
            },
        }
    }
}
