//! What a cache of many blobs costs no more than one of few.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;

use super::support::*;
use crate::store::bench::{SIZE, digest, seed_blobs};
use crate::store::{Faults, Op, Settings, Store, open};

const FEW: u64 = 4_000;
const MANY: u64 = 16_000;
const PLENTY: u64 = 1 << 40;

/// Counts what is done to the disk, but for pages of the index that are read: a debug build of redb reads all of them, to
/// make sure of itself. How long a start takes with a million blobs is measured by `benches/million.rs`.
fn counting(count: &Arc<AtomicU64>) -> Faults {
    let count = Arc::clone(count);
    Faults::hook(move |op, _| {
        if op != Op::IndexRead {
            count.fetch_add(1, Ordering::Relaxed);
        }
        None
    })
}

/// A directory with so many blobs.
async fn seeded(count: u64) -> Dir {
    let dir = Dir::in_memory();
    dir.open(PLENTY).await.close().await;
    let path = dir.path().to_owned();
    let seeding =
        tokio::task::spawn_blocking(move || seed_blobs(&path, PLENTY, &registry(), count, true));
    seeding.await.unwrap().unwrap();
    dir
}

/// A store without upkeep.
async fn open_alone(settings: Settings) -> Store {
    let handle = Handle::current();
    let opened = tokio::task::spawn_blocking(move || open::open(&settings, handle));
    Store(opened.await.unwrap().unwrap())
}

/// A store that is as full as its limit allows, or but for a little.
async fn full(dir: &Dir) -> Store {
    let store = open_alone(dir.settings(PLENTY)).await;
    let limit = store.usage().total + store.0.ledger.sums().headroom();
    store.close().await;
    open_alone(dir.settings(limit + SIZE)).await
}

#[tokio::test]
async fn a_start_looks_at_no_blob() {
    let mut starts = Vec::new();
    for count in [FEW, MANY] {
        let dir = seeded(count).await;
        let done = Arc::<AtomicU64>::default();
        let mut settings = dir.settings(PLENTY);
        settings.faults = counting(&done);
        let store = open_alone(settings).await;
        assert_eq!(store.usage().blobs, count);
        starts.push(done.load(Ordering::Relaxed));
        let file = store.blob(&digest(count / 2)).await.unwrap().unwrap();
        assert_eq!(file.size(), SIZE);
        store.close().await;
    }
    assert_eq!(starts[0], starts[1]);
}

/// The whole way to the low watermark, a tenth of the cache, was made while a client waited for room for one blob.
#[tokio::test]
async fn room_for_a_blob_is_made_by_looking_at_as_many_others_in_a_large_cache() {
    let mut looked_at = Vec::new();
    for count in [FEW, MANY] {
        let dir = seeded(count).await;
        let store = full(&dir).await;
        let charge = store.0.reserve(4 * SIZE).await.unwrap();
        let evictions = store.usage().evictions;
        assert!((4..1_000).contains(&evictions), "{evictions}");
        looked_at.push((evictions, store.0.counts.candidates.load(Ordering::Relaxed)));
        drop(charge);
        assert_eq!(store.stat(&digest(0)).await.unwrap(), None);
        assert_eq!(store.stat(&digest(count - 1)).await.unwrap(), Some(SIZE));
        store.close().await;
    }
    assert_eq!(looked_at[0], looked_at[1]);
}

#[tokio::test]
async fn who_needs_room_while_upkeep_evicts_waits_for_one_step_of_it() {
    let dir = seeded(MANY).await;
    let store = full(&dir).await;
    let (ahead, waited) = tokio::join!(store.0.evict_ahead(), async {
        let charge = store.0.reserve(4 * SIZE).await.unwrap();
        let evictions = store.usage().evictions;
        drop(charge);
        evictions
    });
    ahead.unwrap();
    let all = store.usage().evictions;
    assert!(waited < all / 2, "{waited} of {all}");
    assert!(all > MANY / 11, "{all}");
    store.close().await;
}
