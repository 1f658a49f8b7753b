//! Crashes and faults at every step of a scenario that touches everything.
//!
//! After each: nothing corrupt is served, nothing leaks, and the next fill succeeds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;

use super::support::*;
use crate::oci::Descriptor;
use crate::store::{Audience, Fault, Faults, Op, Store, StoreError, TagRecord};

const LIMIT: u64 = 9 * MIB;
const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EMFILE: i32 = 24;

fn bodies() -> Vec<Bytes> {
    (0..4).map(|seed| body(seed, 2 * MIB + seed)).collect()
}

/// A fill in order, one out of order that is paused and resumed, a mismatch, a manifest with links
/// and a tag, and enough of it that something is evicted. Errors are what a mirror would shrug off.
async fn scenario(store: &Store) {
    let bodies = bodies();
    let _ = fill(store, &bodies[0]).await;
    let _ = out_of_order(store, &bodies[1]).await;
    let _ = fill(store, &bodies[1]).await;
    let _ = mismatch(store).await;
    let _ = facts(store).await;
    let _ = fill(store, &bodies[2]).await;
    let _ = fill(store, &bodies[3]).await;
    for blob in &bodies {
        if let Ok(Some(file)) = store.blob(&digest(blob)).await {
            let mut at = 0;
            while let Ok(chunk) = file.read_at(at, 1 << 20).await
                && !chunk.is_empty()
            {
                let range = usize::try_from(at).unwrap()..;
                assert!(blob[range].starts_with(&chunk), "wrong bytes were served");
                at += chunk.len() as u64;
            }
        }
    }
}

async fn out_of_order(store: &Store, blob: &Bytes) -> Result<(), StoreError> {
    let length = blob.len() as u64;
    let writer = store.begin(digest(blob), None).await?;
    let (writer, result) = write(writer, vec![piece(blob, MIB..length)]).await;
    result?;
    let (writer, result) = write(writer, vec![piece(blob, 0..MIB / 2)]).await;
    result?;
    let (_paused, result) = write(writer, vec![piece(blob, MIB / 2..MIB)]).await;
    result
}

async fn mismatch(store: &Store) -> Result<(), StoreError> {
    let blob = body(77, MIB);
    let writer = store.begin(digest(&blob), Some(MIB)).await?;
    let (writer, result) = write(writer, vec![(0, body(78, MIB))]).await;
    result?;
    assert!(writer.finish().is_err());
    Ok(())
}

async fn facts(store: &Store) -> Result<(), StoreError> {
    let (bytes, media_type) = manifest(5);
    let digest = digest(&bytes);
    let verified = digest.verify(&bytes).unwrap();
    let descriptor = Descriptor::new(media_type.clone(), digest, bytes.len() as u64);
    store.put(verified, bytes, Some(media_type)).await?;
    store
        .record_link(&registry(), None, &digest, Audience::Everyone)
        .await?;
    let record = TagRecord {
        descriptor,
        confirmed_at: SystemTime::now(),
        refused: false,
        audience: Audience::Everyone,
    };
    store
        .put_tag(&repository("a/b"), &tag("latest"), record)
        .await
}

/// Everything works: what is there is right, and what is not can be stored.
async fn works(dir: &Dir, store: &Store) {
    for blob in &bodies() {
        has(store, blob).await;
    }
    audit(dir, store).await;
    let next = body(1000, MIB);
    fill(store, &next).await.unwrap();
    assert!(has(store, &next).await);
    facts(store).await.unwrap();
    fill(store, &bodies()[1]).await.unwrap();
    assert!(has(store, &bodies()[1]).await);
    store.writable().await.unwrap();
    audit(dir, store).await;
}

/// How many operations the scenario makes when nothing fails; close and all.
async fn count_operations() -> u64 {
    let dir = Dir::in_memory();
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let faults = Faults::hook(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        None
    });
    let store = dir.open_with(LIMIT, faults).await;
    scenario(&store).await;
    store.close().await;
    count.load(Ordering::Relaxed)
}

