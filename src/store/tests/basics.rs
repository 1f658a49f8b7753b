//! The normal path.

use std::sync::Arc;

use super::support::*;
use crate::oci::Descriptor;
use crate::store::{StoreError, TagRecord, Visibility};

#[tokio::test]
async fn a_filled_blob_is_read_back_and_survives_a_restart() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let blob = body(1, 3 * MIB + 17);
    assert!(!has(&store, &blob).await);
    fill(&store, &blob).await.unwrap();
    assert!(has(&store, &blob).await);
    assert_eq!(
        store.stat(&digest(&blob)).await.unwrap(),
        Some(3 * MIB + 17)
    );
    assert!(dir.partials().is_empty());
    store.close().await;
    let store = dir.open(64 * MIB).await;
    assert!(store.blob_if_open(&digest(&blob)).is_none());
    assert!(has(&store, &blob).await);
    assert!(store.blob_if_open(&digest(&blob)).is_some());
    assert_eq!(store.usage().blobs, 1);
}

#[tokio::test]
async fn pieces_may_come_in_any_order() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let blob = body(2, 2 * MIB);
    let writer = store.begin(digest(&blob), None).await.unwrap();
    let reader = writer.reader();
    let (writer, result) = write(writer, vec![piece(&blob, MIB..2 * MIB)]).await;
    result.unwrap();
    assert_eq!(writer.hashed(), 0);
    assert_eq!(writer.extents().gaps(2 * MIB), vec![0..MIB]);
    assert_eq!(
        reader.read_at(MIB + 5, 10).await.unwrap(),
        piece(&blob, MIB + 5..MIB + 15).1
    );
    let (mut writer, result) = write(writer, vec![piece(&blob, 0..MIB)]).await;
    result.unwrap();
    assert_eq!(writer.hashed(), 2 * MIB);
    writer.set_size(2 * MIB).await.unwrap();
    let (verified, complete) = writer.finish().unwrap();
    complete.commit(verified).await.unwrap();
    assert!(has(&store, &blob).await);
    assert_eq!(reader.read_at(0, 4).await.unwrap(), blob.slice(..4));
}

#[tokio::test]
async fn a_digest_has_one_writer() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let blob = body(3, 100);
    let writer = store.begin(digest(&blob), Some(100)).await.unwrap();
    let second = store.begin(digest(&blob), Some(100)).await;
    assert!(matches!(second, Err(StoreError::Busy)));
    drop(writer);
    fill(&store, &blob).await.unwrap();
    let third = store.begin(digest(&blob), Some(100)).await;
    assert!(matches!(third, Err(StoreError::AlreadyStored)));
}

#[tokio::test]
async fn wrong_bytes_are_never_stored_and_the_next_fill_works() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let blob = body(4, MIB);
    let writer = store.begin(digest(&blob), Some(MIB)).await.unwrap();
    let (writer, result) = write(writer, vec![(0, body(5, MIB))]).await;
    result.unwrap();
    assert!(writer.finish().is_err());
    fill(&store, &blob).await.unwrap();
    assert!(has(&store, &blob).await);
    assert_eq!(store.usage().paused + store.usage().running, 0);
}

#[tokio::test]
async fn manifests_keep_their_type_and_their_tags() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let digest = put_manifest(&store, 1).await;
    let (bytes, media_type) = manifest(1);
    let found = store.manifest(&digest).await.unwrap();
    assert_eq!(found, Some((media_type.clone(), bytes.clone())));

    let record = TagRecord {
        descriptor: Descriptor::new(media_type, digest, bytes.len() as u64),
        confirmed_at: std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000),
    };
    let (repository, tag) = (repository("a/b"), tag("latest"));
    store
        .put_tag(&repository, &tag, record.clone())
        .await
        .unwrap();
    assert_eq!(store.tag(&repository, &tag).await.unwrap(), Some(record));
    store.remove_tag(&repository, &tag).await.unwrap();
    assert_eq!(store.tag(&repository, &tag).await.unwrap(), None);
}

#[tokio::test]
async fn a_link_is_for_one_repository_or_for_the_registry() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let digest = digest(b"x");
    let (here, there) = (name("a/b"), name("c/d"));
    let link = async |name| store.has_link(&registry(), name, &digest).await.unwrap();
    assert_eq!(link(&here).await, None);
    store
        .record_link(&registry(), Some(&here), &digest)
        .await
        .unwrap();
    assert_eq!(link(&here).await, Some(Visibility::Repository));
    assert_eq!(link(&there).await, None);
    store.record_link(&registry(), None, &digest).await.unwrap();
    assert_eq!(link(&there).await, Some(Visibility::Public));
    let other = "quay.io".parse().unwrap();
    assert_eq!(store.has_link(&other, &here, &digest).await.unwrap(), None);
}

#[tokio::test]
async fn all_readers_of_a_blob_share_one_file() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let blob = body(6, 1000);
    fill(&store, &blob).await.unwrap();
    let first = store.blob(&digest(&blob)).await.unwrap().unwrap();
    let second = store.blob(&digest(&blob)).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}
