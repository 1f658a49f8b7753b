//! How bytes come off the disk.
//!
//! First `preadv2` with `RWF_NOWAIT` into a small pooled buffer: what is in the page cache is
//! copied on the async thread. What is not is waited for on the blocking pool, of which readers
//! have a part of their own, so that a slow disk's readers and its writers do not starve one
//! another. There more is read than the small buffer takes, and let go at once: the page cache holds what
//! comes next, and not this process, for as long as its client may need to take what it has.
//!
//! File systems that refuse the flag (overlayfs, older tmpfs) have every read on the blocking pool,
//! and larger ones, since there is no telling what is in memory.

use std::io::{self, IoSliceMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::disk::read_full;
use super::faults::{Faults, Op};
use super::file::DiskFile;
use super::sync::lock;
use crate::metrics::{self, ReadPath, StoreOp, Tally};

/// A read of resident pages, which becomes one write to a socket: as large as fits into one segment with a head or the
/// frames of TLS around it, on loopback as where the card splits it. 64 KiB would leave a last part of a few bytes, which
/// costs as much as a whole one: at 60 KiB a core sends half as much again (`benches/README.md`).
pub(crate) const SMALL: usize = 60 << 10;
/// A read that waits for the disk.
const LARGE: usize = 256 << 10;
/// How many reads may wait for the disk at once.
const WAITING: usize = 32;
/// Idle buffers that are kept: 4 MiB of each kind.
const IDLE_BYTES: usize = 4 << 20;

/// The readers' side of the store.
pub(crate) struct Reads {
    faults: Faults,
    handle: Handle,
    /// Whether the file system has not refused `RWF_NOWAIT` yet.
    nowait: AtomicBool,
    permits: Arc<Semaphore>,
    small: Arc<Pool>,
    large: Arc<Pool>,
    from_memory: Tally,
    from_disk: Tally,
}

impl Reads {
    pub(crate) fn new(faults: Faults, handle: Handle) -> Arc<Self> {
        Arc::new(Self {
            faults,
            handle,
            nowait: AtomicBool::new(true),
            permits: Arc::new(Semaphore::new(WAITING)),
            small: Pool::new(SMALL),
            large: Pool::new(LARGE),
            from_memory: metrics::store_read(ReadPath::Resident),
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
        let read = rustix::io::preadv2(
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
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.nowait.store(false, Ordering::Relaxed);
                self.small.put(buffer);
                Ok(None)
            }
            Err(error) => {
                self.small.put(buffer);
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
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let may_be_resident = self.nowait.load(Ordering::Relaxed);
        let (small, large) = (Arc::clone(&self.small), Arc::clone(&self.large));
        let faults = self.faults.clone();
        let read = self.handle.spawn_blocking(move || {
            faults.check(Op::Read, file.path())?;
            let mut buffer = large.take();
            let wanted = max.min(buffer.len());
            let result = read_full(file.file(), &mut buffer[..wanted], position);
            drop(permit);
            match result {
                Ok(count) if may_be_resident => {
                    let mut first = small.take();
                    let count = count.min(first.len());
                    first[..count].copy_from_slice(&buffer[..count]);
                    large.put(buffer);
                    Ok(small.freeze(first, count))
                }
                Ok(count) => Ok(large.freeze(buffer, count)),
                Err(error) => {
                    large.put(buffer);
                    Err(error)
                }
            }
        });
        let bytes = read
            .await
            .map_err(io::Error::other)?
            .inspect_err(count_fault)?;
        self.from_disk.add(bytes.len());
        Ok(bytes)
    }

    /// Runs something that may block, some time. Where the runtime is shutting down it is dropped
    /// instead.
    pub(crate) fn later(&self, work: impl FnOnce() + Send + 'static) {
        drop(self.handle.spawn_blocking(work));
    }
}

fn count_fault(_: &io::Error) {
    metrics::store_fault(StoreOp::Read);
}

/// Buffers of one size, reused.
struct Pool {
    size: usize,
    idle: Mutex<Vec<Box<[u8]>>>,
}

impl Pool {
    fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            size,
            idle: Mutex::default(),
        })
    }

    fn take(&self) -> Box<[u8]> {
        let idle = lock(&self.idle).pop();
        idle.unwrap_or_else(|| vec![0; self.size].into_boxed_slice())
    }

    fn put(&self, buffer: Box<[u8]>) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_BYTES / self.size {
            idle.push(buffer);
        }
    }

    /// The first `length` bytes of a buffer, which comes back when the last handle is dropped.
    fn freeze(self: &Arc<Self>, buffer: Box<[u8]>, length: usize) -> Bytes {
        Bytes::from_owner(Lent {
            buffer,
            length,
            pool: Arc::clone(self),
        })
    }
}

struct Lent {
    buffer: Box<[u8]>,
    length: usize,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::oci::{Algorithm, Digest};

    #[test]
    fn a_buffer_comes_back_when_its_last_reader_drops_it() {
        let pool = Pool::new(8);
        let mut buffer = pool.take();
        buffer[..3].copy_from_slice(b"abc");
        let bytes = pool.freeze(buffer, 3);
        let copy = bytes.slice(1..);
        drop(bytes);
        assert!(lock(&pool.idle).is_empty());
        assert_eq!(&copy[..], b"bc");
        drop(copy);
        assert_eq!(lock(&pool.idle).len(), 1);
        assert_eq!(pool.take().len(), 8);
    }

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
