//! How long what a served manifest refers to stays, and what makes it go all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::support::*;
use crate::store::{Clock, Store, upkeep};

const LIMIT: u64 = 24 * MIB;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const YEARS: u64 = 10 * 365 * 24 * HOUR;

/// A store in a directory, with both of its clocks in the test's hand.
struct Rig {
    dir: Dir,
    wall: Arc<AtomicU64>,
    elapsed: Arc<AtomicU64>,
    store: Store,
    floods: u64,
}

impl Rig {
    async fn new() -> Self {
        let dir = Dir::in_memory();
        let wall = Arc::new(AtomicU64::new(1_700_000_000_000));
        let elapsed = Arc::new(AtomicU64::new(48 * HOUR));
        let store = open(&dir, &wall, &elapsed).await;
        Self {
            dir,
            wall,
            elapsed,
            store,
            floods: 0,
        }
    }

    fn pass(&self, millis: u64) {
        self.wall.fetch_add(millis, Ordering::Relaxed);
        self.elapsed.fetch_add(millis, Ordering::Relaxed);
    }

    async fn restart(&mut self) {
        self.store.close().await;
        self.store = open(&self.dir, &self.wall, &self.elapsed).await;
    }

    /// More than the cache can hold goes through it, none of it seen before.
    async fn flood(&mut self) {
        self.floods += 1;
        for seed in 0..30 {
            let blob = body(1_000_000 + 1000 * self.floods + seed, MIB);
            fill(&self.store, &blob).await.unwrap();
        }
    }

    async fn upkeep(&self) {
        let mut all = upkeep::Upkeep::new();
        upkeep::round(&self.store.0, &mut all).await.unwrap();
    }
}

async fn open(dir: &Dir, wall: &Arc<AtomicU64>, elapsed: &Arc<AtomicU64>) -> Store {
    let mut settings = dir.settings(LIMIT);
    settings.clock = Clock::jumping(Arc::clone(wall), Arc::clone(elapsed));
    let store = Store::open(settings).await.unwrap();
    stop_upkeep(&store).await;
    store
}

/// Layers of 1 MiB.
fn layers(seed: u64, count: u64) -> Vec<Bytes> {
    (0..count).map(|n| body(100 * seed + n, MIB)).collect()
}

fn image(seed: u64, count: u64) -> Image {
    Image::new(&layers(seed, count))
}

/// The manifest of an image that was pulled a moment ago was served from memory, and its layers had
/// been pushed out by a job that pulled a dozen others.
#[tokio::test]
async fn what_a_served_manifest_refers_to_outlives_a_flood_within_the_hour() {
    let mut rig = Rig::new().await;
    let kept = image(1, 8);
    kept.pull(&rig.store).await;
    rig.pass(59 * MINUTE);
    rig.flood().await;
    assert_eq!(kept.missing(&rig.store).await, []);
    let usage = rig.store.usage();
    assert!(usage.evictions > 0 && usage.guarded >= 8 * MIB, "{usage:?}");
    assert_eq!(usage.guarded_evictions, 0, "{usage:?}");
    // Served again, it has another hour.
    kept.serve(&rig.store);
    rig.pass(59 * MINUTE);
    rig.flood().await;
    assert_eq!(kept.missing(&rig.store).await, []);
    // Not served any more, it goes like everything else.
    rig.pass(3 * MINUTE);
    rig.flood().await;
    assert_eq!(kept.missing(&rig.store).await.len(), 9);
    audit(&rig.dir, &rig.store).await;
}

#[tokio::test]
async fn a_layer_that_is_committed_after_its_manifest_was_served_is_guarded_at_once() {
    let mut rig = Rig::new().await;
    let kept = image(1, 6);
    kept.serve(&rig.store);
    rig.flood().await;
    kept.put(&rig.store).await;
    for layer in &kept.layers {
        fill(&rig.store, layer).await.unwrap();
        rig.flood().await;
    }
    assert_eq!(kept.missing(&rig.store).await, []);
}

#[tokio::test]
async fn beyond_four_fifths_what_was_served_longest_ago_lapses_first() {
    let mut rig = Rig::new().await;
    let images: Vec<Image> = (1..=4).map(|seed| image(seed, 6)).collect();
    for image in &images {
        image.pull(&rig.store).await;
        rig.pass(MINUTE);
    }
    images[1].serve(&rig.store);
    for layer in &images[1].layers {
        fill(&rig.store, layer).await.unwrap();
    }
    rig.flood().await;
    let mut missing = Vec::new();
    for image in &images {
        missing.push(image.missing(&rig.store).await.len());
    }
    // Two and a half images are four fifths; the third and the fourth were served last but one.
    assert_eq!(missing, [7, 0, 7, 0]);
    let usage = rig.store.usage();
    assert!(usage.guarded <= LIMIT / 5 * 4, "{usage:?}");
}

#[tokio::test]
async fn an_image_that_is_larger_than_four_fifths_takes_nothing_from_the_others() {
    let mut rig = Rig::new().await;
    let (small, huge) = (image(1, 4), image(2, 18));
    small.pull(&rig.store).await;
    rig.pass(MINUTE);
    huge.pull(&rig.store).await;
    rig.flood().await;
    assert_eq!(small.missing(&rig.store).await, []);
    assert!(!huge.is_whole(&rig.store).await);
}

#[tokio::test]
async fn a_layer_of_two_images_stays_as_long_as_either_is_served() {
    let mut rig = Rig::new().await;
    let shared = layers(1, 3);
    let first = Image::new(&[shared.clone(), layers(2, 1)].concat());
    let second = Image::new(&[shared.clone(), layers(3, 1)].concat());
    first.pull(&rig.store).await;
    rig.pass(40 * MINUTE);
    second.pull(&rig.store).await;
    rig.pass(40 * MINUTE);
    rig.flood().await;
    assert_eq!(second.missing(&rig.store).await, []);
    assert_eq!(first.missing(&rig.store).await.len(), 2);
}

