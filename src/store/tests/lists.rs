//! Lists in the index: kept across restarts, within their bound, and never as the disk has changed them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::support::*;
use crate::store::{ListRecord, Store};

const TAGS: &str = "tags";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn list(seconds: u64, bytes: impl Into<bytes::Bytes>) -> ListRecord {
    ListRecord {
        confirmed_at: at(seconds),
        filters_applied: None,
        bytes: bytes.into(),
    }
}

async fn set(store: &Store, name: &str, question: &str, record: Option<ListRecord>) {
    let written = store.set_list(&repository(name), question, record).unwrap();
    written.await.unwrap();
}

async fn get(store: &Store, name: &str, question: &str) -> Option<ListRecord> {
    store.list(&repository(name), question).await.unwrap()
}

#[tokio::test]
async fn a_list_is_there_after_a_restart_until_it_is_forgotten() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    assert_eq!(get(&store, "a", TAGS).await, None);
    let filtered = ListRecord {
        filters_applied: Some("artifactType".to_owned()),
        ..list(2, "{}")
    };
    set(&store, "a", TAGS, Some(list(1, "old"))).await;
    set(&store, "a", TAGS, Some(list(1, "new"))).await;
    set(&store, "a", "referrers", Some(filtered.clone())).await;
    set(&store, "a/b", TAGS, Some(list(3, ""))).await;
    store.close().await;

    let store = dir.open(64 * MIB).await;
    assert_eq!(get(&store, "a", TAGS).await, Some(list(1, "new")));
    assert_eq!(get(&store, "a", "referrers").await, Some(filtered));
    assert_eq!(get(&store, "a/b", TAGS).await, Some(list(3, "")));
    set(&store, "a", TAGS, None).await;
    set(&store, "never", TAGS, None).await;
    assert_eq!(get(&store, "a", TAGS).await, None);
    assert!(get(&store, "a/b", TAGS).await.is_some());
}

#[tokio::test]
async fn of_changes_that_nobody_waits_for_the_last_one_counts() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let mut written = Vec::new();
    for n in 0..50 {
        let record = Some(list(n, n.to_string()));
        written.push(store.set_list(&repository("a"), TAGS, record).unwrap());
    }
    // Waited for in another order than they were made.
    for written in written.into_iter().rev() {
        written.await.unwrap();
    }
    assert_eq!(get(&store, "a", TAGS).await, Some(list(49, "49")));
}

#[tokio::test]
async fn beyond_their_bound_the_lists_confirmed_longest_ago_go() {
    let dir = Dir::new();
    // 256 KiB for all lists, an eighth of it for one.
    let store = dir.open(16 * MIB).await;
    let long = || vec![b'x'; 30 << 10];
    for n in 0..20 {
        let name = format!("r{n}");
        set(&store, &name, TAGS, Some(list(100 + n, long()))).await;
        // Confirmed again and again, so that it is never among the oldest.
        set(&store, "hot", TAGS, Some(list(100 + n, "hot"))).await;
    }
    assert!(get(&store, "hot", TAGS).await.is_some());
    let mut kept = Vec::new();
    for n in 0..20 {
        let found = get(&store, &format!("r{n}"), TAGS).await;
        kept.extend(found.map(|record| record.confirmed_at));
    }
    let newest: Vec<_> = (112..120).map(at).collect();
    assert_eq!(kept, newest);

    let too_long = vec![b'x'; 32 << 10];
    set(&store, "hot", TAGS, Some(list(200, too_long))).await;
    let hot = get(&store, "hot", TAGS).await;
    assert_eq!(hot, None, "what it was before is not what it is now");
}

/// The disk gave back other bytes than it was given, and clients were served them.
#[tokio::test]
async fn a_list_that_the_disk_has_changed_is_as_if_it_were_not_there() {
    let dir = Dir::new();
    let store = dir.open(16 * MIB).await;
    set(&store, "a", TAGS, Some(list(1, "to be changed"))).await;
    set(&store, "b", TAGS, Some(list(2, "left alone"))).await;
    store.close().await;
    let path = dir.path().join("index.redb");
    let mut index = std::fs::read(&path).unwrap();
    let mut changed = 0;
    for at in 0..index.len() {
        if index[at..].starts_with(b"to be changed") {
            index[at] = b'T';
            changed += 1;
        }
    }
    assert!(changed > 0);
    std::fs::write(&path, index).unwrap();

    let store = dir.open(16 * MIB).await;
    assert_eq!(get(&store, "a", TAGS).await, None);
    assert_eq!(get(&store, "b", TAGS).await, Some(list(2, "left alone")));
    assert!(!dir.path().join("index.redb.broken-1").exists());
    // It can be told anew, and makes room as any other.
    set(&store, "a", TAGS, Some(list(3, "told anew"))).await;
    assert_eq!(get(&store, "a", TAGS).await, Some(list(3, "told anew")));
    for n in 0..20 {
        let long = vec![b'x'; 30 << 10];
        set(&store, &format!("r{n}"), TAGS, Some(list(100, long))).await;
    }
    assert_eq!(get(&store, "a", TAGS).await, None);
}
