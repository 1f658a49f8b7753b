//! What goes when room is needed, and what goes with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::support::*;
use crate::oci::Descriptor;
use crate::store::upkeep;
use crate::store::{Audience, Clock, Fault, Faults, Op, Store, StoreError, TagRecord};

const LIMIT: u64 = 12 * MIB;
const HOUR: u64 = 3_600_000;

/// A store whose clock stands still until it is told otherwise.
async fn open(dir: &Dir) -> (Store, Arc<AtomicU64>) {
    let millis = Arc::new(AtomicU64::new(1_700_000_000_000));
    let mut settings = dir.settings(LIMIT);
    settings.clock = Clock::manual(Arc::clone(&millis));
    (Store::open(settings).await.unwrap(), millis)
}

/// Which of the bodies are stored; not a use.
async fn stored(store: &Store, bodies: &[bytes::Bytes]) -> Vec<usize> {
    let mut found = Vec::new();
    for (number, body) in bodies.iter().enumerate() {
        if store.stat(&digest(body)).await.unwrap().is_some() {
            found.push(number);
        }
    }
    found
}

#[tokio::test]
async fn the_least_recently_used_goes_first() {
    let dir = Dir::new();
    let (store, millis) = open(&dir).await;
    let bodies: Vec<_> = (0..6).map(|seed| body(seed, 2 * MIB)).collect();
    for body in &bodies[..4] {
        fill(&store, body).await.unwrap();
        millis.fetch_add(1000, Ordering::Relaxed);
    }
    // A use within the hour is not recorded; one after it is.
    has(&store, &bodies[1]).await;
    millis.fetch_add(2 * HOUR, Ordering::Relaxed);
    has(&store, &bodies[0]).await;
    fill(&store, &bodies[4]).await.unwrap();
    fill(&store, &bodies[5]).await.unwrap();
    let left = stored(&store, &bodies).await;
    assert!(!left.contains(&1) && left.contains(&0), "{left:?}");
    assert!(left.contains(&4) && left.contains(&5), "{left:?}");
    assert!(store.usage().evictions >= 1);
    drop(store);
    // The order survives a restart.
    let (store, _) = open(&dir).await;
    fill(&store, &body(6, 4 * MIB)).await.unwrap();
    let left = stored(&store, &bodies).await;
    assert!(!left.contains(&2) && left.contains(&5), "{left:?}");
    audit(&dir, &store).await;
}

#[tokio::test]
async fn a_reader_keeps_what_it_reads() {
    let dir = Dir::new();
    let (store, _) = open(&dir).await;
    let bodies: Vec<_> = (0..8).map(|seed| body(seed, 2 * MIB)).collect();
    fill(&store, &bodies[0]).await.unwrap();
    let reading = store.blob(&digest(&bodies[0])).await.unwrap().unwrap();
    for body in &bodies[1..] {
        fill(&store, body).await.unwrap();
    }
    assert!(read(&reading).await == bodies[0][..]);
    assert_eq!(stored(&store, &bodies[..2]).await, [0]);
    drop(reading);
    fill(&store, &body(9, 2 * MIB)).await.unwrap();
    fill(&store, &body(10, 2 * MIB)).await.unwrap();
    assert_eq!(stored(&store, &bodies[..2]).await, [0; 0]);
    audit(&dir, &store).await;
}

#[tokio::test]
async fn a_running_writer_is_never_evicted_and_a_paused_one_is() {
    let dir = Dir::new();
    let (store, _) = open(&dir).await;
    let (running, paused) = (body(1, 3 * MIB), body(2, 3 * MIB));
    let writer = store.begin(digest(&running), Some(3 * MIB)).await.unwrap();
    let (writer, result) = write(writer, vec![piece(&running, 0..MIB)]).await;
    result.unwrap();
    let other = store.begin(digest(&paused), Some(3 * MIB)).await.unwrap();
    let (other, result) = write(other, vec![piece(&paused, 0..2 * MIB)]).await;
    result.unwrap();
    drop(other);
    for seed in 10..20 {
        fill(&store, &body(seed, 2 * MIB)).await.unwrap();
    }
    assert!(!dir.partial(&digest(&paused)).exists());
    let (writer, result) = write(writer, vec![piece(&running, MIB..3 * MIB)]).await;
    result.unwrap();
    let (verified, complete) = writer.finish().unwrap();
    complete.commit(verified).await.unwrap();
    assert!(has(&store, &running).await);
    audit(&dir, &store).await;
}

