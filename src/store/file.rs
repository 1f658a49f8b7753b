//! Open files: one descriptor a blob, shared by all its readers, from the first byte of its fill
//! until the last reader has gone, whatever becomes of its name meanwhile.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::error::is_damage;
use super::inner::Inner;
use super::ledger::Charge;
use super::live::Live;
use super::part::{Chunk, Trail};
use super::reads::{Reads, SMALL};
use super::sync::lock;
use crate::oci::Digest;

/// An open file of a blob, complete or growing.
pub(crate) struct DiskFile {
    /// `Some` until it is dropped.
    file: Option<File>,
    /// What it was called when it was opened, for errors and the fault seam.
    path: PathBuf,
    digest: Digest,
    reads: Arc<Reads>,
    live: Arc<Live>,
    /// The bytes of a file that was removed while open: charged until the last reader closes it.
    held: Mutex<Option<Charge>>,
    /// How far a writer had hashed it when it stopped: its readers may count on that much.
    promised: AtomicU64,
    /// So far its bytes outlive this process, and are cut off by none that comes after it.
    kept: AtomicU64,
    /// A part of it could not be sent.
    is_kept_back: AtomicBool,
}

impl DiskFile {
    pub(crate) fn new(
        file: File,
        path: PathBuf,
        digest: Digest,
        reads: &Arc<Reads>,
        live: &Arc<Live>,
    ) -> Arc<Self> {
        // When a blob was used last is in the index. The system counts it for each read, where it may.
        if let Ok(flags) = fcntl_getfl(&file) {
            let _ = fcntl_setfl(&file, flags | OFlags::NOATIME);
        }
        Arc::new(Self {
            file: Some(file),
            path,
            digest,
            reads: Arc::clone(reads),
            live: Arc::clone(live),
            held: Mutex::new(None),
            promised: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            is_kept_back: AtomicBool::new(false),
        })
    }

    pub(crate) fn file(&self) -> &File {
        self.file.as_ref().expect("a file is open until its drop")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn reads(&self) -> &Arc<Reads> {
        &self.reads
    }

    /// The first `hashed` bytes stay as they are for as long as the file is open.
    pub(crate) fn promise(&self, hashed: u64) {
        self.promised.fetch_max(hashed, Ordering::Relaxed);
    }

    /// What was promised.
    pub(crate) fn promised(&self) -> u64 {
        self.promised.load(Ordering::Relaxed)
    }

    /// What a start finds recorded, or the whole of what is verified.
    pub(crate) fn keep(&self, length: u64) {
        self.kept.store(length, Ordering::Relaxed);
    }

    /// Parts of it are lent no more, so that readers find out what is wrong with it while they can go elsewhere.
    pub(crate) fn keep_back(&self) {
        self.is_kept_back.store(true, Ordering::Relaxed);
    }

    /// Whether no parts of it are lent.
    pub(crate) fn is_kept_back(&self) -> bool {
        self.is_kept_back.load(Ordering::Relaxed)
    }

    /// The file has no name any more; its bytes are free when this is dropped.
    pub(crate) fn hold(&self, charge: Charge) {
        *lock(&self.held) = Some(charge);
    }

    /// Whether the file has no name any more.
    pub(crate) fn is_removed(&self) -> bool {
        lock(&self.held).is_some()
    }

    pub(crate) async fn read_at(self: &Arc<Self>, position: u64, max: usize) -> io::Result<Bytes> {
        self.reads.read_at(self, position, max).await
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        self.live.closed(&self.digest);
        if let Some(charge) = lock(&self.held).take() {
            // Closing the last descriptor of a removed file frees its blocks, which takes time.
            let file = self.file.take();
            self.reads.later(move || {
                drop(file);
                drop(charge);
            });
        }
    }
}

/// A stored blob, open for reading.
pub struct BlobFile {
    disk: Arc<DiskFile>,
    size: u64,
    /// The last use that was recorded, by the clock that never steps.
    recorded_use: AtomicU64,
    /// Whom to tell that the disk does not give it back.
    store: Weak<Inner>,
}

impl BlobFile {
    pub(crate) fn new(
        disk: Arc<DiskFile>,
        size: u64,
        recorded_use: u64,
        store: Weak<Inner>,
    ) -> Arc<Self> {
        Arc::new(Self {
            disk,
            size,
            recorded_use: AtomicU64::new(recorded_use),
            store,
        })
    }

