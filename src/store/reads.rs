//! How bytes come off the disk.
//!
//! For a socket that takes them from there, they stay where they are: what is in the page cache is lent as a [`Part`], and
//! what is not is brought there first.
//!
//! For all others: first `preadv2` with `RWF_NOWAIT` into a small pooled buffer: what is in the page cache is
//! copied on the async thread. What is not is waited for on the blocking pool, of which readers
//! have a part of their own, so that a slow disk's readers and its writers do not starve one
//! another. There more is read than the small buffer takes, and let go at once: the page cache holds what
//! comes next, and not this process, for as long as its client may need to take what it has.
//!
//! File systems that refuse the flag (overlayfs, older tmpfs) have every read on the blocking pool,
//! and larger ones, since there is no telling what is in memory; nothing of theirs is lent.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use rustix::fs::sendfile;
use rustix::io::{Errno, ReadWriteFlags, preadv2, retry_on_intr};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::buffers::Pool;
use super::disk::read_full;
use super::faults::{Faults, Op};
use super::file::DiskFile;
use super::inner::Inner;
use super::part::{Chunk, Part, Trail};
use crate::metrics::{self, ReadPath, StoreOp, Tally};

/// A read of resident pages, which becomes one write to a socket: as large as fits into one segment with a head or the
/// frames of TLS around it, on loopback as where the card splits it. 64 KiB would leave a last part of a few bytes, which
/// costs as much as a whole one: at 60 KiB a core sends half as much again (`benches/README.md`).
pub(crate) const SMALL: usize = 60 << 10;
/// A read that waits for the disk.
const LARGE: usize = 256 << 10;
/// How many reads may wait for the disk at once.
const WAITING: usize = 32;

/// The readers' side of the store.
pub(crate) struct Reads {
    faults: Faults,
    handle: Handle,
    /// Whether the file system has not refused `RWF_NOWAIT` yet.
    nowait: AtomicBool,
    /// Whether `sendfile` has not been refused yet.
    lends: AtomicBool,
    permits: Arc<Semaphore>,
    small: Arc<Pool>,
    large: Arc<Pool>,
    /// Takes everything and keeps nothing, where the system has that.
    nowhere: Option<Arc<File>>,
    from_memory: Tally,
    lent: Tally,
    from_disk: Tally,
}

impl Reads {
    pub(crate) fn new(faults: Faults, handle: Handle) -> Arc<Self> {
        let nowhere = OpenOptions::new().write(true).open("/dev/null");
        Arc::new(Self {
            faults,
            handle,
            nowait: AtomicBool::new(true),
            lends: AtomicBool::new(true),
            permits: Arc::new(Semaphore::new(WAITING)),
            small: Pool::new(SMALL),
            large: Pool::new(LARGE),
            nowhere: nowhere.ok().map(Arc::new),
            from_memory: metrics::store_read(ReadPath::Resident),
            lent: metrics::store_read(ReadPath::Sendfile),
            from_disk: metrics::store_read(ReadPath::Pool),
        })
    }

    /// Reads at most `max` bytes; empty only at the file's end or for a `max` of 0.
    pub(crate) async fn read_at(
        &self,
        file: &Arc<DiskFile>,
        position: u64,
        max: usize,
    ) -> io::Result<Bytes> {
        if max == 0 {
            return Ok(Bytes::new());
        }
        if self.nowait.load(Ordering::Relaxed)
            && let Some(bytes) = self.read_resident(file, position, max)?
        {
            return Ok(bytes);
        }
        self.read_waiting(Arc::clone(file), position, max).await
    }

