//! Stored blobs that the disk does not give back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::*;
use crate::store::{Fault, Faults, Op, Store};

/// A store whose disk refuses `op` on stored blobs with `errno` while the flag is set.
async fn open(dir: &Dir, op: Op, errno: i32) -> (Store, Arc<AtomicBool>) {
    let failing = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&failing);
    let faults = Faults::hook(move |asked, path| {
        let is_blob = path.components().any(|part| part.as_os_str() == "blobs");
        (asked == op && is_blob && fails.load(Ordering::Relaxed)).then_some(Fault::Fail(errno))
    });
    (dir.open_with(32 * MIB, faults).await, failing)
}

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOMEM: i32 = 12;

/// It had been passed through from upstream for each request, for as long as it stayed in the cache.
#[tokio::test]
async fn a_blob_that_cannot_be_read_is_dropped_and_can_be_filled_again() {
    let dir = Dir::new();
    let (store, failing) = open(&dir, Op::Read, EIO).await;
    let blob = body(1, MIB);
    fill(&store, &blob).await.unwrap();
    let file = store.blob(&digest(&blob)).await.unwrap().unwrap();
    failing.store(true, Ordering::Relaxed);
    assert!(file.read_at(0, 1000).await.is_err());
    until("it is dropped", async || {
        store.stat(&digest(&blob)).await.unwrap().is_none()
    })
    .await;
    failing.store(false, Ordering::Relaxed);
    // Another reader of the same file goes on, where the disk lets it.
    assert_eq!(file.read_at(0, 4).await.unwrap(), blob.slice(..4));
    fill(&store, &blob).await.unwrap();
    assert!(has(&store, &blob).await);
    drop(file);
    audit(&dir, &store).await;
}

#[tokio::test]
async fn a_blob_that_cannot_be_opened_is_dropped() {
    let dir = Dir::new();
    let (store, failing) = open(&dir, Op::Open, EIO).await;
    let blob = body(2, MIB);
    fill(&store, &blob).await.unwrap();
    failing.store(true, Ordering::Relaxed);
    assert!(store.blob(&digest(&blob)).await.unwrap().is_none());
    failing.store(false, Ordering::Relaxed);
    fill(&store, &blob).await.unwrap();
    assert!(has(&store, &blob).await);
    audit(&dir, &store).await;
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_dropped() {
    let dir = Dir::new();
    let (store, failing) = open(&dir, Op::Read, EIO).await;
    let manifest = put_manifest(&store, 1).await;
    failing.store(true, Ordering::Relaxed);
    assert_eq!(store.manifest(&manifest).await.unwrap(), None);
    failing.store(false, Ordering::Relaxed);
    put_manifest(&store, 1).await;
    assert!(store.manifest(&manifest).await.unwrap().is_some());
    audit(&dir, &store).await;
}

#[tokio::test]
async fn a_want_of_descriptors_or_memory_drops_nothing() {
    for op in [Op::Open, Op::Read] {
        for errno in [EMFILE, ENOMEM] {
            let dir = Dir::new();
            let (store, failing) = open(&dir, op, errno).await;
            let blob = body(3, MIB);
            fill(&store, &blob).await.unwrap();
            let manifest = put_manifest(&store, 1).await;
            failing.store(true, Ordering::Relaxed);
            match store.blob(&digest(&blob)).await {
                Ok(Some(file)) => assert!(file.read_at(0, 1000).await.is_err()),
                Ok(None) => panic!("{op} {errno}: dropped"),
                Err(_) => {}
            }
            assert!(store.manifest(&manifest).await.is_err(), "{op} {errno}");
            failing.store(false, Ordering::Relaxed);
            settle(&store).await;
            assert!(has(&store, &blob).await, "{op} {errno}");
            assert!(store.manifest(&manifest).await.unwrap().is_some());
        }
    }
}

/// Somebody cut it while it was open.
#[tokio::test]
async fn a_blob_that_ends_early_is_dropped() {
    let dir = Dir::new();
    let (store, _) = open(&dir, Op::Read, EIO).await;
    let blob = body(4, MIB);
    fill(&store, &blob).await.unwrap();
    let file = store.blob(&digest(&blob)).await.unwrap().unwrap();
    let path = dir.blob(&digest(&blob));
    std::fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(1000)
        .unwrap();
    assert_eq!(file.read_at(0, 2000).await.unwrap().len(), 1000);
    assert!(file.read_at(1000, 1).await.unwrap().is_empty());
    until("it is dropped", async || {
        store.stat(&digest(&blob)).await.unwrap().is_none()
    })
    .await;
    drop(file);
    // The end of a whole blob is no loss.
    fill(&store, &blob).await.unwrap();
    let file = store.blob(&digest(&blob)).await.unwrap().unwrap();
    assert!(file.read_at(MIB, 1).await.unwrap().is_empty());
    settle(&store).await;
    assert!(has(&store, &blob).await);
}
