//! Writing a blob as it arrives: pieces in any order, hashed as the contiguous prefix grows.
//!
//! What arrives at the frontier is hashed where it is in memory. What arrived ahead of it is read back once the frontier
//! gets there: it may be a hundred megabytes a blob, which the page cache holds and this process need not.
//!
//! Invariants: a byte below the hashed frontier is never written again; the reservation covers
//! every byte before it is written; only a finished verifier leads to a commit.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::commit::Complete;
use super::error::StoreError;
use super::extents::Extents;
use super::file::PartialFile;
use super::fill::{Fill, charged_partial};
use super::inner::lost;
use crate::oci::{Digest, Mismatch, Verified, Verifier};

/// How much is reserved ahead of what is written where the length is unknown: as much again as
/// there is, within these bounds, so that neither a small blob nor a large one asks for room often.
const AHEAD: std::ops::RangeInclusive<u64> = (256 << 10)..=(8 << 20);

/// What is reserved for a blob of unknown length that is written up to `end`.
pub(crate) fn reserved_for(end: u64) -> u64 {
    let ahead = end.clamp(*AHEAD.start(), *AHEAD.end());
    charged_partial(end.saturating_add(ahead))
}

/// How much of what was written ahead one call reads back and hashes; the next call goes on. Twice a batch, so that the
/// frontier gains on what arrives meanwhile, and no more, so that what arrives does not wait long.
const CATCH_UP: u64 = 2 << 20;

/// A read-back of what was written ahead; small enough to be hashed from the processor's own cache.
const READ_BACK: usize = 128 << 10;

/// The only writer of a digest. Dropped without a commit, it leaves a partial file from which the
/// next writer of the digest goes on.
pub struct BlobWriter {
    fill: Fill,
    verifier: Verifier,
    size: Option<u64>,
    /// What is read back is read into this; it is there while something is ahead of the frontier.
    read_back: Vec<u8>,
}

/// How far a writer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Length of the hashed prefix.
    pub hashed: u64,
    /// Bytes behind it that are written and contiguous, and will be hashed by the next calls of
    /// [`BlobWriter::write`], which may be empty ones.
    pub behind: u64,
}

impl BlobWriter {
    pub(crate) fn new(fill: Fill, verifier: Verifier, size: Option<u64>) -> Self {
        Self {
            fill,
            verifier,
            size,
            read_back: Vec::new(),
        }
    }

    /// The blob's digest.
    pub fn digest(&self) -> Digest {
        self.fill.digest
    }

    /// The blob's length, where it is known.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The growing file, for those that follow it. Stays valid whatever becomes of the writer.
    pub fn reader(&self) -> Arc<PartialFile> {
        PartialFile::new(Arc::clone(&self.fill.file))
    }

    /// Length of the contiguous prefix that is written and hashed.
    pub fn hashed(&self) -> u64 {
        self.fill.hashed
    }

    /// All ranges that are written.
    pub fn extents(&self) -> &Extents {
        &self.fill.extents
    }

    /// The hasher at the frontier; a clone of it goes on without the store.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The length became known: the reservation becomes exact. Fails with
    /// [`StoreError::BeyondSize`] when more is written already.
    pub async fn set_size(&mut self, total: u64) -> Result<(), StoreError> {
        let end = self.fill.extents.end();
        if end > total {
            return Err(StoreError::BeyondSize { end, size: total });
        }
        let exact = charged_partial(total);
        self.reserve(exact, exact).await?;
        self.fill.held().charge.shrink(exact);
        self.size = Some(total);
        Ok(())
    }

    /// Writes a batch of pieces, each with its offset, and hashes what became contiguous, in one
    /// trip to the blocking pool. What lies below the frontier already is left as it is. After an
    /// error the writer still says truly what is hashed and written, and may be used again.
    pub async fn write(mut self, batch: Vec<(u64, Bytes)>) -> (Self, Result<Written, StoreError>) {
        if let Err(error) = self.make_room(&batch).await {
            return (self, Err(error));
        }
        let handle = self.fill.inner.handle.clone();
        let job = handle.spawn_blocking(move || {
            let result = self.write_now(batch);
            (self, result)
        });
        match job.await {
            Ok(done) => done,
            Err(error) => lost(error).await,
        }
    }

    async fn make_room(&mut self, batch: &[(u64, Bytes)]) -> Result<(), StoreError> {
        let end = batch
            .iter()
            .map(|(offset, bytes)| offset.saturating_add(bytes.len() as u64))
            .max()
            .unwrap_or(0);
        match self.size {
            Some(size) if end > size => Err(StoreError::BeyondSize { end, size }),
            Some(_) => Ok(()),
            None if self.fill.held().charge.bytes() >= charged_partial(end) => Ok(()),
            None => self.reserve(charged_partial(end), reserved_for(end)).await,
        }
    }