async fn crash_at(n: u64, fault: Fault) {
    let dir = Dir::in_memory();
    let mut settings = dir.settings(LIMIT);
    settings.faults = Faults::stop_at(n, fault);
    if let Ok(store) = Store::open(settings).await {
        scenario(&store).await;
    }
    let store = dir.open(LIMIT).await;
    works(&dir, &store).await;
}

async fn crash_at_each(fault: Fault, first: u64) {
    let operations = count_operations().await;
    assert!(operations > 100, "only {operations} operations");
    // A sample on every run, all of them before a release.
    let step = match std::env::var_os("FOREBAY_TEST_ALL") {
        Some(_) => 1,
        None => 7,
    };
    for n in (first..=operations).step_by(step) {
        println!("crash at {n} of {operations}");
        crash_at(n, fault).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_before_any_operation_leaves_a_working_cache() {
    crash_at_each(Fault::Fail(EIO), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_in_the_middle_of_any_write_leaves_a_working_cache() {
    crash_at_each(Fault::Torn(EIO), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_that_stays_full_leaves_a_working_cache() {
    crash_at_each(Fault::Fail(ENOSPC), 3).await;
}

/// One operation fails, those after it do not; the store stays open.
async fn fault_at(op: Op, n: u64, fault: Fault) -> bool {
    let dir = Dir::in_memory();
    let seen = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&seen);
    let faults = Faults::hook(move |asked, _| {
        let fails = asked == op && counter.fetch_add(1, Ordering::Relaxed) + 1 == n;
        fails.then_some(fault)
    });
    let mut settings = dir.settings(LIMIT);
    settings.faults = faults;
    let Ok(store) = Store::open(settings).await else {
        // The cache could not be opened; it can be now.
        let store = dir.open(LIMIT).await;
        works(&dir, &store).await;
        return true;
    };
    scenario(&store).await;
    // Where the scenario is too short for the n-th operation, none is to fail later.
    let was_met = seen.fetch_add(1 << 32, Ordering::Relaxed) >= n;
    works(&dir, &store).await;
    store.close().await;
    let store = dir.open(LIMIT).await;
    works(&dir, &store).await;
    was_met
}

async fn each_fault(op: Op, faults: &[Fault]) {
    for fault in faults {
        for n in 1..=24 {
            println!("{op:?} {n} {fault:?}");
            if !fault_at(op, n, *fault).await {
                break;
            }
        }
    }
}

macro_rules! fault_tests {
    ($($name:ident: $op:expr, [$($fault:expr),+];)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            each_fault($op, &[$($fault),+]).await;
        })+
    };
}

fault_tests! {
    a_create_that_fails_costs_one_fill: Op::Create, [Fault::Fail(EMFILE)];
    an_open_that_fails_costs_one_read: Op::Open, [Fault::Fail(EMFILE)];
    a_read_that_fails_costs_one_read: Op::Read, [Fault::Fail(EIO)];
    a_write_that_fails_costs_one_fill: Op::Write, [Fault::Fail(ENOSPC), Fault::Torn(EIO)];
    a_state_that_is_not_recorded_costs_nothing: Op::State, [Fault::Fail(ENOSPC), Fault::Torn(EIO)];
    a_truncation_that_fails_costs_one_fill: Op::Truncate, [Fault::Fail(EIO)];
    a_sync_that_fails_costs_one_fill: Op::Sync, [Fault::Fail(EIO)];
    a_rename_that_fails_costs_one_fill: Op::Rename, [Fault::Fail(EIO)];
    a_directory_sync_that_fails_costs_one_fill: Op::SyncDir, [Fault::Fail(EIO)];
    an_unlink_that_fails_is_tried_again: Op::Unlink, [Fault::Fail(EIO)];
    a_stat_that_fails_costs_little: Op::Stat, [Fault::Fail(EIO)];
    an_index_read_that_fails_is_survived: Op::IndexRead, [Fault::Fail(EIO)];
    an_index_write_that_fails_is_survived: Op::IndexWrite, [Fault::Fail(ENOSPC), Fault::Torn(EIO)];
    an_index_resize_that_fails_is_survived: Op::IndexResize, [Fault::Fail(ENOSPC)];
    an_index_sync_that_fails_is_survived: Op::IndexSync, [Fault::Fail(EIO)];
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
