//! Blobs that are half gone: their files are removed, their rows are not yet.
//!
//! Their bytes are free from the moment of the unlink, whatever becomes of the index; so they count
//! against the ledger's committed sum until the rows are gone too.

use std::sync::Arc;

use super::error::StoreError;
use super::index::Change;
use super::inner::{Inner, lost};
use super::ledger::{Charge, Kind};
use super::live::Claim;
use super::sync::lock;
use crate::oci::Digest;

/// What is half gone.
pub(super) struct Gone {
    digests: Vec<Digest>,
    charge: Charge,
    /// Keeps readers and writers away until the rows are gone too; given up when the index fails,
    /// so that nobody waits for it.
    claims: Vec<Claim>,
}

impl Inner {
    /// Removes the rows of blobs whose files are gone; waits for a running eviction.
    pub(crate) async fn settle_gone(self: &Arc<Self>) -> Result<(), StoreError> {
        let _gate = self.room.gate.lock().await;
        self.clear_gone().await
    }

    /// As [`Inner::settle_gone`], by who holds the gate.
    pub(super) async fn clear_gone(self: &Arc<Self>) -> Result<(), StoreError> {
        let Some(gone) = lock(&self.room.gone).take() else {
            return Ok(());
        };
        // Goes on when the caller loses interest: the charge must end up somewhere.
        let inner = Arc::clone(self);
        let task = self.handle.spawn(async move {
            let Gone {
                digests,
                charge,
                claims,
            } = gone;
            let change = Change::Remove {
                digests: digests.clone(),
            };
            let Err(unsettled) = inner.index.change(change, Some(charge)).await else {
                drop(claims);
                inner.report_usage();
                return Ok(());
            };
            if let Some(charge) = unsettled.charge {
                inner.put_back_gone(digests, charge);
            }
            Err(unsettled.error.into())
        });
        match task.await {
            Ok(result) => result,
            Err(error) => lost(error).await,
        }
    }

    /// Whether the digest's file was evicted and its row was not removed yet.
    pub(crate) fn is_gone(&self, digest: &Digest) -> bool {
        lock(&self.room.gone)
            .as_ref()
            .is_some_and(|gone| gone.digests.contains(digest))
    }

    /// A blob's file is gone: its bytes are free, and its row is to go. The caller owns the digest.
    pub(crate) fn note_gone(&self, digest: Digest, bytes: u64, claim: Option<Claim>) {
        let more = self.ledger.hold(Kind::Gone, bytes);
        let mut slot = lock(&self.room.gone);
        let gone = slot.get_or_insert_with(|| Gone {
            digests: Vec::new(),
            charge: self.ledger.hold(Kind::Gone, 0),
            claims: Vec::new(),
        });
        gone.digests.push(digest);
        gone.charge.merge(more);
        gone.claims.extend(claim);
    }

    fn put_back_gone(&self, digests: Vec<Digest>, charge: Charge) {
        let mut slot = lock(&self.room.gone);
        if let Some(gone) = slot.as_mut() {
            gone.digests.extend(digests);
            gone.charge.merge(charge);
        } else {
            *slot = Some(Gone {
                digests,
                charge,
                claims: Vec::new(),
            });
        }
    }
}
