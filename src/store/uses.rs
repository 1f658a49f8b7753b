//! What serving a manifest leads to: it is noted, counts as a use of all that it refers to, and is
//! found again after a restart.
//!
//! Nothing of what was served when is written down. What is, are last uses, once an hour each, and so
//! a start takes the manifests that were used within the last two hours of the order of eviction for
//! served, for a restart in the midst of a pull to leave no hole. The newest of all last uses is the
//! measure, so that a clock that was set while nobody ran changes nothing. They are guarded for an
//! hour from the start.

use std::sync::Arc;

use super::error::StoreError;
use super::index::BlobRow;
use super::inner::{Inner, Opened};
use super::recent::Image;
use super::references::References;
use super::touches::GRANULE;
use crate::oci::{Digest, MAX_MANIFEST_BYTES, Manifest};

/// How far back, in milliseconds, a start looks for manifests that were served: last uses are
/// recorded with the granule, so one of this hour may have been recorded in the one before.
const RECALLED: u64 = 2 * GRANULE;

/// At how many blobs a start looks for them.
const RECALLED_ROWS: usize = 50_000;

impl Inner {
    /// See [`super::Store::served`].
    pub(crate) fn served(&self, references: &Arc<References>) {
        self.recent.note(references, self.stamps.elapsed());
    }

    /// Lets what was served count as a use of all that it refers to.
    pub(crate) async fn note_uses(self: &Arc<Self>) {
        let noted = self.blocking(|inner| inner.note_uses_of(&inner.recent.take_used()));
        log_unnoted(noted.await);
    }

    /// Brings the order of eviction up to date with all that was served within the hour, for the
    /// next start to see.
    pub(crate) async fn note_all_uses(self: &Arc<Self>) {
        let noted = self.blocking(|inner| {
            let served = inner.recent.of_the_hour(inner.stamps.elapsed());
            inner.note_uses_of(&served)
        });
        log_unnoted(noted.await);
    }

    /// Only what was not used for an hour, as with all uses. Blocks.
    fn note_uses_of(&self, images: &[Image]) -> Result<(), StoreError> {
        if images.is_empty() {
            return Ok(());
        }
        self.index.blobs(|blobs| {
            for image in images {
                let mut stamp = None;
                for digest in image.references.all() {
                    let Some(row) = blobs.get(digest)? else {
                        continue;
                    };
                    let last = self.stamps.elapsed_at(row.last_use);
                    if image.at.saturating_sub(last) >= GRANULE {
                        let stamp = *stamp.get_or_insert_with(|| self.stamps.next());
                        self.touches.note(digest, stamp);
                    }
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Takes the manifests that were used last before the start for served; once.
    pub(crate) async fn recall(self: &Arc<Self>) -> Result<(), StoreError> {
        let recalled = self
            .recalled
            .get_or_try_init(|| self.blocking(|inner| inner.recall_served()));
        recalled.await.map(drop)
    }

    /// Blocks.
    fn recall_served(&self) -> Result<(), StoreError> {
        let Opened { at, newest } = self.opened;
        let manifests = self
            .index
            .manifests_before(newest, RECALLED, RECALLED_ROWS)?;
        for (digest, row) in manifests {
            if let Some(references) = self.read_references(&digest, &row)
                && !self.recent.restore(&Arc::new(references), at)
            {
                break;
            }
        }
        Ok(())
    }

    /// What a stored manifest refers to; not a use. Blocks.
    fn read_references(&self, digest: &Digest, row: &BlobRow) -> Option<References> {
        let size = usize::try_from(row.size).ok()?;
        if size > MAX_MANIFEST_BYTES {
            return None;
        }
        let path = self.disk.layout.blob(digest);
        let file = self.disk.open(&path).ok()??;
        let mut bytes = vec![0; size];
        let count = self.disk.read_at(&file, &path, &mut bytes, 0).ok()?;
        let parsed = Manifest::parse(&bytes[..count], row.media_type.as_ref()).ok()?;
        Some(References::new(*digest, &parsed))
    }
}

fn log_unnoted(noted: Result<(), StoreError>) {
    if let Err(error) = noted {
        tracing::warn!(%error, "uses of cached images could not be noted");
    }
}
