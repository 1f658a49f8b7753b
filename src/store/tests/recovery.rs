//! Starts: what is adopted, resumed, set aside, or refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::*;
use crate::store::{Audience, Fault, Faults, Op, Visibility};

const LIMIT: u64 = 64 * MIB;

/// Stores two blobs and a manifest with a link, and closes.
async fn populate(dir: &Dir) -> (Vec<bytes::Bytes>, crate::oci::Digest) {
    let store = dir.open(LIMIT).await;
    let blobs = vec![body(1, MIB), body(2, 100)];
    for blob in &blobs {
        fill(&store, blob).await.unwrap();
    }
    let manifest = put_manifest(&store, 9).await;
    store
        .record_link(&registry(), None, &manifest, Audience::Everyone)
        .await
        .unwrap();
    store.close().await;
    (blobs, manifest)
}

async fn is_rebuilt(dir: &Dir, set_aside: usize) {
    let blobs = [body(1, MIB), body(2, 100)];
    let store = dir.open(LIMIT).await;
    // At once, while the sweep may not have come by.
    fill(&store, &body(3, 5000)).await.unwrap();
    audit(dir, &store).await;
    for blob in &blobs {
        assert!(has(&store, blob).await);
    }
    let (bytes, media_type) = manifest(9);
    let manifest = digest(&bytes);
    let found = store.manifest(&manifest).await.unwrap();
    assert_eq!(found, Some((media_type, bytes)));
    // Rights do not come back with the bytes.
    let link = store
        .has_link(&registry(), &name("a/b"), &manifest, Audience::Everyone)
        .await;
    assert_eq!(link.unwrap(), None);
    assert_eq!(store.usage().adopted, 3);
    let aside = std::fs::read_dir(dir.path())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("broken"))
        .count();
    assert_eq!(aside, set_aside);
}

#[tokio::test]
async fn a_missing_index_is_rebuilt_by_hashing() {
    let dir = Dir::new();
    populate(&dir).await;
    std::fs::remove_file(dir.path().join("index.redb")).unwrap();
    is_rebuilt(&dir, 0).await;
}

#[tokio::test]
async fn a_broken_index_is_set_aside_and_rebuilt() {
    let damages: [fn(&std::path::Path); 4] = [
        |path| std::fs::write(path, "garbage").unwrap(),
        |path| std::fs::write(path, vec![0xa5; 300_000]).unwrap(),
        |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        },
        |path| {
            // The head is right, and everything it points at is noise.
            let mut bytes = std::fs::read(path).unwrap();
            bytes[4096..].fill(0x5a);
            std::fs::write(path, bytes).unwrap();
        },
    ];
    for damage in damages {
        let dir = Dir::new();
        populate(&dir).await;
        damage(&dir.path().join("index.redb"));
        is_rebuilt(&dir, 1).await;
    }
}

