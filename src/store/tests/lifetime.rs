//! How long what is stored lasts by the clocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::support::*;
use crate::store::{Clock, Store};

const LIMIT: u64 = 24 * MIB;
const HOUR: u64 = 3_600_000;
const YEARS: u64 = 10 * 365 * 24 * HOUR;

/// A store in a directory, with both of its clocks in the test's hand.
struct Rig {
    _dir: Dir,
    wall: Arc<AtomicU64>,
    elapsed: Arc<AtomicU64>,
    store: Store,
}

impl Rig {
    async fn new() -> Self {
        let dir = Dir::in_memory();
        let wall = Arc::new(AtomicU64::new(1_700_000_000_000));
        let elapsed = Arc::new(AtomicU64::new(48 * HOUR));
        let mut settings = dir.settings(LIMIT);
        settings.clock = Clock::jumping(Arc::clone(&wall), Arc::clone(&elapsed));
        let store = Store::open(settings).await.unwrap();
        stop_upkeep(&store).await;
        Self {
            _dir: dir,
            wall,
            elapsed,
            store,
        }
    }

    fn pass(&self, millis: u64) {
        self.wall.fetch_add(millis, Ordering::Relaxed);
        self.elapsed.fetch_add(millis, Ordering::Relaxed);
    }
}

/// After a clock that was years ahead was set back, no use was recorded for years: what was hot then
/// went as if nobody used it.
#[tokio::test]
async fn uses_are_recorded_again_after_a_clock_that_was_ahead_was_set_back() {
    let rig = Rig::new().await;
    rig.wall.fetch_add(YEARS, Ordering::Relaxed);
    let hot = body(1, MIB);
    fill(&rig.store, &hot).await.unwrap();
    rig.wall.fetch_sub(YEARS, Ordering::Relaxed);
    for seed in 10..40 {
        rig.pass(HOUR);
        assert!(has(&rig.store, &hot).await, "{seed}");
        fill(&rig.store, &body(seed, MIB)).await.unwrap();
    }
}
