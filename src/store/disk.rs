//! Every file operation of the store outside the index, in one place: each names itself to the
//! fault seam, and each error names its file.
//!
//! No symbolic link is followed from a name in the directory: only files that are in it are ever read, or written. That its
//! directories are its own is seen to when it is opened; the directory itself may be a link, as systemd makes one.
//!
//! All of it blocks; callers are on the blocking pool.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::error::StoreError;
use super::faults::{Fault, Faults, Op};
use super::layout::Layout;
use crate::metrics::{self, StoreOp};

/// Files may hold private images: nobody else reads them.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;
/// What the mode of a directory gives to others than its owner and its group, and to its group's writing; to all others'
/// writing, and to all others but each one's own files in it. A group that may read sees names there, and no content.
const OTHERS: u32 = 0o027;
const WRITTEN_BY_ALL: u32 = 0o002;
const STICKY: u32 = 0o1000;
/// What one call takes: `IOV_MAX` of Linux.
const MOST_SLICES: usize = 1024;

/// The directory and the seam.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) layout: Layout,
    faults: Faults,
}

/// What `stat` says of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileInfo {
    pub(crate) size: u64,
    /// Bytes that its blocks take.
    pub(crate) on_disk: u64,
    /// Last change, in milliseconds since 1970.
    pub(crate) modified: u64,
}

type Result<T> = std::result::Result<T, StoreError>;

