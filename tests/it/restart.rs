//! Stopping, starting again, and what outlives it.

use std::time::Duration;

use forebay_loadtest::origin::Fault;
use http::Method;

use crate::harness::{Setup, blob_path, hold_body, mirror_of, origin_with_blob, sha256};

const SIZE: u64 = 10_000_000;
/// How long a stop may take to show on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cached_is_served_after_a_restart_without_asking() {
    let (origin, blob) = origin_with_blob(1, SIZE).await;
    let forebay = mirror_of(&origin).await;
    forebay.client().pulls("library/app", &blob.digest).await;
    let (status, setup) = forebay.stop().await;
    assert_eq!(status.code(), Some(0));
    origin.stop().await;
    let forebay = setup.start().await;
    let answer = forebay.client().pulls("library/app", &blob.digest).await;
    assert!(answer.header("cache-status").contains("hit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_a_running_transfer_finish_and_refuses_new_work() {
    let (origin, blob) = origin_with_blob(2, SIZE).await;
    let gate = hold_body(&origin, &blob.digest, SIZE / 2);
    let forebay = mirror_of(&origin).await;
    let path = blob_path("library/app", &blob.digest);
    let mut response = forebay.client().open(Method::GET, &path, &[]).await;
    let mut body = response.chunk().await.unwrap().unwrap().to_vec();
    forebay.ask_to_stop();
    forebay.until_draining().await;
    // It says that it is not ready first, so that a balancer turns away before anyone is refused.
    let refused = async {
        while tokio::net::TcpStream::connect(forebay.address)
            .await
            .is_ok()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("a stopping mirror takes no new connections");
    gate.release();
    while let Some(chunk) = response.chunk().await.expect("it is not cut") {
        body.extend_from_slice(&chunk);
    }
    assert_eq!(sha256(&body), blob.digest.as_str());
    assert_eq!(forebay.exited().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_cannot_finish_is_cut_when_the_grace_is_over_and_goes_on_after_the_restart()
{
    let (origin, blob) = origin_with_blob(3, SIZE).await;
    origin.on_body(&blob.digest).once(Fault::stall_at(SIZE / 2));
    let forebay = Setup::new(&origin)
        .config("[server]\ndrain = \"500ms\"")
        .start()
        .await;
    let path = blob_path("library/app", &blob.digest);
    let mut response = forebay.client().open(Method::GET, &path, &[]).await;
    assert!(response.chunk().await.unwrap().is_some());
    origin.sent(&blob.digest, SIZE / 2).await;
    let (status, setup) = forebay.stop().await;
    assert_eq!(status.code(), Some(0));
    let end = async {
        while let Some(_chunk) = response.chunk().await? {}
        Ok::<_, reqwest::Error>(())
    };
    assert!(
        end.await.is_err(),
        "a cut body is not taken for a whole one"
    );
    origin.reset();
    let forebay = setup.start().await;
    forebay.client().pulls("library/app", &blob.digest).await;
    assert!(
        origin.ranges_requested(&blob.digest)[0].start > 0,
        "it started over"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let (origin, blob) = origin_with_blob(4, SIZE).await;
    origin.on_body(&blob.digest).once(Fault::stall_at(SIZE / 2));
    let forebay = Setup::new(&origin)
        .config("[server]\ndrain = \"1h\"")
        .start()
        .await;
    let path = blob_path("library/app", &blob.digest);
    let _response = forebay.client().open(Method::GET, &path, &[]).await;
    forebay.ask_to_stop();
    forebay.until_draining().await;
    forebay.ask_to_stop();
    let status = forebay.exited().await;
    assert_ne!(status.code(), Some(0));
}

/// A lost index costs a re-hash of what is there, in the background, and not the cache.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_or_missing_index_is_rebuilt_from_the_files() {
    let (origin, blob) = origin_with_blob(5, SIZE).await;
    let mut setup = Setup::new(&origin);
    for damage in ["missing", "garbage"] {
        let forebay = setup.start().await;
        forebay.client().pulls("library/app", &blob.digest).await;
        setup = forebay.stop().await.1;
        let index = setup.cache_dir().join("index.redb");
        match damage {
            "missing" => std::fs::remove_file(&index).unwrap(),
            _ => std::fs::write(&index, "not an index").unwrap(),
        }
        origin.reset();
        let forebay = setup.start().await;
        forebay
            .until_metric("forebay_store_blobs", "", |blobs| blobs >= 1.0)
            .await;
        forebay.client().pulls("library/app", &blob.digest).await;
        assert_eq!(
            origin.body_bytes(&blob.digest),
            0,
            "{damage}: its bytes were fetched again"
        );
        setup = forebay.stop().await.1;
    }
}
