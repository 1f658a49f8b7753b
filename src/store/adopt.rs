//! Files without rows, and rows without files: the two ways in which the disk and the index can
//! disagree, and what is done about each.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::StoreError;
use super::fill::remove_partial;
use super::index::{BlobRow, Change};
use super::inner::Inner;
use super::ledger::{BLOCK, Kind, charged};
use super::live::Claim;
use crate::metrics::{self, Swept};
use crate::oci::{Digest, MAX_MANIFEST_BYTES, Manifest, MediaType, Verifier};

/// A read of a file that is hashed.
const READ: usize = 512 << 10;

/// What a file under `blobs/` turned out to be.
enum Verdict {
    Missing,
    /// Its bytes are what its name says.
    Good {
        size: u64,
        media_type: Option<MediaType>,
    },
    /// They are not, and the file is removed.
    Bad,
}

impl Inner {
    /// Whether a digest that the caller owns is stored. What the disk and the index disagree on is
    /// settled first: a file without a row is adopted, a row without a file goes.
    pub(crate) async fn is_stored(self: &Arc<Self>, digest: &Digest) -> Result<bool, StoreError> {
        if self.is_gone(digest) {
            self.settle_gone().await?;
        }
        let digest = *digest;
        let (row, info) = self
            .blocking(move |inner| {
                let row = inner.index.blob(&digest)?;
                let info = inner.disk.info(&inner.disk.layout.blob(&digest))?;
                Ok::<_, StoreError>((row, info))
            })
            .await?;
        match (row, info) {
            (Some(row), Some(info)) if row.size == info.size => {
                self.blocking(move |inner| inner.drop_sidecar(&digest))
                    .await;
                Ok(true)
            }
            (Some(row), _) => {
                self.blocking(move |inner| inner.remove_file(&digest, row.size, None))
                    .await?;
                self.settle_gone().await?;
                Ok(false)
            }
            (None, Some(_)) => self.adopt_owned(&digest).await,
            (None, None) => Ok(false),
        }
    }

    /// Adopts or removes a file that the index does not know, unless the digest is owned.
    pub(crate) async fn adopt(self: &Arc<Self>, digest: &Digest) -> Result<(), StoreError> {
        let Some(claim) = self.live.claim_for_upkeep(digest) else {
            return Ok(());
        };
        if self.is_stored(digest).await? {
            return Ok(());
        }
        // An orphan that never got its name: what is left of it is a partial file.
        let digest = *digest;
        if let Some(charge) = self.orphans.take_known(&digest) {
            self.blocking(move |inner| remove_partial(inner, digest, charge, &claim))
                .await;
        }
        Ok(())
    }

    /// Hashes a file whose digest the caller owns, and gives it a row if it is good; `false` when
    /// it is not, or there is none.
    async fn adopt_owned(self: &Arc<Self>, digest: &Digest) -> Result<bool, StoreError> {
        let digest = *digest;
        let verdict = self
            .blocking(move |inner| inner.inspect_file(&digest))
            .await?;
        let (size, media_type) = match verdict {
            Verdict::Missing => return Ok(false),
            Verdict::Bad => {
                self.counts.swept.fetch_add(1, Ordering::Relaxed);
                metrics::swept(Swept::Removed);
                return Ok(false);
            }
            Verdict::Good { size, media_type } => (size, media_type),
        };
        let row = BlobRow {
            size,
            last_use: self.stamps.next(),
            media_type,
        };
        let charge = self.orphans.take(&digest, charged(size), &self.ledger);
        let inserted = self
            .index
            .change(Change::Insert { digest, row }, Some(charge))
            .await;
        if let Err(unsettled) = inserted {
            if let Some(charge) = unsettled.charge {
                self.orphans.put(digest, charge);
            }
            return Err(unsettled.error.into());
        }
        self.counts.adopted.fetch_add(1, Ordering::Relaxed);
        metrics::swept(Swept::Adopted);
        self.after_commit();
        self.blocking(move |inner| inner.remove_sidecar(&digest))
            .await;
        Ok(true)
    }

    /// A stored blob needs no sidecar. One that cannot be removed is charged, and upkeep comes back
    /// for it. Blocks.
    pub(crate) fn remove_sidecar(&self, digest: &Digest) {
        if self.disk.unlink(&self.disk.layout.state(digest)).is_err() {
            let charge = self.ledger.hold(Kind::Orphaned, BLOCK);
            self.orphans.put(*digest, charge);
        }
    }

