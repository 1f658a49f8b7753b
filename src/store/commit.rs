//! Making a complete, verified partial file a stored blob.
//!
//! The order is the promise: data synced, renamed, directory synced, then the index row. A crash
//! between any two leaves either a partial file that is hashed again, or a whole blob that the next
//! start adopts after hashing it; its sidecar, removed last, tells the start where to look.

use std::fmt;
use std::sync::Arc;

use super::error::StoreError;
use super::fill::{Fill, Held, discard};
use super::index::{BlobRow, Change};
use super::inner::{Inner, lost};
use super::ledger::{BLOCK, Kind};
use crate::oci::{Digest, MediaType, Verified};

/// A partial file whose writer has finished. Only [`super::BlobWriter::finish`] makes one.
pub struct Complete {
    fill: Fill,
}

impl Complete {
    pub(crate) fn new(fill: Fill) -> Self {
        Self { fill }
    }

    /// Stores the blob. Returns when it is durable and found by [`super::Store::blob`]. Goes on
    /// when its caller loses interest.
    ///
    /// On an error nothing is stored: a sync that failed is not tried again, and the file is
    /// removed, since nobody knows what of it reached the disk.
    pub async fn commit(self, verified: Verified) -> Result<(), StoreError> {
        self.commit_as(verified, None).await
    }

    pub(crate) async fn commit_as(
        mut self,
        verified: Verified,
        media_type: Option<MediaType>,
    ) -> Result<(), StoreError> {
        let Some(held) = self.fill.take_held() else {
            return Err(StoreError::Closed);
        };
        let (inner, digest) = (Arc::clone(&self.fill.inner), self.fill.digest);
        if verified.digest() != digest {
            let handle = inner.handle.clone();
            drop(self);
            let job = handle.spawn_blocking(move || discard(&inner, digest, held));
            if let Err(error) = job.await {
                lost::<()>(error).await;
            }
            return Err(StoreError::WrongBytes);
        }
        let handle = inner.handle.clone();
        let task = handle.spawn(async move {
            // Readers find this very file while it is open.
            let fill = self.fill;
            store(inner, &fill, held, verified, media_type).await
        });
        match task.await {
            Ok(result) => result,
            Err(error) => lost(error).await,
        }
    }
}

impl fmt::Debug for Complete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Complete")
            .field("digest", &self.fill.digest)
            .finish_non_exhaustive()
    }
}

async fn store(
    inner: Arc<Inner>,
    fill: &Fill,
    held: Held,
    verified: Verified,
    media_type: Option<MediaType>,
) -> Result<(), StoreError> {
    let digest = fill.digest;
    let data = Arc::clone(&fill.file);
    let size = verified.size();
    let Held { charge, claim, .. } = inner
        .blocking(move |inner| match place(inner, &data, &digest, size) {
            Ok(()) => Ok(held),
            Err(error) => {
                drop(data);
                undo(inner, digest, held);
                Err(error)
            }
        })
        .await?;
    let row = BlobRow {
        size,
        last_use: inner.stamps.next(),
        media_type,
    };
    let inserted = inner
        .index
        .change(Change::Insert { digest, row }, Some(charge))
        .await;
    if let Err(unsettled) = inserted {
        // The file stands, and its sidecar says so: upkeep adopts it when the index works again.
        if let Some(charge) = unsettled.charge {
            inner.orphans.put(digest, charge.turn_into(Kind::Orphaned));
        }
        return Err(unsettled.error.into());
    }
    inner
        .blocking(move |inner| {
            inner.remove_sidecar(&digest);
            drop(claim);
        })
        .await;
    inner.after_commit();
    Ok(())
}

/// Data, name, directory. Blocks.
fn place(
    inner: &Inner,
    file: &super::file::DiskFile,
    digest: &Digest,
    size: u64,
) -> Result<(), StoreError> {
    let disk = &inner.disk;
    let partial = disk.layout.partial(digest);
    let length = disk.info(&partial)?.map_or(0, |info| info.size);
    if length != size {
        return Err(StoreError::WrongBytes);
    }
    let shard = disk.layout.shard_of(digest);
    if disk.create_dir(&shard)? {
        inner.ledger.fix(BLOCK);
        disk.sync_dir(&disk.layout.algorithm_dir(digest.algorithm()))?;
    }
    disk.sync(file.file(), file.path())?;
    disk.rename(&partial, &disk.layout.blob(digest))?;
    file.keep(size);
    disk.sync_dir(&shard)
}

/// Removes what `place` may have left. What cannot be removed stays charged.
fn undo(inner: &Arc<Inner>, digest: Digest, held: Held) {
    let renamed = inner.disk.unlink(&inner.disk.layout.blob(&digest));
    if renamed.is_err() {
        let Held { charge, .. } = held;
        inner.orphans.put(digest, charge.turn_into(Kind::Orphaned));
        return;
    }
    discard(inner, digest, held);
}
