//! Reading what is stored, and storing what is small and whole.

use std::sync::Arc;

use bytes::Bytes;

use super::begin::begin;
use super::error::StoreError;
use super::file::{BlobFile, DiskFile};
use super::index::Change;
use super::inner::{Inner, lost};
use super::live::Found;
use super::touches::GRANULE;
use crate::oci::{Digest, MAX_MANIFEST_BYTES, MediaType, Verified};

/// What is as large has pages of its own, and is in no thread's share of memory: the least that glibc maps.
const SHARED: usize = 128 << 10;

/// A stored blob as a reader finds it.
struct Stored {
    file: Arc<BlobFile>,
    media_type: Option<MediaType>,
}

impl Inner {
    /// The open file of a blob, where there is one.
    pub(crate) fn blob_if_open(&self, digest: &Digest) -> Option<Arc<BlobFile>> {
        let file = self.open.get(digest)?;
        if file.touch(self.stamps.elapsed(), GRANULE) {
            self.touches.note(digest, self.stamps.next());
        }
        Some(file)
    }

    pub(crate) async fn blob(
        self: &Arc<Self>,
        digest: &Digest,
    ) -> Result<Option<Arc<BlobFile>>, StoreError> {
        if let Some(file) = self.blob_if_open(digest) {
            return Ok(Some(file));
        }
        let digest = *digest;
        self.blocking(move |inner| {
            let Some(Stored { file, .. }) = inner.open_stored(&digest)? else {
                return Ok(None);
            };
            let file = inner.open.insert(&file);
            // Removed in between, it must not stay open for the next.
            if file.disk().is_removed() {
                inner.open.remove(&digest);
            }
            Ok(Some(file))
        })
        .await
    }

    /// Opens a stored blob and notes the use. What is missing, of the wrong length or damaged is
    /// dropped. Blocks.
    fn open_stored(self: &Arc<Self>, digest: &Digest) -> Result<Option<Stored>, StoreError> {
        let found = self.live.find(digest);
        if let Found::Owned = found {
            return Ok(None);
        }
        let Some(row) = self.index.blob(digest)? else {
            return Ok(None);
        };
        let disk = match found {
            Found::Owned => return Ok(None),
            Found::Open(file) => file,
            Found::Closed(opening) => {
                let Some(file) = self.open_file(digest, row.size)? else {
                    drop(opening);
                    self.drop_blob(digest)?;
                    return Ok(None);
                };
                opening.opened(file)
            }
        };
        let used = self.stamps.elapsed_at(row.last_use);
        let file = BlobFile::new(disk, row.size, used, Arc::downgrade(self));
        if file.touch(self.stamps.elapsed(), GRANULE) {
            self.touches.note(digest, self.stamps.next());
        }
        Ok(Some(Stored {
            file,
            media_type: row.media_type,
        }))
    }

    /// `None` where the file is missing, can't be had from the disk any more, or has another length
    /// than its row says.
    fn open_file(&self, digest: &Digest, size: u64) -> Result<Option<Arc<DiskFile>>, StoreError> {
        let path = self.disk.layout.blob(digest);
        let opened = self.disk.open(&path);
        if let Err(error) = &opened
            && error.is_damage()
        {
            tracing::warn!(%digest, %error, "a cached blob can't be opened; dropping it");
            return Ok(None);
        }
        let Some(file) = opened? else {
            return Ok(None);
        };
        if self.disk.info(&path)?.is_none_or(|info| info.size != size) {
            return Ok(None);
        }
        Ok(Some(DiskFile::new(
            file,
            path,
            *digest,
            &self.reads,
            &self.live,
        )))
    }

    pub(crate) async fn stat(self: &Arc<Self>, digest: &Digest) -> Result<Option<u64>, StoreError> {
        if let Some(file) = self.open.get(digest) {
            return Ok(Some(file.size()));
        }
        let digest = *digest;
        self.blocking(move |inner| {
            if inner.is_gone(&digest) {
                return Ok(None);
            }
            Ok(inner.index.blob(&digest)?.map(|row| row.size))
        })
        .await
    }

    pub(crate) async fn manifest(
        self: &Arc<Self>,
        digest: &Digest,
    ) -> Result<Option<(MediaType, Bytes)>, StoreError> {
        let digest = *digest;
        let read = self.blocking(move |inner| inner.read_manifest(&digest));
        let Some((media_type, bytes)) = read.await? else {
            return Ok(None);
        };
        // It will be kept for long. The allocator has a share of memory for each thread, of which there are many that block: what
        // stays in all of these keeps the rest of each from being used by others.
        let is_copied = bytes.len() < SHARED;
        let bytes = if is_copied {
            Bytes::copy_from_slice(&bytes)
        } else {
            bytes
        };
        Ok(Some((media_type, bytes)))
    }

    /// Manifests are small: their hash is checked on each read, and one that rotted is dropped.
    fn read_manifest(
        self: &Arc<Self>,
        digest: &Digest,
    ) -> Result<Option<(MediaType, Bytes)>, StoreError> {
        let Some(stored) = self.open_stored(digest)? else {
            return Ok(None);
        };
        let Some(media_type) = stored.media_type else {
            return Ok(None);
        };
        let size = usize::try_from(stored.file.size()).unwrap_or(usize::MAX);
        if size > MAX_MANIFEST_BYTES {
            return Ok(None);
        }
        let mut bytes = vec![0; size];
        let disk = stored.file.disk();
        let count = match self.disk.read_at(disk.file(), disk.path(), &mut bytes, 0) {
            // Then it does not match.
            Err(error) if error.is_damage() => 0,
            read => read?,
        };
        bytes.truncate(count);
        if digest.verify(&bytes).is_err() {
            tracing::warn!(%digest, "a stored manifest no longer matches its digest; dropping it");
            drop(stored.file);
            self.drop_blob(digest)?;
            return Ok(None);
        }
        Ok(Some((media_type, Bytes::from(bytes))))
    }

    pub(crate) async fn put(
        self: &Arc<Self>,
        verified: Verified,
        bytes: Bytes,
        media_type: Option<MediaType>,
    ) -> Result<(), StoreError> {
        let digest = verified.digest();
        let length = bytes.len() as u64;
        if verified.size() != length {
            return Err(StoreError::WrongBytes);
        }
        let started = self
            .handle
            .spawn(begin(Arc::clone(self), digest, Some(length)));
        let mut writer = match started.await {
            Ok(Ok(writer)) => writer,
            Ok(Err(StoreError::AlreadyStored)) => return self.set_type(digest, media_type).await,
            Ok(Err(error)) => return Err(error),
            Err(error) => return lost(error).await,
        };
        while writer.hashed() < length {
            let (next, result) = writer.write(vec![(0, bytes.clone())]).await;
            writer = next;
            result?;
        }
        // Hashed again from what was written: the bytes need not be those that the proof is of.
        let (verified, complete) = writer.finish().map_err(|_| StoreError::WrongBytes)?;
        complete.commit_as(verified, media_type).await
    }

    async fn set_type(
        self: &Arc<Self>,
        digest: Digest,
        media_type: Option<MediaType>,
    ) -> Result<(), StoreError> {
        let Some(media_type) = media_type else {
            return Ok(());
        };
        let change = Change::SetMediaType { digest, media_type };
        let done = self.index.change(change, None).await;
        done.map_err(|unsettled| unsettled.error.into())
    }
}