#[tokio::test]
async fn what_can_never_fit_is_refused_without_evicting_anything() {
    let dir = Dir::new();
    let (store, _) = open(&dir).await;
    let small = body(1, MIB);
    fill(&store, &small).await.unwrap();
    let refused = store.begin(digest(b"huge"), Some(LIMIT)).await;
    assert!(matches!(refused, Err(StoreError::NoRoom { .. })));
    assert!(refused.unwrap_err().is_full());
    let refused = store.begin(digest(b"absurd"), Some(u64::MAX)).await;
    assert!(matches!(refused, Err(StoreError::NoRoom { .. })));
    assert!(has(&store, &small).await);
    assert_eq!(store.usage().no_room, 2);
    audit(&dir, &store).await;
}

#[tokio::test]
async fn a_blob_of_unknown_length_stops_at_the_limit_and_keeps_what_it_has() {
    let dir = Dir::new();
    let (store, _) = open(&dir).await;
    let blob = body(1, 16 * MIB);
    let mut writer = store.begin(digest(&blob), None).await.unwrap();
    let reader = writer.reader();
    let mut at = 0;
    let error = loop {
        let (next, result) = write(writer, vec![piece(&blob, at..at + MIB)]).await;
        writer = next;
        match result {
            Ok(()) => at += MIB,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::NoRoom { .. }), "{error:?}");
    assert_eq!(writer.hashed(), at);
    assert!(at >= 7 * MIB, "{at}");
    assert_eq!(reader.read_at(at - 4, 10).await.unwrap().len(), 4);
    writer.discard().await;
    drop(reader);
    until("its bytes are free", async || store.usage().unlinked == 0).await;
    fill(&store, &body(2, 4 * MIB)).await.unwrap();
    audit(&dir, &store).await;
}

#[tokio::test]
async fn a_length_that_becomes_known_makes_the_reservation_exact() {
    let dir = Dir::new();
    let (store, _) = open(&dir).await;
    let blob = body(1, MIB);
    let writer = store.begin(digest(&blob), None).await.unwrap();
    assert!(store.usage().running < MIB);
    let (mut writer, result) = write(writer, vec![piece(&blob, 0..MIB / 2)]).await;
    result.unwrap();
    writer.set_size(MIB).await.unwrap();
    assert!(store.usage().running < MIB + MIB / 8);
    let beyond = writer.set_size(LIMIT).await;
    assert!(matches!(beyond, Err(StoreError::NoRoom { .. })));
    let (mut writer, result) = writer.write(vec![(MIB - 1, blob.slice(..2))]).await;
    assert!(matches!(result, Err(StoreError::BeyondSize { .. })));
    let (next, result) = writer.write(vec![piece(&blob, 0..MIB)]).await;
    writer = next;
    result.unwrap();
    let short = writer.set_size(10).await;
    assert!(matches!(short, Err(StoreError::BeyondSize { .. })));
    writer.discard().await;
    audit(&dir, &store).await;
}

#[tokio::test]
async fn a_removed_file_is_charged_until_its_last_reader_goes() {
    let dir = Dir::new();
    let (store, _) = open(&dir).await;
    let wrong = body(1, 6 * MIB);
    let writer = store.begin(digest(b"other"), Some(6 * MIB)).await.unwrap();
    let (writer, result) = write(writer, vec![(0, wrong.clone())]).await;
    result.unwrap();
    let follower = writer.reader();
    assert!(writer.finish().is_err());
    until("the file is removed", async || dir.partials().is_empty()).await;
    assert!(store.usage().unlinked > 6 * MIB);
    assert_eq!(follower.read_at(5 * MIB, 4).await.unwrap().len(), 4);
    let refused = store.begin(digest(b"more"), Some(6 * MIB)).await;
    assert!(matches!(refused, Err(StoreError::NoRoom { .. })));
    drop(follower);
    until("its bytes are free", async || store.usage().unlinked == 0).await;
    fill(&store, &body(2, 6 * MIB)).await.unwrap();
    audit(&dir, &store).await;
}