    /// Comes back for a sidecar, or for a blob that turned out to have got its row. Blocks.
    fn drop_sidecar(&self, digest: &Digest) {
        if let Some(charge) = self.orphans.take_known(digest) {
            self.remove_sidecar(digest);
            drop(charge);
        }
    }

    /// Blocks for as long as hashing the file takes.
    fn inspect_file(&self, digest: &Digest) -> Result<Verdict, StoreError> {
        let path = self.disk.layout.blob(digest);
        let file = match self.disk.open(&path) {
            Err(error) if error.is_damage() => return self.drop_bad(digest, &path),
            opened => opened?,
        };
        let Some(file) = file else {
            return Ok(Verdict::Missing);
        };
        let mut verifier = Verifier::new(*digest);
        let mut buffer = vec![0; READ];
        let mut head = Vec::new();
        loop {
            if self.closed.load(Ordering::Relaxed) {
                return Err(StoreError::Closed);
            }
            let count = match self
                .disk
                .read_at(&file, &path, &mut buffer, verifier.hashed())
            {
                Ok(0) => break,
                Ok(count) => count,
                // What cannot be read is no use, and would stop every sweep.
                Err(error) if error.is_damage() => return self.drop_bad(digest, &path),
                Err(error) => return Err(error),
            };
            verifier.update(&buffer[..count]);
            if head.len() <= MAX_MANIFEST_BYTES {
                head.extend_from_slice(&buffer[..count]);
            }
        }
        let size = verifier.hashed();
        if verifier.finish().is_err() {
            return self.drop_bad(digest, &path);
        }
        Ok(Verdict::Good {
            size,
            media_type: manifest_type(&head),
        })
    }

    fn drop_bad(&self, digest: &Digest, path: &Path) -> Result<Verdict, StoreError> {
        tracing::warn!(%digest, "removing a file whose bytes are not what its name says");
        let on_disk = self.disk.info(path)?.map_or(0, |info| charged(info.size));
        self.disk.unlink(path)?;
        drop(self.orphans.take(digest, on_disk, &self.ledger));
        Ok(Verdict::Bad)
    }

    /// Removes a stored blob's file, if it is still there, and has its row removed; the caller owns
    /// the digest, and may hand its claim over until that is done. Blocks.
    pub(crate) fn remove_file(
        &self,
        digest: &Digest,
        size: u64,
        claim: Option<Claim>,
    ) -> Result<(), StoreError> {
        self.open.remove(digest);
        self.disk.unlink(&self.disk.layout.blob(digest))?;
        if let Some(claim) = &claim
            && let Some(file) = claim.file()
        {
            file.hold(self.ledger.hold(Kind::Unlinked, charged(size)));
            claim.forget_file();
            // Somebody may have opened it just before, and kept it there.
            self.open.remove(digest);
        }
        if !self.is_gone(digest) {
            self.note_gone(*digest, charged(size), claim);
        }
        self.attention.notify_one();
        Ok(())
    }

    /// The disk does not give a stored blob back: drops it, some time soon.
    pub(crate) fn drop_unreadable(self: &Arc<Self>, digest: Digest) {
        tracing::warn!(%digest, "a cached blob can't be read; dropping it");
        let inner = Arc::clone(self);
        self.reads.later(move || {
            if let Err(error) = inner.drop_blob(&digest) {
                tracing::warn!(%digest, %error, "a cached blob that can't be read can't be dropped");
            }
        });
    }

    /// A row's file is missing, or is not what it should be: both go. Does nothing while the digest
    /// is owned. Blocks.
    pub(crate) fn drop_blob(self: &Arc<Self>, digest: &Digest) -> Result<(), StoreError> {
        let Some(claim) = self.live.claim_for_upkeep(digest) else {
            return Ok(());
        };
        match self.index.blob(digest)? {
            Some(row) => self.remove_file(digest, row.size, Some(claim)),
            None => Ok(()),
        }
    }
}

/// The type of a small file that is a manifest: the index that knew it is lost.
fn manifest_type(bytes: &[u8]) -> Option<MediaType> {
    if bytes.first() != Some(&b'{') || bytes.len() > MAX_MANIFEST_BYTES {
        return None;
    }
    let manifest = Manifest::parse(bytes, None).ok()?;
    Some(manifest.media_type().clone())
}