    async fn reserve(&mut self, bytes: u64, wish: u64) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.fill.inner);
        inner.grow(&mut self.fill.held().charge, bytes, wish).await
    }

    /// Blocks.
    fn write_now(&mut self, mut batch: Vec<(u64, Bytes)>) -> Result<Written, StoreError> {
        let inner = Arc::clone(&self.fill.inner);
        // Several connections take turns in a batch; in order, what is the frontier's is hashed without being read back.
        batch.sort_by_key(|(offset, _)| *offset);
        let mut left = batch.into_iter().peekable();
        while let Some((offset, bytes)) = left.next() {
            let (start, first) = self.beyond_hashed(offset, &bytes);
            if first.is_empty() {
                continue;
            }
            let mut end = start + first.len() as u64;
            let mut run = vec![first];
            while let Some((_, next)) = left.next_if(|(offset, _)| *offset == end) {
                end += next.len() as u64;
                run.push(next);
            }
            self.write_run(start, end, &run)?;
        }
        self.catch_up()?;
        let hashed = self.fill.hashed;
        let sidecar = &mut self.fill.held().sidecar;
        sidecar.record_now_and_then(&inner.disk, hashed);
        let recorded = sidecar.recorded();
        self.fill.file.keep(recorded);
        let behind = self.fill.extents.contiguous_from(hashed) - hashed;
        Ok(Written { hashed, behind })
    }

    /// What of a piece lies beyond the frontier: readers may have what is below it, and the hasher has it.
    fn beyond_hashed(&self, offset: u64, bytes: &Bytes) -> (u64, Bytes) {
        let known = self.fill.hashed.saturating_sub(offset);
        let known = usize::try_from(known)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        (offset + known as u64, bytes.slice(known..))
    }

    /// Writes what fills `start..end` without a gap, and hashes it if it begins at the frontier.
    fn write_run(&mut self, start: u64, end: u64, run: &[Bytes]) -> Result<(), StoreError> {
        let fill = &mut self.fill;
        let data = &fill.file;
        fill.inner
            .disk
            .write_all_at(data.file(), data.path(), run, start)?;
        fill.held().charge.written(end - start);
        fill.extents.insert(start..end);
        if start == fill.hashed {
            for bytes in run {
                self.verifier.update(bytes);
            }
            fill.hashed = end;
        }
        Ok(())
    }

    /// Hashes what was written ahead and has become contiguous.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let fill = &mut self.fill;
        let end = fill.extents.contiguous_from(fill.hashed);
        let end = end.min(fill.hashed + CATCH_UP);
        if end > fill.hashed {
            self.read_back.resize(READ_BACK, 0);
        }
        while fill.hashed < end {
            let wanted = usize::try_from(end - fill.hashed).map_or(READ_BACK, |n| n.min(READ_BACK));
            let data = &fill.file;
            let count = fill.inner.disk.read_at(
                data.file(),
                data.path(),
                &mut self.read_back[..wanted],
                fill.hashed,
            )?;
            if count == 0 {
                // Somebody cut the file: what was written is not there any more.
                return Err(StoreError::WrongBytes);
            }
            self.verifier.update(&self.read_back[..count]);
            fill.hashed += count as u64;
        }
        if fill.hashed == fill.extents.end() {
            self.read_back = Vec::new();
        }
        Ok(())
    }

    /// Ends the blob. Call it when everything is hashed; a blob that is short is as wrong as any
    /// other. After a mismatch the partial file is removed.
    pub fn finish(self) -> Result<(Verified, Complete), Mismatch> {
        match self.verifier.finish() {
            Ok(verified) => Ok((verified, Complete::new(self.fill))),
            Err(mismatch) => {
                self.fill.discard_later();
                Err(mismatch)
            }
        }
    }

    /// Removes the partial file.
    pub async fn discard(mut self) {
        let Some(held) = self.fill.take_held() else {
            return;
        };
        let (inner, digest) = (Arc::clone(&self.fill.inner), self.fill.digest);
        drop(self);
        let handle = inner.handle.clone();
        let job = handle.spawn_blocking(move || super::fill::discard(&inner, digest, held));
        if let Err(error) = job.await {
            lost::<()>(error).await;
        }
    }
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobWriter")
            .field("digest", &self.fill.digest)
            .field("hashed", &self.fill.hashed)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