impl Disk {
    pub(crate) fn new(layout: Layout, faults: Faults) -> Self {
        Self { layout, faults }
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Runs one operation behind the seam; its error is named and counted.
    fn run<T>(&self, op: Op, path: &Path, work: impl FnOnce() -> io::Result<T>) -> Result<T> {
        self.faults
            .check(op, path)
            .and_then(|()| work())
            .map_err(|error| failed(op, path, error))
    }

    /// Like `run`, where a missing file is an answer.
    fn find<T>(
        &self,
        op: Op,
        path: &Path,
        work: impl FnOnce() -> io::Result<T>,
    ) -> Result<Option<T>> {
        match self.faults.check(op, path).and_then(|()| work()) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(op, path, error)),
        }
    }

    /// Makes the cache's directory and those above it, where it is missing.
    pub(crate) fn create_root(&self) -> Result<()> {
        let root = self.layout.root();
        if root.is_dir() {
            return Ok(());
        }
        self.run(Op::Create, root, || make_dirs(root))
    }

    /// Makes a directory in it and those above; `true` when it was not there. A link to a directory is none.
    pub(crate) fn create_dir(&self, path: &Path) -> Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => return Ok(false),
            Ok(_) => return Err(failed(Op::Create, path, taken())),
            Err(_) => {}
        }
        self.run(Op::Create, path, || make_dirs(path))?;
        Ok(true)
    }

    /// Takes the directory from all other users, where it was made by somebody who left it open to them, and from its
    /// group's writing. One that is shared on purpose, or not this user's to change, stays as it is: what is in it is made
    /// for this user alone.
    pub(crate) fn keep_others_out(&self) {
        let root = self.layout.root();
        let Ok(meta) = fs::metadata(root) else { return };
        let mode = meta.permissions().mode();
        if mode & OTHERS == 0 {
            return;
        }
        let is_shared = mode & STICKY != 0;
        let private = fs::Permissions::from_mode(mode & !OTHERS & 0o7777);
        if !is_shared && fs::set_permissions(root, private).is_ok() {
            let was = format!("{:04o}", mode & 0o7777);
            tracing::info!(dir = %root.display(), was, "the cache directory was open to other users; it is closed to them now");
        } else if mode & WRITTEN_BY_ALL != 0 {
            tracing::warn!(
                dir = %root.display(),
                "every user of this machine may write to the cache directory, and so decide what is served: make it a \
                 directory of this user's own, with mode 0700"
            );
        }
    }

    /// Opens a file for reading and writing, making it where it is missing.
    pub(crate) fn create(&self, path: &Path) -> Result<File> {
        self.run(Op::Create, path, || {
            own(OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(FILE_MODE))
            .open(path)
        })
    }

    /// Opens a file for reading; `None` where there is none.
    pub(crate) fn open(&self, path: &Path) -> Result<Option<File>> {
        self.find(Op::Open, path, || {
            let file = own(OpenOptions::new().read(true)).open(path)?;
            if file.metadata()?.is_file() {
                Ok(file)
            } else {
                Err(Errno::LOOP.into())
            }
        })
    }

    pub(crate) fn info(&self, path: &Path) -> Result<Option<FileInfo>> {
        self.find(Op::Stat, path, || {
            let meta = fs::symlink_metadata(path)?;
            let modified = meta
                .modified()?
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default();
            Ok(FileInfo {
                size: meta.len(),
                on_disk: meta.blocks() * 512,
                modified: u64::try_from(modified.as_millis()).unwrap_or(u64::MAX),
            })
        })
    }

    pub(crate) fn write_at(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> Result<()> {
        self.write_as(Op::Write, file, path, bytes, at)
    }

    /// Writes `parts` one behind the other, in as few calls as there may be.
    pub(crate) fn write_all_at(
        &self,
        file: &File,
        path: &Path,
        parts: &[Bytes],
        at: u64,
    ) -> Result<()> {
        match self.faults.ask(Op::Write, path) {
            None => write_full(file, parts, at),
            Some(fault) => {
                if let Fault::Torn(_) = fault {
                    let all: usize = parts.iter().map(Bytes::len).sum();
                    let half = &parts.concat()[..all / 2];
                    let _ = file.write_all_at(half, at);
                }
                Err(fault.error())
            }
        }
        .map_err(|error| failed(Op::Write, path, error))
    }

    /// Writes a partial file's sidecar.
    pub(crate) fn write_state(&self, file: &File, path: &Path, bytes: &[u8]) -> Result<()> {
        self.write_as(Op::State, file, path, bytes, 0)
    }

    fn write_as(&self, op: Op, file: &File, path: &Path, bytes: &[u8], at: u64) -> Result<()> {
        match self.faults.ask(op, path) {
            None => file.write_all_at(bytes, at),
            Some(fault) => {
                if let Fault::Torn(_) = fault {
                    let _ = file.write_all_at(&bytes[..bytes.len() / 2], at);
                }
                Err(fault.error())
            }
        }
        .map_err(|error| failed(op, path, error))
    }

    /// Reads until `buffer` is full or the file ends; returns how much came.
    pub(crate) fn read_at(
        &self,
        file: &File,
        path: &Path,
        buffer: &mut [u8],
        at: u64,
    ) -> Result<usize> {
        self.run(Op::Read, path, || read_full(file, buffer, at))
    }

    pub(crate) fn truncate(&self, file: &File, path: &Path, length: u64) -> Result<()> {
        self.run(Op::Truncate, path, || file.set_len(length))
    }

    /// Makes the file's data durable. A failure is final: the kernel may have dropped the pages,
    /// so a second call could succeed without them.
    pub(crate) fn sync(&self, file: &File, path: &Path) -> Result<()> {
        self.run(Op::Sync, path, || file.sync_data())
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.run(Op::Rename, to, || fs::rename(from, to))
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<()> {
        self.run(Op::SyncDir, path, || File::open(path)?.sync_all())
    }

    /// Removes a file; `false` where there was none.
    pub(crate) fn unlink(&self, path: &Path) -> Result<bool> {
        self.find(Op::Unlink, path, || fs::remove_file(path))
            .map(|done| done.is_some())
    }

    /// The names in a directory; none where it is missing. Names that are not text are given with
    /// replacement characters, so that they are seen and match nothing of ours.
    pub(crate) fn list(&self, path: &Path) -> Result<Vec<(String, PathBuf)>> {
        let names = self.find(Op::Stat, path, || {
            fs::read_dir(path)?
                .map(|entry| {
                    let entry = entry?;
                    Ok((
                        entry.file_name().to_string_lossy().into_owned(),
                        entry.path(),
                    ))
                })
                .collect()
        })?;
        Ok(names.unwrap_or_default())
    }

    /// Bytes that the file system would still give this user.
    pub(crate) fn free(&self) -> Result<u64> {
        let root = self.layout.root();
        self.run(Op::Stat, root, || {
            let stat = rustix::fs::statvfs(root)?;
            Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
        })
    }
}

fn make_dirs(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(path)
}

fn taken() -> io::Error {
    let what = "a link or a file is where a directory of the cache's own should be: remove that";
    io::Error::new(io::ErrorKind::NotADirectory, what)
}

/// No link is followed, and nothing that stands in a file's place, such as a pipe, is waited for.
fn own(options: &mut OpenOptions) -> &mut OpenOptions {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    options.custom_flags(flags.cast_signed())
}

/// Writes all of `parts`, one behind the other.
fn write_full(file: &File, parts: &[Bytes], mut at: u64) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut left = &mut slices[..];
    // Those that are empty go first: nothing would come of them.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let most = left.len().min(MOST_SLICES);
        match rustix::io::pwritev(file, &left[..most], at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                at += count as u64;
                IoSlice::advance_slices(&mut left, count);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Fills `buffer` from `at`, less only where the file ends.
pub(crate) fn read_full(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn failed(op: Op, path: &Path, error: io::Error) -> StoreError {
    metrics::store_fault(metric(op));
    StoreError::io(op, path)(error)
}

/// The label under which an operation's faults are counted.
pub(crate) fn metric(op: Op) -> StoreOp {
    match op {
        Op::Create | Op::Open | Op::Stat => StoreOp::Open,
        Op::Read => StoreOp::Read,
        Op::Write | Op::State | Op::Truncate => StoreOp::Write,
        Op::Sync | Op::SyncDir => StoreOp::Sync,
        Op::Rename => StoreOp::Rename,
        Op::Unlink => StoreOp::Unlink,
        Op::IndexRead | Op::IndexWrite | Op::IndexResize | Op::IndexSync => StoreOp::Index,
    }
}
