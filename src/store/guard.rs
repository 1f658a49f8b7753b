//! What eviction spares: the blobs that manifests served within the hour refer to, and these
//! manifests themselves.
//!
//! Whoever was given a manifest comes back for what it refers to, at once or after a while (a pull
//! that was cut, the next node of a rollout). A plain LRU would know of neither: nodes that have most
//! layers ask for few, and a flood of blobs that nobody asks for twice would push the others out. The
//! manifest would be served still, and the pull would fail on a hole where the upstream is down or
//! its quota is spent. So
//! - serving a manifest counts as a use of all that it refers to (`uses.rs`);
//! - an image whose manifest was served within the hour is guarded: nothing of it is evicted while
//!   anything else can be. What is fetched for it is guarded from its commit on.
//!
//! Guarded are whole images, the one that was served last first, until they would take more than
//! four fifths of the room for blobs; all that were served before that lapse, until they are served
//! again: what is left of one that was evicted in part is worth no more than other blobs. An image
//! that would take more alone, by what its manifest says, is never guarded: it would push out all
//! others and could not be kept all the same. So a fifth at least goes by plain LRU, and what is
//! fetched without a manifest, or seldom, passes through there.
//!
//! The limit and the free space to leave win: where evicting all else does not make the room that a
//! reservation needs, guarded images go too, the one that was served longest ago first. Refusing
//! would make every client of the new blob fetch it from upstream alone.
//!
//! What is guarded is decided anew for each eviction, from what is stored then: there is no sum that
//! could drift, and time that has passed needs no task of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::StoreError;
use super::index::{BlobRow, Blobs, IndexError, Place};
use super::inner::Inner;
use super::ledger::{Ledger, charged};
use super::recent::Image;
use crate::oci::Digest;

/// How much of the room for blobs may be guarded: that of the limit which the index and what it is
/// about to grow by leave.
fn budget(ledger: &Ledger) -> u64 {
    let sums = ledger.sums();
    let index = sums.index + sums.headroom();
    ledger.limit().saturating_sub(index) / 5 * 4
}

/// What an eviction spares.
#[derive(Debug, Default)]
pub(crate) struct Guarded {
    digests: HashMap<Digest, Guard>,
    /// What is charged for those that are stored.
    bytes: u64,
    /// The turns of images that had to lapse.
    lapsed: Vec<u64>,
}

#[derive(Debug)]
struct Guard {
    /// That of the image that was served last of those that refer to it.
    turn: u64,
    /// `None` while it is not stored.
    row: Option<BlobRow>,
}

impl Guarded {
    /// Guards `images`, the last ones first, as far as `budget` allows.
    fn decide(images: &[Image], budget: u64, blobs: &Blobs) -> Result<Self, IndexError> {
        let mut guarded = Self::default();
        let mut older = images.iter().rev();
        for image in older.by_ref() {
            if image.references.claimed() > budget {
                continue;
            }
            let (mut bytes, mut added) = (guarded.bytes, Vec::new());
            for digest in image.references.all() {
                if !guarded.spares(digest) {
                    let row = blobs.get(digest)?;
                    bytes += row.as_ref().map_or(0, |row| charged(row.size));
                    let turn = image.turn;
                    added.push((*digest, Guard { turn, row }));
                }
            }
            if bytes > budget {
                guarded.lapsed.push(image.turn);
                break;
            }
            guarded.bytes = bytes;
            guarded.digests.extend(added);
        }
        guarded.lapsed.extend(older.map(|image| image.turn));
        Ok(guarded)
    }

    /// Whether a digest is to stay while anything else can go.
    pub(crate) fn spares(&self, digest: &Digest) -> bool {
        self.digests.contains_key(digest)
    }

    /// What is stored, in the order in which it goes if it must, each with the turn of the image that
    /// it is kept for: the image that was served longest ago first. In an image the order is that of
    /// last use; manifests go last, since they are small, and the dearest to get again.
    pub(crate) fn in_order(&self) -> Vec<(u64, Place)> {
        let mut all = Vec::new();
        for (digest, guard) in &self.digests {
            if let Some(row) = &guard.row {
                let place = Place {
                    last_use: row.last_use,
                    digest: *digest,
                    size: row.size,
                };
                all.push((guard.turn, row.media_type.is_some(), place));
            }
        }
        all.sort_unstable_by_key(|(turn, is_manifest, place)| {
            (*turn, *is_manifest, place.last_use, place.digest)
        });
        let places = all.into_iter().map(|(turn, _, place)| (turn, place));
        places.collect()
    }
}

impl Inner {
    /// What an eviction has to spare now.
    pub(crate) async fn guarded(self: &Arc<Self>) -> Result<Arc<Guarded>, StoreError> {
        self.recall().await?;
        self.blocking(|inner| {
            let images = inner.recent.of_the_hour(inner.stamps.elapsed());
            let budget = budget(&inner.ledger);
            let guarded = inner
                .index
                .blobs(|blobs| Guarded::decide(&images, budget, blobs))?;
            for turn in &guarded.lapsed {
                inner.recent.forget(*turn);
            }
            inner.counts.guarded.store(guarded.bytes, Ordering::Relaxed);
            inner.counts.guardable.store(budget, Ordering::Relaxed);
            Ok(Arc::new(guarded))
        })
        .await
    }
}
