//! Files under `blobs/` that the index does not know: after a crash or an index error in the middle
//! of a commit, or because the index was lost. Their bytes stay charged until the sweep has adopted
//! or removed them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::ledger::{Charge, Kind, Ledger};
use super::sync::lock;
use crate::oci::Digest;

/// The charges of such files.
#[derive(Debug, Default)]
pub(crate) struct Orphans(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// Those whose digest is known.
    known: HashMap<Digest, Charge>,
    /// All the others together.
    rest: Option<Charge>,
}

impl Orphans {
    /// A file whose digest is known.
    pub(crate) fn put(&self, digest: Digest, charge: Charge) {
        let replaced = lock(&self.0).known.insert(digest, charge);
        drop(replaced);
    }

    /// Files that nobody has looked at yet.
    pub(crate) fn put_rest(&self, charge: Charge) {
        let mut held = lock(&self.0);
        match held.rest.as_mut() {
            Some(rest) => rest.merge(charge),
            None => held.rest = Some(charge),
        }
    }

    /// Everything was looked at: what is left belongs to no file.
    pub(crate) fn clear_rest(&self) {
        let rest = lock(&self.0).rest.take();
        drop(rest);
    }

    /// The charge of one file of `bytes`: its own, or its part of the rest, or a new one.
    pub(crate) fn take(&self, digest: &Digest, bytes: u64, ledger: &Arc<Ledger>) -> Charge {
        let mut held = lock(&self.0);
        if let Some(charge) = held.known.remove(digest) {
            return charge;
        }
        let mut charge = match held.rest.as_mut() {
            Some(rest) => rest.split(bytes),
            None => ledger.hold(Kind::Orphaned, 0),
        };
        let missing = bytes.saturating_sub(charge.bytes());
        charge.merge(ledger.hold(Kind::Orphaned, missing));
        charge
    }

    /// The charge of a file whose digest is known.
    pub(crate) fn take_known(&self, digest: &Digest) -> Option<Charge> {
        lock(&self.0).known.remove(digest)
    }

    /// The known ones.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        lock(&self.0).known.keys().copied().collect()
    }
}