#[tokio::test]
async fn links_and_tags_go_with_their_blob() {
    let dir = Dir::new();
    let (store, millis) = open(&dir).await;
    let manifest = put_manifest(&store, 1).await;
    let kept = put_manifest(&store, 2).await;
    for digest in [&manifest, &kept] {
        for name in ["a/b", "c/d", "e/f"].map(name) {
            store
                .record_link(&registry(), Some(&name), digest, Audience::Everyone)
                .await
                .unwrap();
        }
    }
    let record = |digest| TagRecord {
        descriptor: Descriptor::new(crate::oci::media_type::OCI_MANIFEST, digest, 10),
        confirmed_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        refused: false,
        audience: Audience::Everyone,
    };
    let (here, old, new) = (repository("a/b"), tag("old"), tag("new"));
    store.put_tag(&here, &old, record(manifest)).await.unwrap();
    store.put_tag(&here, &new, record(manifest)).await.unwrap();
    // A tag that moved goes with what it means now.
    store.put_tag(&here, &new, record(kept)).await.unwrap();
    // One whose manifest is not stored does not move.
    let elsewhere = record(digest(b"elsewhere"));
    store.put_tag(&here, &new, elsewhere).await.unwrap();
    assert_eq!(store.tag(&here, &new).await.unwrap(), Some(record(kept)));
    assert_eq!((store.usage().links, store.usage().tags), (6, 2));

    millis.fetch_add(2 * HOUR, Ordering::Relaxed);
    assert!(store.manifest(&kept).await.unwrap().is_some());
    for seed in 10..18 {
        fill(&store, &body(seed, 2 * MIB)).await.unwrap();
        millis.fetch_add(2 * HOUR, Ordering::Relaxed);
        assert!(store.manifest(&kept).await.unwrap().is_some());
    }
    assert_eq!(store.stat(&manifest).await.unwrap(), None);
    assert_eq!(store.tag(&here, &old).await.unwrap(), None);
    assert_eq!(store.tag(&here, &new).await.unwrap(), Some(record(kept)));
    let link = store
        .has_link(&registry(), &name("a/b"), &manifest, Audience::Everyone)
        .await;
    assert_eq!(link.unwrap(), None);
    assert_eq!((store.usage().links, store.usage().tags), (3, 1));
    audit(&dir, &store).await;
}

#[tokio::test]
async fn links_of_what_never_came_go_with_the_sweep() {
    let dir = Dir::new();
    let (store, millis) = open(&dir).await;
    let manifest = put_manifest(&store, 1).await;
    let coming = body(1, MIB);
    let writer = store.begin(digest(&coming), Some(MIB)).await.unwrap();
    store
        .record_link(&registry(), None, &manifest, Audience::Everyone)
        .await
        .unwrap();
    store
        .record_link(&registry(), None, &digest(&coming), Audience::Everyone)
        .await
        .unwrap();
    for number in 0..30_u32 {
        let never = digest(&number.to_le_bytes());
        store
            .record_link(&registry(), None, &never, Audience::Everyone)
            .await
            .unwrap();
    }
    let sweep = async || {
        let mut all = upkeep::Upkeep::new();
        upkeep::round(&store.0, &mut all).await.unwrap();
        store.usage().links
    };
    // Their fills may be about to start.
    assert_eq!(sweep().await, 32);
    millis.fetch_add(2 * HOUR, Ordering::Relaxed);
    assert_eq!(sweep().await, 2);
    drop(writer);
}

#[tokio::test]
async fn the_space_to_leave_free_is_left_free() {
    let dir = Dir::new();
    let mut settings = dir.settings(LIMIT);
    settings.min_free = u64::MAX / 4;
    let store = Store::open(settings).await.unwrap();
    let refused = fill(&store, &body(1, 1000)).await;
    assert!(matches!(refused, Err(StoreError::NoRoom { .. })));
}

