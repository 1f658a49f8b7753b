//! A partial file in the hands of its writer, and what becomes of it: paused, discarded, or
//! renamed to the blob that it is.
//!
//! Owns the claim on the digest, the reservation, and both files. Dropped, it is paused: the files
//! stay, and the reservation shrinks to what they take.

use std::sync::Arc;

use super::extents::Extents;
use super::file::DiskFile;
use super::inner::Inner;
use super::ledger::{BLOCK, Charge, Kind, charged};
use super::live::Claim;
use super::lock::DirLock;
use super::partial::Sidecar;
use crate::oci::Digest;

/// What a partial file of `size` bytes and its sidecar are charged.
pub(crate) fn charged_partial(size: u64) -> u64 {
    charged(size).saturating_add(BLOCK)
}

/// A partial file that is being written.
pub(crate) struct Fill {
    pub(crate) inner: Arc<Inner>,
    pub(crate) digest: Digest,
    pub(crate) file: Arc<DiskFile>,
    pub(crate) extents: Extents,
    /// Length of the contiguous prefix that is hashed.
    pub(crate) hashed: u64,
    /// `None` once its fate is somebody else's.
    held: Option<Held>,
}

/// What goes with a partial file from hand to hand.
pub(crate) struct Held {
    pub(crate) sidecar: Sidecar,
    pub(crate) charge: Charge,
    pub(crate) claim: Claim,
    /// As long as a partial file is written, the directory is this process's.
    _lock: Arc<DirLock>,
}

impl Held {
    pub(crate) fn new(sidecar: Sidecar, charge: Charge, claim: Claim, lock: Arc<DirLock>) -> Self {
        Self {
            sidecar,
            charge,
            claim,
            _lock: lock,
        }
    }
}

impl Fill {
    pub(crate) fn new(
        inner: Arc<Inner>,
        digest: Digest,
        file: Arc<DiskFile>,
        hashed: u64,
        held: Held,
    ) -> Self {
        Self {
            inner,
            digest,
            file,
            extents: Extents::prefix(hashed),
            hashed,
            held: Some(held),
        }
    }

    pub(crate) fn held(&mut self) -> &mut Held {
        self.held
            .as_mut()
            .expect("a fill holds its parts until it is given up")
    }

    /// Takes the fate of the files out of this fill's hands.
    pub(crate) fn take_held(&mut self) -> Option<Held> {
        self.held.take()
    }

    /// Removes both files, some time soon; the digest's next writer waits for that.
    pub(crate) fn discard_later(mut self) {
        let Some(held) = self.held.take() else {
            return;
        };
        held.claim.settle();
        let (inner, digest) = (Arc::clone(&self.inner), self.digest);
        // This fill's own handle on the file must not keep its bytes charged.
        drop(self);
        let reads = Arc::clone(&inner.reads);
        reads.later(move || discard(&inner, digest, held));
    }
}

/// Removes a partial file and its sidecar. Its bytes stay charged while readers have it open. A
/// file that cannot be removed stays charged as a paused one, and the eviction tries again.
pub(crate) fn discard(inner: &Arc<Inner>, digest: Digest, held: Held) {
    let Held {
        sidecar,
        charge,
        claim,
        _lock,
    } = held;
    drop(sidecar);
    remove_partial(inner, digest, charge, &claim);
}

/// As [`discard`], for a partial file that nobody writes.
pub(crate) fn remove_partial(inner: &Inner, digest: Digest, charge: Charge, claim: &Claim) {
    let disk = &inner.disk;
    // The sidecar goes last: a data file without one would be swept, a sidecar alone is nothing.
    let removed = disk
        .unlink(&disk.layout.partial(&digest))
        .and_then(|_| disk.unlink(&disk.layout.state(&digest)));
    if removed.is_err() {
        inner.paused.put(digest, charge.turn_into(Kind::Paused), 0);
        return;
    }
    if let Some(file) = claim.file() {
        file.hold(charge.turn_into(Kind::Unlinked));
        claim.forget_file();
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else {
            return;
        };
        held.claim.settle();
        self.file.promise(self.hashed);
        let (inner, digest, hashed) = (Arc::clone(&self.inner), self.digest, self.hashed);
        let written = self.extents.bytes();
        let reads = Arc::clone(&inner.reads);
        reads.later(move || pause(&inner, digest, hashed, written, held));
    }
}

/// Keeps a partial file for later, charged with what it takes on disk.
fn pause(inner: &Arc<Inner>, digest: Digest, hashed: u64, written: u64, mut held: Held) {
    if hashed == 0 {
        // There is nothing to resume.
        return discard(inner, digest, held);
    }
    held.sidecar.record(&inner.disk, hashed);
    let Held {
        mut charge, claim, ..
    } = held;
    if let Ok(Some(info)) = inner.disk.info(&inner.disk.layout.partial(&digest)) {
        charge.shrink(charged_partial(info.on_disk.max(written)));
    }
    inner
        .paused
        .put(digest, charge.turn_into(Kind::Paused), inner.stamps.next());
    drop(claim);
}
