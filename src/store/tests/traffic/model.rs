//! What the model knows, and what is guarded by that.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::images::{self, Made};
use crate::oci::Digest;
use crate::store::ledger::charged;
use crate::store::tests::support::{Dir, MIB, stop_upkeep};
use crate::store::{BlobFile, Clock, Store};

pub(super) const LIMIT: u64 = 12 * MIB;
pub(super) const MINUTE: u64 = 60_000;
/// How long an image is guarded.
pub(super) const HOUR: u64 = 60 * MINUTE;

#[derive(Clone, Copy, Debug)]
pub(super) struct Blob {
    pub(super) size: u64,
    pub(super) last_use: u64,
    pub(super) is_manifest: bool,
}

/// A manifest that was served.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) image: usize,
    /// With the manifest.
    pub(super) digests: Vec<Digest>,
    claimed: u64,
    pub(super) at: u64,
    /// The last time that it counted as a use.
    pub(super) used: Option<u64>,
}

impl Served {
    pub(super) fn new(image: usize, at: u64, used: Option<u64>) -> Self {
        let layers = images::layers(image);
        let claimed = layers.iter().map(|layer| layer.bytes.len() as u64).sum();
        let manifest = images::image(image).manifest;
        let digests = layers.iter().map(|layer| layer.digest);
        Self {
            image,
            digests: digests.chain([manifest]).collect(),
            claimed,
            at,
            used,
        }
    }
}

/// Why a digest is guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The image that it is kept for.
    pub(super) image: usize,
    /// How many were served later.
    pub(super) rank: usize,
}

pub(super) struct Model {
    pub(super) dir: Dir,
    pub(super) store: Store,
    pub(super) millis: Arc<AtomicU64>,
    pub(super) stored: BTreeMap<Digest, Blob>,
    /// In the order in which they were served.
    pub(super) served: Vec<Served>,
    pub(super) reading: Vec<(&'static Made, Arc<BlobFile>)>,
    /// The last stamp that was given out.
    stamp: u64,
}

pub(super) async fn open(dir: &Dir, millis: &Arc<AtomicU64>) -> Store {
    let mut settings = dir.settings(LIMIT);
    settings.clock = Clock::manual(Arc::clone(millis));
    let store = Store::open(settings).await.unwrap();
    stop_upkeep(&store).await;
    store
}

impl Model {
    pub(super) async fn new() -> Self {
        let dir = Dir::in_memory();
        let millis = Arc::new(AtomicU64::new(1_700_000_000_000));
        Self {
            store: open(&dir, &millis).await,
            dir,
            millis,
            stored: BTreeMap::new(),
            served: Vec::new(),
            reading: Vec::new(),
            stamp: 0,
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.millis.load(Ordering::Relaxed)
    }

    pub(super) fn next_stamp(&mut self) -> u64 {
        self.stamp = self.now().max(self.stamp + 1);
        self.stamp
    }

    /// What is guarded now; what has to lapse for that is forgotten.
    pub(super) fn guarded(&mut self) -> HashMap<Digest, Kept> {
        // It follows the index, whose size changes with each commit.
        let budget = self.store.0.counts.guardable.load(Ordering::Relaxed);
        assert!((LIMIT / 2..LIMIT / 5 * 4).contains(&budget), "{budget}");
        let now = self.now();
        self.served.retain(|one| now - one.at < HOUR);
        let (mut guarded, mut bytes, mut lapsed) = (HashMap::new(), 0, 0);
        for (rank, served) in self.served.iter().rev().enumerate() {
            if served.claimed > budget {
                continue;
            }
            let mut more: Vec<Digest> = served.digests.clone();
            more.retain(|digest| !guarded.contains_key(digest));
            let stored = more.iter().filter_map(|digest| self.stored.get(digest));
            bytes += stored.map(|blob| charged(blob.size)).sum::<u64>();
            if bytes > budget {
                lapsed = self.served.len() - rank;
                break;
            }
            let image = served.image;
            guarded.extend(
                more.into_iter()
                    .map(|digest| (digest, Kept { image, rank })),
            );
        }
        self.served.drain(..lapsed);
        guarded
    }
}