#[tokio::test]
async fn a_smaller_limit_evicts_what_no_longer_fits() {
    let dir = Dir::new();
    let store = dir.open(40 * MIB).await;
    let bodies: Vec<_> = (0..15).map(|seed| body(seed, 2 * MIB)).collect();
    for body in &bodies {
        fill(&store, body).await.unwrap();
    }
    store.close().await;
    let store = dir.open(LIMIT).await;
    settle(&store).await;
    let usage = store.usage();
    assert!(usage.total <= LIMIT, "{usage:?}");
    let left = stored(&store, &bodies).await;
    assert!(left.contains(&14) && !left.contains(&0), "{left:?}");
    audit(&dir, &store).await;
}

#[tokio::test]
async fn a_full_index_disk_does_not_stop_eviction_from_freeing_space() {
    let dir = Dir::new();
    let full = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asked = Arc::clone(&full);
    let faults = Faults::hook(move |op, _| {
        let is_index = matches!(op, Op::IndexWrite | Op::IndexResize);
        (is_index && asked.load(Ordering::SeqCst)).then_some(Fault::Fail(28))
    });
    let store = dir.open_with(LIMIT, faults).await;
    for seed in 0..4 {
        fill(&store, &body(seed, 2 * MIB)).await.unwrap();
    }
    full.store(true, Ordering::SeqCst);
    let before = surely_on_disk(dir.path());
    let refused = fill(&store, &body(9, 4 * MIB)).await;
    assert!(refused.unwrap_err().is_full());
    assert!(surely_on_disk(dir.path()) < before);
    full.store(false, Ordering::SeqCst);
    until("the index works again", async || {
        fill(&store, &body(9, 4 * MIB)).await.is_ok()
    })
    .await;
    assert!(has(&store, &body(9, 4 * MIB)).await);
    audit(&dir, &store).await;
}

#[tokio::test]
async fn what_nobody_waits_for_leaves_nothing_behind() {
    let dir = Dir::new();
    let (store, _) = open(&dir).await;
    // Those of this cache alone: other tests run in the same process.
    let descriptors = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        all.filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .filter(|file| file.starts_with(dir.path()))
            .count()
    };
    fill(&store, &body(0, 1000)).await.unwrap();
    let before = descriptors();
    assert!(before > 0, "its own files are seen");
    for round in 0..40_u64 {
        let blob = body(100 + round, 300_000);
        let wait = Duration::from_micros(round * 50);
        let _ = tokio::time::timeout(wait, fill(&store, &blob)).await;
        let _ = tokio::time::timeout(wait, store.begin(digest(&blob), None)).await;
    }
    audit(&dir, &store).await;
    store.0.open.clear();
    assert!(descriptors() <= before, "{} {before}", descriptors());
}

/// A full cache, and an index that has to grow: it takes the space from the blobs, and the limit
/// holds at every step of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_grows_at_the_expense_of_the_blobs() {
    let dir = Dir::in_memory();
    let (store, _) = open(&dir).await;
    for seed in 0..40 {
        fill(&store, &body(seed, MIB / 4)).await.unwrap();
    }
    let stored: Vec<_> = stored_files(&dir).into_iter().map(|(d, _)| d).collect();
    let before = store.usage().index;
    let mut failed = 0;
    for round in 0..40_u64 {
        let record = async |number: u64| {
            let digest = &stored[usize::try_from(number).unwrap() % stored.len()];
            let name = name(&format!("some/long/name/of/a/repository/{round}/{number}"));
            store
                .record_link(&registry(), Some(&name), digest, Audience::Everyone)
                .await
        };
        let all = futures_util::future::join_all((0..200).map(record)).await;
        failed += all.iter().filter(|result| result.is_err()).count();
        let usage = store.usage();
        assert!(usage.total <= LIMIT, "{usage:?}");
        let real = surely_on_disk(dir.path());
        assert!(real <= LIMIT, "{real} bytes on disk, {usage:?}");
    }
    let usage = store.usage();
    assert!(usage.index > before, "{before} {usage:?}");
    assert!(failed < 1000, "{failed} of 8000 links failed");
    audit(&dir, &store).await;
}
