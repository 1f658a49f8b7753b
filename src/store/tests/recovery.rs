//! Starts: what is adopted, resumed, set aside, or refused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::support::*;
use crate::store::{Fault, Faults, MIN_LIMIT, Op, OpenError, Settings, Store, Visibility};

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
        .record_link(&registry(), None, &manifest)
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
    let link = store.has_link(&registry(), &name("a/b"), &manifest).await;
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
    let link = store.has_link(&registry(), &name("a/b"), &manifest).await;
    assert_eq!(link.unwrap(), None::<Visibility>);
    audit(&dir, &store).await;
}

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

#[tokio::test]
async fn data_name_directory_and_row_become_durable_in_that_order() {
    let dir = Dir::new();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&steps);
    let faults = Faults::hook(move |op, path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        log.lock().unwrap().push((op, name));
        None
    });
    let store = dir.open_with(LIMIT, faults).await;
    let blob = body(1, 1000);
    settle(&store).await;
    let hex = digest(&blob).hex();
    fill(&store, &blob).await.unwrap();
    let steps = steps.lock().unwrap();
    let first = |op: Op, name: &str| {
        steps
            .iter()
            .position(|step| *step == (op, name.to_owned()))
            .unwrap_or_else(|| panic!("no {op:?} of {name} in {steps:?}"))
    };
    let last = |op: Op, name: &str| {
        steps
            .iter()
            .rposition(|step| *step == (op, name.to_owned()))
            .unwrap()
    };
    let partial = format!("sha256-{hex}");
    let order = [
        last(Op::Write, &partial),
        first(Op::Sync, &partial),
        first(Op::Rename, &hex),
        first(Op::SyncDir, &hex[..2]),
        last(Op::IndexSync, "index.redb"),
        last(Op::Unlink, &format!("{partial}.state")),
    ];
    assert!(order.is_sorted(), "{order:?} in {steps:?}");
    // The new directory's own name, too.
    assert!(first(Op::SyncDir, "sha256") < first(Op::SyncDir, &hex[..2]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_waits_for_the_first_to_let_go() {
    let dir = Dir::new();
    let first = dir.open(LIMIT).await;
    let blob = body(1, MIB);
    fill(&first, &blob).await.unwrap();
    let second = tokio::spawn(Store::open(dir.settings(LIMIT)));
    // A writer that is still there keeps the directory, as it would keep writing to it.
    let writer = first.begin(digest(b"x"), None).await.unwrap();
    first.close().await;
    assert!(!second.is_finished());
    drop(writer);
    let second = second.await.unwrap().unwrap();
    assert!(has(&second, &blob).await);
    assert!(first.blob(&digest(&blob)).await.is_err());
    assert!(first.begin(digest(&blob), None).await.is_err());
}

#[tokio::test]
async fn a_directory_in_use_is_refused_with_what_to_do() {
    let dir = Dir::new();
    let _first = dir.open(LIMIT).await;
    let mut settings = dir.settings(LIMIT);
    settings.lock_wait = Duration::from_millis(60);
    let error = Store::open(settings).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }));
    let text = error.to_string();
    assert!(text.contains(dir.path().to_str().unwrap()) && text.contains("cache.dir"));
}

async fn refusal(settings: Settings) -> String {
    Store::open(settings).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_refused_with_what_to_do() {
    let dir = Dir::new();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below"), "/proc/forebay".into()] {
        let text = refusal(Settings::new(&path, LIMIT)).await;
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert!(text.contains("cache.dir"), "{text}");
    }
    // Root may write anywhere, so the seam stands in for missing permissions.
    for n in 1..6 {
        let fresh = Dir::new();
        let mut settings = fresh.settings(LIMIT);
        settings.faults = Faults::nth(Op::Create, n, Fault::Fail(13));
        let text = refusal(settings).await;
        assert!(text.contains("ermission denied"), "{text}");
        assert!(text.contains(fresh.path().to_str().unwrap()), "{text}");
    }
    // Somebody's home directory must not fill up with blobs.
    let text = refusal(dir.settings(LIMIT)).await;
    assert!(
        text.contains("\"file\"") && text.contains("empty directory"),
        "{text}"
    );
    let text = refusal(Dir::new().settings(MIN_LIMIT - 1)).await;
    assert!(text.contains("cache.max_size"), "{text}");
}

#[tokio::test]
async fn a_directory_of_another_version_is_left_alone() {
    let dir = Dir::new();
    dir.open(LIMIT).await.close().await;
    std::fs::write(dir.path().join("VERSION"), "2\n").unwrap();
    let error = Store::open(dir.settings(LIMIT)).await.unwrap_err();
    assert!(matches!(error, OpenError::UnknownVersion { .. }));
    assert!(error.to_string().contains("\"2\""));
}

#[tokio::test]
async fn nobody_else_can_read_the_cache() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = Dir::new();
    let root = dir.path().join("new");
    let store = Store::open(Settings::new(&root, LIMIT)).await.unwrap();
    let blob = body(1, 100);
    fill(&store, &blob).await.unwrap();
    let mut paths = vec![root];
    while let Some(path) = paths.pop() {
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o077, 0, "{}", path.display());
        if meta.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap().flatten();
            paths.extend(entries.map(|entry| entry.path()));
        }
    }
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
