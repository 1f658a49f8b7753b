//! The seam through which tests break the disk.
//!
//! Every file operation of the store, those of the index included, asks here before it touches
//! the disk. `Faults::none()` is one comparison with a null pointer.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the store is about to do to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Create a directory or a file.
    Create,
    /// Open a file that should exist.
    Open,
    /// Read from a file.
    Read,
    /// Write to a partial file, or a small file of the store's own.
    Write,
    /// Record how much of a partial file is hashed.
    State,
    /// Cut a file to a length.
    Truncate,
    /// Make a file's data durable.
    Sync,
    /// Rename a file.
    Rename,
    /// Make a directory's entries durable.
    SyncDir,
    /// Remove a file.
    Unlink,
    /// List a directory, or ask for a file's or the file system's size.
    Stat,
    /// Read a page of the index.
    IndexRead,
    /// Write a page of the index.
    IndexWrite,
    /// Change the length of the index file.
    IndexResize,
    /// Make the index durable.
    IndexSync,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::State => "record the state of",
            Self::Truncate => "truncate",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::SyncDir => "sync directory",
            Self::Unlink => "remove",
            Self::Stat => "look at",
            Self::IndexRead => "read the index",
            Self::IndexWrite => "write the index",
            Self::IndexResize => "resize the index",
            Self::IndexSync => "sync the index",
        })
    }
}

/// How an operation is to fail.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The operation does nothing and returns this `errno`.
    Fail(i32),
    /// A write gets half-way, then returns this `errno`; any other operation does nothing.
    Torn(i32),
}

impl Fault {
    /// The error that the operation returns.
    pub fn error(self) -> io::Error {
        match self {
            Self::Fail(errno) | Self::Torn(errno) => io::Error::from_raw_os_error(errno),
        }
    }
}

type Hook = dyn Fn(Op, &Path) -> Option<Fault> + Send + Sync;

/// Decides which operations fail. Cloning shares the hook.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Hook>>);

impl Faults {
    /// Nothing fails.
    pub fn none() -> Self {
        Self(None)
    }

    /// `hook` is asked before each operation, possibly from several threads.
    pub fn hook(hook: impl Fn(Op, &Path) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    /// The `n`-th operation of a kind (counted from 1) fails; those before and after do not.
    pub fn nth(op: Op, n: u64, fault: Fault) -> Self {
        let seen = AtomicU64::new(0);
        Self::hook(move |asked, _| {
            (asked == op && seen.fetch_add(1, Ordering::Relaxed) + 1 == n).then_some(fault)
        })
    }

    /// From the `n`-th operation on (counted from 1) everything fails, as if the process had been
    /// killed there: what was done stays, nothing more reaches the disk.
    pub fn stop_at(n: u64, fault: Fault) -> Self {
        let seen = AtomicU64::new(0);
        Self::hook(move |_, _| match seen.fetch_add(1, Ordering::Relaxed) + 1 {
            now if now < n => None,
            now if now == n => Some(fault),
            _ => Some(Fault::Fail(5)),
        })
    }

    /// The fault for this operation, if it is to fail.
    pub(crate) fn ask(&self, op: Op, path: &Path) -> Option<Fault> {
        self.0.as_ref().and_then(|hook| hook(op, path))
    }

    /// `Err` where this operation is to fail.
    pub(crate) fn check(&self, op: Op, path: &Path) -> io::Result<()> {
        match self.ask(op, path) {
            None => Ok(()),
            Some(fault) => Err(fault.error()),
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Faults(hook)"
        } else {
            "Faults(none)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_nth_operation_of_the_kind_fails() {
        let faults = Faults::nth(Op::Sync, 2, Fault::Fail(28));
        let path = Path::new("x");
        assert!(faults.check(Op::Sync, path).is_ok());
        assert!(faults.check(Op::Write, path).is_ok());
        let error = faults.check(Op::Sync, path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(faults.check(Op::Sync, path).is_ok());
    }

    #[test]
    fn nothing_works_after_a_stop() {
        let faults = Faults::stop_at(2, Fault::Torn(5));
        let path = Path::new("x");
        assert!(faults.ask(Op::Write, path).is_none());
        assert!(matches!(faults.ask(Op::Write, path), Some(Fault::Torn(5))));
        assert!(matches!(faults.ask(Op::Unlink, path), Some(Fault::Fail(5))));
    }
}