    /// What is in the page cache; `None` when the disk has to be asked.
    fn read_resident(
        &self,
        file: &DiskFile,
        position: u64,
        max: usize,
    ) -> io::Result<Option<Bytes>> {
        self.faults
            .check(Op::Read, file.path())
            .inspect_err(count_fault)?;
        let mut buffer = self.small.take();
        let wanted = max.min(buffer.len());
        let read = preadv2(
            file.file(),
            &mut [IoSliceMut::new(&mut buffer[..wanted])],
            position,
            ReadWriteFlags::NOWAIT,
        );
        match read {
            // Some kernels answer 0 instead of EAGAIN, so an end of file is asked for again.
            Ok(0) | Err(Errno::AGAIN | Errno::INTR) => {
                self.small.put(buffer);
                Ok(None)
            }
            Ok(count) => {
                self.from_memory.add(count);
                Ok(Some(self.small.freeze(buffer, count)))
            }
            Err(error) => {
                self.small.put(buffer);
                if self.does_not_tell(error) {
                    return Ok(None);
                }
                Err(error.into()).inspect_err(count_fault)
            }
        }
    }

    async fn read_waiting(
        &self,
        file: Arc<DiskFile>,
        position: u64,
        max: usize,
    ) -> io::Result<Bytes> {
        let may_be_resident = self.nowait.load(Ordering::Relaxed);
        let (small, large) = (Arc::clone(&self.small), Arc::clone(&self.large));
        let read = self.wait_for(file, move |file| {
            let (buffer, count) = read_large(&large, file, position, max)?;
            if !may_be_resident {
                return Ok(large.freeze(buffer, count));
            }
            let mut first = small.take();
            let count = count.min(first.len());
            first[..count].copy_from_slice(&buffer[..count]);
            large.put(buffer);
            Ok(small.freeze(first, count))
        });
        let bytes = read.await?;
        self.from_disk.add(bytes.len());
        Ok(bytes)
    }

    /// Lends at most `max` bytes, of which the file has all, to who has a `trail`, for a socket to take from there. Where that
    /// can't be, reads them; so where they are less than a segment, for which it would take longer. Empty only at the file's
    /// end or for a `max` of 0.
    pub(crate) async fn lend_at(
        &self,
        file: &Arc<DiskFile>,
        store: &Weak<Inner>,
        trail: Option<&mut Trail>,
        position: u64,
        max: usize,
    ) -> io::Result<Chunk> {
        let lends = self.lends.load(Ordering::Relaxed) && self.nowait.load(Ordering::Relaxed);
        let trail = trail.filter(|_| max >= SMALL && lends && !file.is_kept_back());
        let Some(trail) = trail else {
            return self.read_at(file, position, max).await.map(Chunk::Bytes);
        };
        self.faults
            .check(Op::Read, file.path())
            .inspect_err(count_fault)?;
        let part = Part::of(file, store, position, max);
        if trail.finds(&part) {
            return Ok(Chunk::Part(part));
        }
        let count = self.fetch(Arc::clone(file), position, part.len()).await?;
        Ok(Chunk::Part(Part::of(file, store, position, count)))
    }

    /// Has bytes brought to the page cache, and says how many there are now.
    pub(super) async fn fetch(
        &self,
        file: Arc<DiskFile>,
        position: u64,
        max: usize,
    ) -> io::Result<usize> {
        let (large, nowhere) = (Arc::clone(&self.large), self.nowhere.clone());
        let read = self.wait_for(file, move |file| {
            let passed = nowhere.map(|nowhere| pass(file, position, max, &nowhere));
            if let Some(Ok(count)) = passed {
                return Ok(count);
            }
            // It tells what is wrong, where anything is.
            let (buffer, count) = read_large(&large, file, position, max)?;
            large.put(buffer);
            Ok(count)
        });
        let count = read.await?;
        self.from_disk.add(count);
        Ok(count)
    }

    /// Whether a byte is in memory.
    pub(super) fn has(&self, file: &DiskFile, position: u64) -> bool {
        let mut byte = [0];
        let mut to = [IoSliceMut::new(&mut byte)];
        let read = preadv2(file.file(), &mut to, position, ReadWriteFlags::NOWAIT);
        if let Err(refused) = read {
            self.does_not_tell(refused);
        }
        read == Ok(1)
    }

    /// So many bytes went to a socket without a copy.
    pub(super) fn sent(&self, count: usize) {
        self.lent.add(count);
    }