#[tokio::test]
async fn few_broken_indexes_are_kept() {
    let dir = Dir::new();
    populate(&dir).await;
    for _ in 0..5 {
        std::fs::write(dir.path().join("index.redb"), "garbage").unwrap();
        let store = dir.open(LIMIT).await;
        audit(&dir, &store).await;
        store.close().await;
    }
    let mut names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.contains("broken"))
        .collect();
    names.sort();
    assert_eq!(names, ["index.redb.broken-4", "index.redb.broken-5"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_breaks_while_running_is_replaced_and_rebuilt() {
    let dir = Dir::new();
    populate(&dir).await;
    let broken = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&broken);
    // Until it is renamed, the file cannot be read any more.
    let faults = Faults::hook(move |op, path| match op {
        Op::Rename if path.to_string_lossy().contains("broken") => {
            asked.store(false, Ordering::SeqCst);
            None
        }
        Op::IndexRead | Op::IndexWrite if asked.load(Ordering::SeqCst) => Some(Fault::Fail(5)),
        _ => None,
    });
    let store = dir.open_with(LIMIT, faults).await;
    settle(&store).await;
    broken.store(true, Ordering::SeqCst);
    // Errors, or a miss; no wrong answer. Then it heals by itself.
    let _ = fill(&store, &body(4, 1000)).await;
    until("the index is replaced", async || {
        let healed = !broken.load(Ordering::SeqCst) && store.writable().await.is_ok();
        if !healed {
            let _ = fill(&store, &body(4, 1000)).await;
        }
        healed
    })
    .await;
    audit(&dir, &store).await;
    assert!(has(&store, &body(1, MIB)).await);
    assert!(has(&store, &body(2, 100)).await);
    fill(&store, &body(5, 1000)).await.unwrap();
    audit(&dir, &store).await;
}

#[tokio::test]
async fn after_a_lost_index_a_request_adopts_its_blob_without_waiting_for_the_sweep() {
    let dir = Dir::new();
    populate(&dir).await;
    std::fs::remove_file(dir.path().join("index.redb")).unwrap();
    let store = dir.open(LIMIT).await;
    store.0.stop.cancel();
    store.0.counted.send_replace(true);
    let blob = body(1, MIB);
    // As the mirror would: no row, so begin to fill; and there is nothing to fill.
    fill(&store, &blob).await.unwrap();
    assert!(has(&store, &blob).await);
    assert_eq!(store.usage().no_room, 0);
}

#[tokio::test]
async fn files_that_are_not_what_they_say_are_removed_by_the_sweep() {
    let dir = Dir::new();
    populate(&dir).await;
    let liar = body(50, 1000);
    let path = dir.blob(&digest(&liar));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, b"not that").unwrap();
    std::fs::write(path.with_file_name("README"), b"hello").unwrap();
    // A good one that nobody told the index of.
    let orphan = body(51, 1000);
    let good = dir.blob(&digest(&orphan));
    std::fs::create_dir_all(good.parent().unwrap()).unwrap();
    std::fs::write(&good, &orphan).unwrap();
    // A row without a file, and one whose file was cut.
    std::fs::remove_file(dir.blob(&digest(&body(1, MIB)))).unwrap();
    std::fs::write(dir.blob(&digest(&body(2, 100))), b"short").unwrap();

    let store = dir.open(LIMIT).await;
    assert!(!has(&store, &body(1, MIB)).await);
    assert!(!has(&store, &body(2, 100)).await);
    audit(&dir, &store).await;
    assert!(!path.exists() && !path.with_file_name("README").exists());
    assert!(!has(&store, &liar).await);
    assert!(has(&store, &orphan).await);
    for blob in [body(1, MIB), body(2, 100), liar] {
        fill(&store, &blob).await.unwrap();
        assert!(has(&store, &blob).await);
    }
    audit(&dir, &store).await;
}

/// It stopped every sweep at its place, for good.
#[tokio::test]
async fn an_orphan_that_cannot_be_read_does_not_stop_the_sweep() {
    let dir = Dir::new();
    populate(&dir).await;
    std::fs::remove_file(dir.path().join("index.redb")).unwrap();
    let bad = dir.blob(&digest(&body(2, 100)));
    let broken = bad.clone();
    let faults =
        Faults::hook(move |op, path| (op == Op::Read && path == broken).then_some(Fault::Fail(5)));
    let store = dir.open_with(LIMIT, faults).await;
    audit(&dir, &store).await;
    assert!(!bad.exists());
    assert!(has(&store, &body(1, MIB)).await);
    assert_eq!(store.usage().blobs, 2);
}

#[tokio::test]
async fn a_blob_that_cannot_be_read_can_be_removed_under_its_readers() {
    let dir = Dir::new();
    populate(&dir).await;
    let store = dir.open(LIMIT).await;
    let blob = body(1, MIB);
    let reading = store.blob(&digest(&blob)).await.unwrap().unwrap();
    store.remove(&digest(&blob)).await.unwrap();
    assert!(store.blob(&digest(&blob)).await.unwrap().is_none());
    assert_eq!(store.stat(&digest(&blob)).await.unwrap(), None);
    assert!(read(&reading).await == blob[..]);
    assert!(store.usage().unlinked > 0);
    fill(&store, &blob).await.unwrap();
    assert!(has(&store, &blob).await);
    assert!(read(&reading).await == blob[..]);
    drop(reading);
    audit(&dir, &store).await;
}

#[tokio::test]
async fn a_manifest_that_rotted_is_not_served() {
    let dir = Dir::new();
    let (_, manifest) = populate(&dir).await;
    let mut bytes = std::fs::read(dir.blob(&manifest)).unwrap();
    bytes[20] ^= 1;
    std::fs::write(dir.blob(&manifest), bytes).unwrap();
    let store = dir.open(LIMIT).await;
    assert_eq!(store.manifest(&manifest).await.unwrap(), None);
    settle(&store).await;
    assert_eq!(store.stat(&manifest).await.unwrap(), None);
    assert_eq!(put_manifest(&store, 9).await, manifest);
    assert!(store.manifest(&manifest).await.unwrap().is_some());
    let link = store
        .has_link(&registry(), &name("a/b"), &manifest, Audience::Everyone)
        .await;
    assert_eq!(link.unwrap(), None::<Visibility>);
    audit(&dir, &store).await;
}
