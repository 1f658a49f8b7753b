//! Partial files: what a fill goes on from, and what is not worth keeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::support::*;
use crate::store::{Fault, Faults, Op, Store};

const LIMIT: u64 = 64 * MIB;

/// Fills half of a blob, in order, and drops the writer.
async fn half(store: &Store, blob: &bytes::Bytes) {
    let length = blob.len() as u64;
    let writer = store.begin(digest(blob), Some(length)).await.unwrap();
    let (_paused, result) = write(writer, vec![piece(blob, 0..length / 2)]).await;
    result.unwrap();
}

#[tokio::test]
async fn a_fill_goes_on_where_the_one_before_it_stopped() {
    let dir = Dir::new();
    let store = dir.open(LIMIT).await;
    let blob = body(1, 10 * MIB);
    half(&store, &blob).await;
    until("the writer's files are put aside", async || {
        store.usage().partial_files == 1
    })
    .await;
    assert_eq!(store.usage().running, 0);
    assert!((5 * MIB..6 * MIB).contains(&store.usage().paused));
    let writer = store.begin(digest(&blob), None).await.unwrap();
    assert_eq!(writer.hashed(), 5 * MIB);
    assert_eq!(writer.extents().gaps(10 * MIB), vec![5 * MIB..10 * MIB]);
    drop(writer);
    store.close().await;
    let store = dir.open(LIMIT).await;
    assert_eq!(store.usage().partial_files, 1);
    let writer = store.begin(digest(&blob), Some(10 * MIB)).await.unwrap();
    assert_eq!(writer.hashed(), 5 * MIB);
    drop(writer);
    fill(&store, &blob).await.unwrap();
    assert!(has(&store, &blob).await);
    audit(&dir, &store).await;
}

#[tokio::test]
async fn a_killed_fill_goes_on_from_what_was_recorded() {
    let dir = Dir::new();
    let dead = Arc::new(AtomicBool::new(false));
    let killed = Arc::clone(&dead);
    let faults = Faults::hook(move |_, _| killed.load(Ordering::SeqCst).then_some(Fault::Fail(5)));
    let store = dir.open_with(LIMIT, faults).await;
    let blob = body(1, 10 * MIB);
    let mut writer = store.begin(digest(&blob), Some(10 * MIB)).await.unwrap();
    for at in 0..6 {
        let batch = vec![piece(&blob, at * MIB..(at + 1) * MIB)];
        writer = write(writer, batch).await.0;
    }
    // Written ahead, never hashed.
    let batch = vec![piece(&blob, 8 * MIB..9 * MIB)];
    writer = write(writer, batch).await.0;
    dead.store(true, Ordering::SeqCst);
    drop(writer);
    drop(store);
    let store = dir.open(LIMIT).await;
    let writer = store.begin(digest(&blob), Some(10 * MIB)).await.unwrap();
    assert_eq!(writer.hashed(), 6 * MIB);
    assert_eq!(
        std::fs::metadata(dir.partial(&digest(&blob)))
            .unwrap()
            .len(),
        6 * MIB
    );
    drop(writer);
    fill(&store, &blob).await.unwrap();
    audit(&dir, &store).await;
}

#[tokio::test]
async fn a_bit_that_flipped_in_a_partial_file_costs_a_fresh_start() {
    let dir = Dir::new();
    let store = dir.open(LIMIT).await;
    let blob = body(1, 4 * MIB);
    half(&store, &blob).await;
    store.close().await;
    let path = dir.partial(&digest(&blob));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 4;
    std::fs::write(&path, bytes).unwrap();

    let store = dir.open(LIMIT).await;
    let writer = store.begin(digest(&blob), Some(4 * MIB)).await.unwrap();
    assert_eq!(writer.hashed(), 2 * MIB);
    let (writer, result) = write(writer, vec![piece(&blob, 2 * MIB..4 * MIB)]).await;
    result.unwrap();
    let mismatch = writer.finish().unwrap_err();
    assert_eq!(mismatch.expected, digest(&blob));
    let writer = store.begin(digest(&blob), Some(4 * MIB)).await.unwrap();
    assert_eq!(writer.hashed(), 0);
    drop(writer);
    fill(&store, &blob).await.unwrap();
    assert!(has(&store, &blob).await);
    audit(&dir, &store).await;
}

#[tokio::test]
async fn partial_files_that_nobody_can_or_will_go_on_with_are_removed() {
    let dir = Dir::new();
    let store = dir.open(LIMIT).await;
    half(&store, &body(1, 2 * MIB)).await;
    half(&store, &body(2, 2 * MIB)).await;
    store.close().await;
    let (one, two) = (digest(&body(1, 2 * MIB)), digest(&body(2, 2 * MIB)));
    std::fs::remove_file(
        dir.path()
            .join(format!("partial/sha256-{}.state", one.hex())),
    )
    .unwrap();
    std::fs::write(dir.path().join("partial/strange"), b"?").unwrap();
    let store = dir.open(LIMIT).await;
    assert!(!dir.partial(&one).exists());
    assert!(dir.partial(&two).exists());
    assert_eq!(dir.partials().len(), 2);
    audit(&dir, &store).await;
    store.close().await;

    let mut settings = dir.settings(LIMIT);
    settings.partial_age = Duration::ZERO;
    let store = Store::open(settings).await.unwrap();
    audit(&dir, &store).await;
    assert!(dir.partials().is_empty());
}

/// A reader that is behind what an earlier writer had hashed keeps its bytes, even if how far that was could not be
/// recorded and the next writer starts from less.
#[tokio::test]
async fn what_was_hashed_stays_under_a_reader_when_its_record_is_lost() {
    let dir = Dir::new();
    let failing = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&failing);
    let faults = Faults::hook(move |op, _| {
        (op == Op::State && fails.load(Ordering::Relaxed)).then_some(Fault::Fail(5))
    });
    let store = dir.open_with(LIMIT, faults).await;
    let bytes = body(1, MIB);
    let digest = digest(&bytes);
    let writer = store.begin(digest, None).await.unwrap();
    let reader = writer.reader();
    failing.store(true, Ordering::Relaxed);
    let (writer, written) = writer.write(vec![(0, bytes.slice(..500_000))]).await;
    assert_eq!(written.unwrap().hashed, 500_000);
    drop(writer);
    let next = store.begin(digest, None).await.unwrap();
    assert_eq!(next.hashed(), 500_000, "the next writer goes on behind it");
    let end = reader.read_at(499_000, 1000).await.unwrap();
    assert_eq!(end, bytes.slice(499_000..500_000));
}