    /// `sendfile` was refused where a copy was sent: it is not asked for again, if it is the file system that has no such
    /// call, or what this process is shut in.
    pub(super) fn refused(&self, refused: Errno) {
        let has_none = is_refusal(refused) || refused == Errno::PERM;
        if has_none && self.lends.swap(false, Ordering::Relaxed) {
            tracing::info!(error = %refused, "sendfile is refused: blobs are copied on their way to clients");
        }
    }

    /// The file system was asked what is in memory, and may not tell.
    fn does_not_tell(&self, refused: Errno) -> bool {
        let does_not = is_refusal(refused);
        if does_not && self.nowait.swap(false, Ordering::Relaxed) {
            tracing::info!(error = %refused, "the cache's file system does not tell what is in memory: all reads wait for the disk");
        }
        does_not
    }

    /// Reads at least one byte and at most a small buffer of them, wherever they are. Blocks.
    pub(super) fn read_now(&self, file: &DiskFile, position: u64, max: usize) -> io::Result<Bytes> {
        let mut buffer = self.small.take();
        let wanted = max.min(buffer.len());
        let read = self.faults.check(Op::Read, file.path());
        let read = read.and_then(|()| read_full(file.file(), &mut buffer[..wanted], position));
        match read {
            Ok(count) if count > 0 => Ok(self.small.freeze(buffer, count)),
            ended => {
                self.small.put(buffer);
                let error = ended.err();
                Err(error.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
                    .inspect_err(count_fault)
            }
        }
    }

    /// Waits for the disk on the blocking pool.
    async fn wait_for<T: Send + 'static>(
        &self,
        file: Arc<DiskFile>,
        read: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let faults = self.faults.clone();
        let read = self.handle.spawn_blocking(move || {
            let _permit = permit;
            faults.check(Op::Read, file.path())?;
            read(file.file())
        });
        read.await
            .map_err(io::Error::other)?
            .inspect_err(count_fault)
    }

    /// Runs something that may block, some time. Where the runtime is shutting down it is dropped
    /// instead.
    pub(crate) fn later(&self, work: impl FnOnce() + Send + 'static) {
        drop(self.handle.spawn_blocking(work));
    }
}

/// As much as a large buffer takes, or less where the file ends.
fn read_large(
    large: &Pool,
    file: &File,
    position: u64,
    max: usize,
) -> io::Result<(Box<[u8]>, usize)> {
    let mut buffer = large.take();
    let wanted = max.min(buffer.len());
    match read_full(file, &mut buffer[..wanted], position) {
        Ok(count) => Ok((buffer, count)),
        Err(error) => {
            large.put(buffer);
            Err(error)
        }
    }
}

/// Sends bytes where nothing is kept, which has them brought to the page cache and copied nowhere.
fn pass(file: &File, mut at: u64, max: usize, nowhere: &File) -> rustix::io::Result<usize> {
    let mut passed = 0;
    while passed < max {
        match retry_on_intr(|| sendfile(nowhere, file, Some(&mut at), max - passed))? {
            0 => break,
            count => passed += count,
        }
    }
    Ok(passed)
}

/// Whether there is no such call, or not for this file.
fn is_refusal(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)
}

fn count_fault(_: &io::Error) {
    metrics::store_fault(StoreOp::Read);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Algorithm, Digest};

    #[tokio::test]
    async fn bytes_are_the_same_with_and_without_nowait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let body: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        std::fs::write(&path, &body).unwrap();
        let digest = Digest::of(Algorithm::Sha256, &body);
        for nowait in [true, false] {
            let reads = Reads::new(Faults::none(), Handle::current());
            let file = File::open(&path).unwrap();
            let file = DiskFile::new(file, path.clone(), digest, &reads, &Arc::default());
            reads.nowait.store(nowait, Ordering::Relaxed);
            let mut got = Vec::new();
            loop {
                let max = 70_000.min(body.len() - got.len() + 5);
                let bytes = file.read_at(got.len() as u64, max).await.unwrap();
                if bytes.is_empty() {
                    break;
                }
                assert!(bytes.len() <= max);
                got.extend_from_slice(&bytes);
            }
            assert!(got == body);
        }
    }
}