    /// The blob's digest.
    pub fn digest(&self) -> Digest {
        self.disk.digest
    }

    /// The blob's length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads at most `max` bytes from `position`: what is in the page cache at once, anything else on
    /// the blocking pool; at most 60 KiB, and 256 KiB where the file system does not tell the one from
    /// the other. With a `trail` it is for a socket that takes a part from the file itself where it may, of 240 KiB at most.
    /// Empty only at the end, or for a `max` of 0.
    ///
    /// A blob that the disk does not give back is dropped from the cache, so that its next fill can
    /// mend it; one that could not be read for want of descriptors or memory stays.
    pub async fn lend_at(
        &self,
        trail: Option<&mut Trail>,
        position: u64,
        max: usize,
    ) -> io::Result<Chunk> {
        let (reads, wanted) = (&self.disk.reads, max.min(left(self.size, position)));
        let chunk = reads.lend_at(&self.disk, &self.store, trail, position, wanted);
        let result = chunk.await;
        let is_lost = match &result {
            Ok(chunk) => chunk.is_empty() && wanted > 0,
            Err(error) => is_damage(error),
        };
        if is_lost && let Some(store) = self.store.upgrade() {
            store.drop_unreadable(self.disk.digest);
        }
        result
    }

    /// Reads for who has no socket.
    #[cfg(test)]
    pub(crate) async fn read_at(&self, position: u64, max: usize) -> io::Result<Bytes> {
        match self.lend_at(None, position, max).await? {
            Chunk::Bytes(bytes) => Ok(bytes),
            Chunk::Part(part) => panic!("{part:?} was lent to nobody"),
        }
    }

    pub(crate) fn disk(&self) -> &DiskFile {
        &self.disk
    }

    /// Notes a use; `true` when it is due to be recorded.
    pub(crate) fn touch(&self, now: u64, granule: u64) -> bool {
        let last = self.recorded_use.load(Ordering::Relaxed);
        now.saturating_sub(last) >= granule
            && self
                .recorded_use
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl fmt::Debug for BlobFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobFile")
            .field("digest", &self.disk.digest)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// A blob that is being written, open for reading. It stays readable after its commit, and after
/// its removal.
pub struct PartialFile {
    disk: Arc<DiskFile>,
}

impl PartialFile {
    pub(crate) fn new(disk: Arc<DiskFile>) -> Arc<Self> {
        Arc::new(Self { disk })
    }

    /// The blob's digest.
    pub fn digest(&self) -> Digest {
        self.disk.digest
    }

    /// Like [`BlobFile::lend_at`] without a trail. The caller keeps to ranges that the writer said are written.
    pub async fn read_at(&self, position: u64, max: usize) -> io::Result<Bytes> {
        self.disk.read_at(position, max).await
    }

    /// Like [`BlobFile::lend_at`]. The caller keeps to ranges that the writer said are written, and with a `trail` to what it
    /// said is hashed: nothing else stays as it is for as long as a part is on its way.
    ///
    /// What is not recorded as hashed yet is copied. After a crash the next process would cut it off, while the kernel still
    /// sends it to a client of this one.
    pub async fn lend_at(
        &self,
        trail: Option<&mut Trail>,
        position: u64,
        max: usize,
    ) -> io::Result<Chunk> {
        let kept = left(self.disk.kept.load(Ordering::Relaxed), position);
        if trail.is_none() || kept < SMALL {
            return self.read_at(position, max).await.map(Chunk::Bytes);
        }
        let (reads, nobody) = (&self.disk.reads, Weak::new());
        reads
            .lend_at(&self.disk, &nobody, trail, position, max.min(kept))
            .await
    }
}

impl fmt::Debug for PartialFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartialFile")
            .field("digest", &self.disk.digest)
            .finish_non_exhaustive()
    }
}

/// Bytes from `position` to `end`; none beyond it.
fn left(end: u64, position: u64) -> usize {
    usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX)
}
