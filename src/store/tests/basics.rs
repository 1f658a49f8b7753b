//! The normal path.

use std::sync::Arc;

use super::support::*;
use crate::oci::Descriptor;
use crate::store::{Audience, Store, StoreError, TagRecord, Visibility};

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
        refused: false,
        audience: Audience::Everyone,
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
    let link = async |name| {
        store
            .has_link(&registry(), name, &digest, Audience::Everyone)
            .await
            .unwrap()
    };
    assert_eq!(link(&here).await, None);
    store
        .record_link(&registry(), Some(&here), &digest, Audience::Everyone)
        .await
        .unwrap();
    assert_eq!(link(&here).await, Some(Visibility::Repository));
    assert_eq!(link(&there).await, None);
    store
        .record_link(&registry(), None, &digest, Audience::Everyone)
        .await
        .unwrap();
    assert_eq!(link(&there).await, Some(Visibility::Public));
    let other = "quay.io".parse().unwrap();
    assert_eq!(
        store
            .has_link(&other, &here, &digest, Audience::Everyone)
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn what_was_learned_with_a_clients_login_counts_for_logins_until_it_is_everyones() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let digest = put_manifest(&store, 1).await;
    let (registry, here) = (registry(), name("a/b"));
    let link = async |store: &Store, by| store.has_link(&registry, &here, &digest, by).await;
    let public = async |store: &Store, by| {
        let linked = store.is_linked_where(&registry, &digest, by, |_| true);
        linked.await.unwrap()
    };
    let record = async |store: &Store, by| {
        let recorded = store.record_link(&registry, Some(&here), &digest, by);
        recorded.await.unwrap();
    };
    record(&store, Audience::Logins).await;
    store.close().await;
    let store = dir.open(64 * MIB).await;
    for (by, counts) in [(Audience::Logins, true), (Audience::Everyone, false)] {
        assert_eq!(link(&store, by).await.unwrap().is_some(), counts, "{by:?}");
        assert_eq!(public(&store, by).await, counts, "{by:?}");
    }
    for by in [Audience::Everyone, Audience::Logins] {
        record(&store, by).await;
        for by in [Audience::Everyone, Audience::Logins] {
            assert!(link(&store, by).await.unwrap().is_some(), "{by:?}");
            assert!(public(&store, by).await, "{by:?}");
        }
    }
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

/// Readers have been given what is below the frontier, and the hasher has it: a second source that
/// sends it again, or sends something else, changes nothing.
#[tokio::test]
async fn what_is_hashed_is_never_written_again() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let blob = body(7, MIB);
    let writer = store.begin(digest(&blob), Some(MIB)).await.unwrap();
    let reader = writer.reader();
    let (writer, result) = write(writer, vec![piece(&blob, 0..MIB / 2)]).await;
    result.unwrap();
    let noise = body(8, MIB);
    let overlap = (MIB / 2 - 10, piece(&blob, MIB / 2 - 10..MIB).1);
    let batch = vec![piece(&noise, 0..MIB / 2), piece(&noise, 5..6), overlap];
    let (writer, result) = write(writer, batch).await;
    result.unwrap();
    assert_eq!(writer.hashed(), MIB);
    assert_eq!(reader.read_at(0, 1000).await.unwrap(), blob.slice(..1000));
    let (writer, result) = write(writer, vec![piece(&noise, 0..MIB)]).await;
    result.unwrap();
    let (verified, complete) = writer.finish().unwrap();
    complete.commit(verified).await.unwrap();
    assert!(has(&store, &blob).await);
}

/// Two sources that disagree ahead of the frontier: the last word counts, in the file and for the
/// hash alike.
#[tokio::test]
async fn what_is_hashed_is_what_is_on_disk() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let blob = body(7, MIB);
    let noise = body(8, MIB);
    for last_is_right in [false, true] {
        let writer = store.begin(digest(&blob), Some(MIB)).await.unwrap();
        let mut ahead = vec![piece(&noise, 4096..MIB), piece(&blob, 4096..MIB)];
        if !last_is_right {
            ahead.reverse();
        }
        let (writer, result) = write(writer, ahead).await;
        result.unwrap();
        let (writer, result) = write(writer, vec![piece(&blob, 0..4096)]).await;
        result.unwrap();
        match writer.finish() {
            Ok((verified, complete)) => {
                assert!(last_is_right);
                complete.commit(verified).await.unwrap();
                assert!(has(&store, &blob).await);
            }
            Err(_) => assert!(!last_is_right),
        }
    }
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let empty = body(0, 0);
    fill(&store, &empty).await.unwrap();
    assert!(has(&store, &empty).await);
    audit(&dir, &store).await;
}

#[tokio::test]
async fn a_body_stored_with_another_bodys_proof_is_refused() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let good = body(1, 100);
    let verified = digest(&good).verify(&good).unwrap();
    let refused = store.put(verified, body(2, 100), None).await;
    assert!(matches!(refused, Err(StoreError::WrongBytes)));
    let one = store.begin(digest(&good), Some(100)).await.unwrap();
    let (one, result) = write(one, vec![(0, good.clone())]).await;
    result.unwrap();
    let (_, complete) = one.finish().unwrap();
    let other = body(3, 100);
    let proof = digest(&other).verify(&other).unwrap();
    let refused = complete.commit(proof).await;
    assert!(matches!(refused, Err(StoreError::WrongBytes)));
    assert!(!has(&store, &good).await && !has(&store, &other).await);
    audit(&dir, &store).await;
}