/// Refusing would leave every client of the new blob to fetch it on its own.
#[tokio::test]
async fn room_that_only_guarded_images_can_make_is_made_with_the_oldest_of_them() {
    let rig = Rig::new().await;
    let (older, newer) = (image(1, 8), image(2, 7));
    older.pull(&rig.store).await;
    rig.pass(MINUTE);
    newer.pull(&rig.store).await;
    let large = body(9, 8 * MIB);
    fill(&rig.store, &large).await.unwrap();
    assert!(has(&rig.store, &large).await);
    assert_eq!(newer.missing(&rig.store).await, []);
    let missing = older.missing(&rig.store).await;
    assert!(!missing.is_empty() && !missing.contains(&older.manifest));
    let usage = rig.store.usage();
    assert_eq!(usage.guarded_evictions, missing.len() as u64);
    // No more than was needed: what is left would not take another layer.
    let sums = rig.store.0.ledger.sums();
    assert!(
        sums.total() + sums.headroom() + MIB + MIB / 2 > LIMIT,
        "{usage:?}"
    );
    audit(&rig.dir, &rig.store).await;
}

#[tokio::test]
async fn eviction_ahead_of_time_leaves_guarded_images_alone() {
    let rig = Rig::new().await;
    let kept = image(1, 14);
    kept.pull(&rig.store).await;
    // What is being written takes the cache over its high watermark, and nothing else can go.
    let writer = rig
        .store
        .begin(digest(b"large"), Some(7 * MIB + MIB / 2))
        .await;
    let writer = writer.unwrap();
    assert!(crate::store::room::is_crowded(&rig.store.0.ledger));
    rig.upkeep().await;
    rig.pass(5 * MINUTE);
    rig.upkeep().await;
    assert_eq!(kept.missing(&rig.store).await, []);
    drop(writer);
}

/// Nodes that had the base layers asked only for the manifest, for weeks, while the base layers grew
/// old in the order of eviction. They went first, and the next new node met a hole.
#[tokio::test]
async fn serving_a_manifest_is_a_use_of_what_it_refers_to() {
    let mut rig = Rig::new().await;
    let warm = image(1, 4);
    warm.pull(&rig.store).await;
    for seed in 10..14 {
        rig.pass(2 * HOUR);
        image(seed, 2).pull(&rig.store).await;
        warm.serve(&rig.store);
    }
    // Nothing is guarded any more.
    rig.pass(2 * HOUR);
    for seed in 20..33 {
        fill(&rig.store, &body(seed, MIB)).await.unwrap();
    }
    let mut left = Vec::new();
    for seed in 10..14 {
        left.push(image(seed, 2).is_whole(&rig.store).await);
    }
    assert!(!left[0], "nothing had to go");
    assert_eq!(warm.missing(&rig.store).await, []);
    // And after the next start too.
    rig.restart().await;
    rig.pass(2 * HOUR);
    fill(&rig.store, &body(40, 3 * MIB)).await.unwrap();
    assert!(!image(12, 2).is_whole(&rig.store).await);
    assert_eq!(warm.missing(&rig.store).await, []);
}

/// A rolling restart in the midst of a pull.
#[tokio::test]
async fn what_was_served_within_the_hour_is_guarded_after_a_restart() {
    let mut rig = Rig::new().await;
    let (kept, old) = (image(1, 5), image(2, 5));
    old.pull(&rig.store).await;
    rig.pass(3 * HOUR);
    kept.pull(&rig.store).await;
    // Not recorded as a use: the last one is not an hour old.
    rig.pass(50 * MINUTE);
    kept.serve(&rig.store);
    fill(&rig.store, &body(7, MIB)).await.unwrap();
    rig.pass(50 * MINUTE);
    rig.restart().await;
    rig.flood().await;
    assert_eq!(kept.missing(&rig.store).await, []);
    assert_eq!(old.missing(&rig.store).await.len(), 6);
    // For an hour, not for ever.
    rig.pass(62 * MINUTE);
    rig.flood().await;
    assert_eq!(kept.missing(&rig.store).await.len(), 6);
}

/// The clock is set by NTP after the start, or was wrong for a while.
#[tokio::test]
async fn no_jump_of_the_wall_clock_ends_the_hour_or_makes_it_last() {
    for jump in [HOUR.cast_signed(), YEARS.cast_signed()] {
        for jump in [jump, -jump] {
            let mut rig = Rig::new().await;
            let kept = image(1, 6);
            kept.pull(&rig.store).await;
            let set = |rig: &Rig| {
                let wall = rig.wall.load(Ordering::Relaxed);
                let wall = wall.saturating_add_signed(jump);
                rig.wall.store(wall, Ordering::Relaxed);
            };
            set(&rig);
            rig.flood().await;
            assert_eq!(kept.missing(&rig.store).await, [], "{jump}");
            rig.pass(55 * MINUTE);
            rig.flood().await;
            assert_eq!(kept.missing(&rig.store).await, [], "{jump}");
            // While nobody runs.
            kept.serve(&rig.store);
            rig.store.close().await;
            set(&rig);
            rig.store = open(&rig.dir, &rig.wall, &rig.elapsed).await;
            rig.flood().await;
            assert_eq!(kept.missing(&rig.store).await, [], "{jump}, restarted");
            rig.pass(62 * MINUTE);
            rig.flood().await;
            assert_eq!(kept.missing(&rig.store).await.len(), 7, "{jump}, later");
        }
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
