//! The limit, while much more flows through than it allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::support::*;
use crate::store::{Store, StoreError};

/// Samples what is on disk until told to stop; returns the most it saw and how often it looked.
fn sample(dir: &Dir, store: &Store, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<(u64, u32)> {
    let path = dir.path().to_owned();
    let (store, stop) = (store.clone(), Arc::clone(stop));
    std::thread::spawn(move || {
        let (mut most, mut samples) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            most = most.max(surely_on_disk(&path));
            let usage = store.usage();
            assert!(usage.total <= usage.limit, "{usage:?}");
            samples += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
        (most, samples)
    })
}

/// Many tasks fill blobs of many sizes, ten times what fits, with pauses, drops and readers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bytes_on_disk_never_pass_the_limit_while_ten_times_as_much_flows_through() {
    const LIMIT: u64 = 40 * MIB;
    let dir = Dir::new();
    let store = dir.open(LIMIT).await;
    let stop = Arc::new(AtomicBool::new(false));
    let sampler = sample(&dir, &store, &stop);
    let mut tasks = Vec::new();
    for task in 0..8_u64 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let mut stored = 0;
            for round in 0..40_u64 {
                let seed = task * 1000 + round;
                let length = 1000 + seed.wrapping_mul(2_654_435_761) % (3 * MIB);
                let blob = body(seed, length);
                if round % 7 == 3 {
                    // Ahead of the frontier, and given up. Without a length it may not fit.
                    if let Ok(writer) = store.begin(digest(&blob), None).await {
                        let half = piece(&blob, length / 2..length);
                        drop(write(writer, vec![half]).await);
                    }
                }
                match fill(&store, &blob).await {
                    Ok(()) => stored += 1,
                    Err(StoreError::NoRoom { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
                if let Some(file) = store.blob(&digest(&blob)).await.unwrap() {
                    assert!(read(&file).await == blob[..]);
                }
            }
            stored
        }));
    }
    let mut stored = 0;
    for task in tasks {
        stored += task.await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let (most, looks) = sampler.join().unwrap();
    let usage = store.usage();
    // For who reads the output of a single run.
    println!("most {most} of {LIMIT} in {looks} looks, {stored} stored, {usage:?}");
    assert!(most <= LIMIT, "{most} bytes on disk, {LIMIT} allowed");
    assert!(most > LIMIT / 2, "the cache was hardly used");
    assert!(usage.evictions > 0);
    assert!(stored >= 300, "only {stored} of 320 were stored");
    audit(&dir, &store).await;
}

/// Each of those who had waited while another made room evicted for itself what was free by then.
#[tokio::test]
async fn who_waited_while_room_was_made_takes_it_and_evicts_nothing_more() {
    let dir = Dir::in_memory();
    let store = dir.open(20 * MIB).await;
    stop_upkeep(&store).await;
    for seed in 0..40 {
        fill(&store, &body(seed, MIB / 2)).await.unwrap();
    }
    // What is free now is less than any of these asks for.
    let sums = store.0.ledger.sums();
    let free = 20 * MIB - sums.total() - sums.headroom();
    let before = store.usage().evicted_bytes;
    let gate = store.0.room.gate.lock().await;
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let inner = Arc::clone(&store.0);
            tokio::spawn(async move { inner.reserve(free + 4096).await.unwrap() })
        })
        .collect();
    // They have found no room by now, or will find some at once.
    for _ in 0..100 {
        store.0.blocking(|_| ()).await;
    }
    drop(gate);
    let mut charges = Vec::new();
    for task in waiting {
        charges.push(task.await.unwrap());
    }
    let evicted = store.usage().evicted_bytes - before;
    let taken: u64 = charges
        .iter()
        .map(crate::store::ledger::Charge::bytes)
        .sum();
    assert!(evicted <= 3 * MIB, "{evicted} evicted for {taken}");
}
