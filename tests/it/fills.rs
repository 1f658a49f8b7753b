//! One upstream body a digest, streamed to everyone while it arrives.

use forebay_loadtest::origin::{Fault, Kind, Outcome};
use http::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::harness::{
    Setup, blob_path, heavy, hold_body, mirror_of, origin_with_blob, plain_origin, sha256,
};

const SIZE: u64 = 15_000_000;

/// The promise that the project is bought for. The reference registry makes a body for nearly every client here; nginx
/// makes one, but holds everyone until it is complete.
#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_clients_of_one_cold_blob_cost_one_body_and_read_it_while_it_arrives() {
    heavy();
    let (origin, blob) = origin_with_blob(1, SIZE).await;
    let gate = hold_body(&origin, &blob.digest, SIZE / 2);
    let forebay = mirror_of(&origin).await;

    let path = blob_path("library/app", &blob.digest);
    let (first_bytes, mut began) = tokio::sync::mpsc::channel(500);
    let mut clients = JoinSet::new();
    for _ in 0..500 {
        let (client, path, first_bytes) = (forebay.client(), path.clone(), first_bytes.clone());
        clients.spawn(async move {
            let mut response = client.open(Method::GET, &path, &[]).await;
            assert_eq!(response.status(), StatusCode::OK);
            let mut hash = Sha256::new();
            let mut first_bytes = Some(first_bytes);
            while let Some(chunk) = response.chunk().await.expect("no body breaks off") {
                if let Some(first_bytes) = first_bytes.take() {
                    first_bytes.send(()).await.unwrap();
                }
                hash.update(&chunk);
            }
            format!("sha256:{}", hex::encode(hash.finalize()))
        });
    }
    for _ in 0..500 {
        // Everyone gets bytes while the origin holds the second half back, and nobody is done before it comes.
        tokio::select! {
            Some(()) = began.recv() => {}
            ended = clients.join_next() => panic!("a client has ended: {ended:?}"),
        }
    }
    gate.release();
    while let Some(hash) = clients.join_next().await {
        assert_eq!(hash.unwrap(), blob.digest.as_str());
    }

    assert_eq!(origin.repeated_bytes_requested(&blob.digest), 0);
    let sent = origin.body_bytes(&blob.digest);
    println!(
        "500 clients, one cold blob of {SIZE} bytes: the origin sent {sent} bytes in {} requests",
        origin.counts().requests(Kind::BlobGet)
    );
    assert!(
        sent <= SIZE + SIZE / 100,
        "{sent} bytes were sent for a blob of {SIZE}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_comes_over_several_connections_without_a_byte_twice() {
    heavy();
    large_blob_over_several_connections(true).await;
}

/// A mirror that was restarted, or that was not asked for the manifest, learned the size with the answer to a request for
/// all of it, which left nothing to other connections.
#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_whose_size_nothing_tells() {
    heavy();
    large_blob_over_several_connections(false).await;
}

async fn large_blob_over_several_connections(size_is_known: bool) {
    const LARGE: u64 = 100 << 20;
    let mut layer = None;
    let origin = plain_origin()
        .repository("library/app", |repository| {
            layer = Some(repository.random_blob(2, LARGE));
            let layer = layer.clone().unwrap();
            let config = repository.blob("{}");
            let manifest = serde_json::json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.digest.as_str(), "size": config.size },
                "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer.digest.as_str(), "size": layer.size }],
            });
            let manifest = repository.manifest("application/vnd.oci.image.manifest.v1+json", manifest.to_string());
            repository.tag("latest", &manifest.digest);
        })
        .start()
        .await
        .unwrap();
    let layer = layer.unwrap();
    let forebay = mirror_of(&origin).await;
    if size_is_known {
        let manifest = forebay.client().manifest("library/app", "latest").await;
        assert_eq!(manifest.status, StatusCode::OK);
    }
    // The first piece comes last, so that all the others wait to be hashed behind it.
    let gate = hold_body(&origin, &layer.digest, 0);
    let (client, digest) = (forebay.client(), layer.digest.clone());
    let pull = tokio::spawn(async move { client.blob("library/app", &digest).await });
    let first_piece = if size_is_known { 16 << 20 } else { 32 << 20 };
    origin.sent(&layer.digest, LARGE - first_piece).await;
    gate.release();
    let answer = pull.await.unwrap();
    assert!(answer.is_exactly(&layer.digest), "{}", answer.status);
    let pieces = origin.ranges_requested(&layer.digest);
    assert!(pieces.len() > 1, "it came in one piece: {pieces:?}");
    assert_eq!(origin.repeated_bytes_requested(&layer.digest), 0);
    let sent = origin.body_bytes(&layer.digest);
    assert!(
        sent <= LARGE + LARGE / 100,
        "{sent} bytes were sent for a blob of {LARGE}"
    );
}

/// A client may read one blob over several connections, each with a part of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_cold_blob_that_are_read_at_once_cost_one_body() {
    const LARGE: u64 = 80_000_000;
    const PARTS: u64 = 8;
    heavy();
    let (origin, blob) = origin_with_blob(10, LARGE).await;
    let whole = origin.content("library/app", &blob.digest);
    let forebay = mirror_of(&origin).await;
    let path = blob_path("library/app", &blob.digest);
    let mut parts = JoinSet::new();
    for part in 0..PARTS {
        let (client, path) = (forebay.client(), path.clone());
        let (first, end) = (part * LARGE / PARTS, (part + 1) * LARGE / PARTS);
        parts.spawn(async move {
            let answer = client
                .range(&path, &format!("bytes={first}-{}", end - 1))
                .await;
            let part = [first, end].map(|at| usize::try_from(at).unwrap());
            (part, answer)
        });
    }
    while let Some(part) = parts.join_next().await {
        let ([first, end], answer) = part.unwrap();
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
        assert!(
            answer.body == whole.slice(first..end),
            "the part from {first}"
        );
    }
    forebay.client().pulls("library/app", &blob.digest).await;
    assert_eq!(origin.repeated_bytes_requested(&blob.digest), 0);
    assert_eq!(origin.body_bytes(&blob.digest), LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_nobody_elses_download() {
    let (origin, blob) = origin_with_blob(3, SIZE).await;
    let gate = hold_body(&origin, &blob.digest, SIZE / 2);
    let forebay = mirror_of(&origin).await;
    let path = blob_path("library/app", &blob.digest);
    let mut leader = forebay.client().open(Method::GET, &path, &[]).await;
    assert!(leader.chunk().await.unwrap().is_some());
    let mut follower = forebay.client().open(Method::GET, &path, &[]).await;
    assert!(
        follower.headers()["cache-status"]
            .to_str()
            .unwrap()
            .contains("collapsed")
    );
    let mut body = follower.chunk().await.unwrap().unwrap().to_vec();
    drop(leader);
    gate.release();
    while let Some(chunk) = follower.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    assert_eq!(sha256(&body), blob.digest.as_str());
    assert_eq!(origin.ranges_requested(&blob.digest).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_a_running_fill_come_from_it_and_say_that_they_are_not_verified() {
    let (origin, blob) = origin_with_blob(4, SIZE).await;
    let whole = origin.content("library/app", &blob.digest);
    let gate = hold_body(&origin, &blob.digest, SIZE / 2);
    let forebay = mirror_of(&origin).await;
    let path = blob_path("library/app", &blob.digest);
    let client = forebay.client();

    let early = client.range(&path, "bytes=1000-1999").await;
    assert_eq!(early.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(early.body, whole.slice(1000..2000));
    assert_eq!(
        early.header("content-range"),
        format!("bytes 1000-1999/{SIZE}")
    );
    assert!(
        early.header("cache-status").contains("unverified"),
        "{:?}",
        early.headers
    );

    let tail = tokio::spawn({
        let (client, path) = (client.clone(), path.clone());
        async move { client.range(&path, "bytes=-5000").await }
    });
    gate.reached(1).await;
    gate.release();
    let tail = tail.await.unwrap();
    assert_eq!(tail.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(tail.body, whole.slice(whole.len() - 5000..));
    assert_eq!(origin.repeated_bytes_requested(&blob.digest), 0);
    assert_eq!(origin.ranges_requested(&blob.digest).len(), 1);

    let beyond = client.range(&path, &format!("bytes={SIZE}-")).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), format!("bytes */{SIZE}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_strict_ranges_a_range_waits_for_the_digest() {
    let (origin, blob) = origin_with_blob(5, 1 << 20).await;
    origin.on_body(&blob.digest).always(Fault::FlipBit(900_000));
    let forebay = Setup::new(&origin)
        .config("[cache]\nstrict_ranges = true")
        .start()
        .await;
    let path = blob_path("library/app", &blob.digest);
    let refused = forebay.client().range(&path, "bytes=0-99").await;
    assert_eq!(
        refused.status,
        StatusCode::BAD_GATEWAY,
        "{}",
        refused.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_without_readers_lingers_then_pauses_and_goes_on_where_it_was() {
    let (origin, blob) = origin_with_blob(6, SIZE).await;
    let gate = hold_body(&origin, &blob.digest, SIZE / 2);
    let forebay = Setup::new(&origin)
        .config("[fetch]\nlinger = \"1s\"")
        .start()
        .await;
    let path = blob_path("library/app", &blob.digest);
    let mut reader = forebay.client().open(Method::GET, &path, &[]).await;
    gate.reached(1).await;
    assert!(reader.chunk().await.unwrap().is_some());
    drop(reader);
    origin
        .until("the fill to let go of its connection", |requests| {
            requests
                .iter()
                .any(|request| request.kind == Kind::BlobGet && request.outcome != Outcome::Running)
        })
        .await;
    gate.release();
    forebay.client().pulls("library/app", &blob.digest).await;
    let asked = origin.ranges_requested(&blob.digest);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked[1].start > SIZE / 4,
        "it goes on from what it had: {asked:?}"
    );
}

/// A follower that proves its own right brings its own upstream along, so that another's dead one cannot fail it.
#[tokio::test(flavor = "multi_thread")]
async fn a_fill_goes_on_at_a_followers_upstream_when_its_own_dies() {
    let (first, blob) = origin_with_blob(7, SIZE).await;
    let (second, same) = origin_with_blob(7, SIZE).await;
    assert_eq!(blob.digest, same.digest);
    let gate = hold_body(&first, &blob.digest, SIZE / 2);
    let forebay = Setup::new(&first)
        .also("other.example", &second, "")
        .start()
        .await;
    let client = forebay.client();
    let path = blob_path("library/app", &blob.digest);
    let mut leader = client.open(Method::GET, &path, &[]).await;
    let mut body = leader.chunk().await.unwrap().unwrap().to_vec();
    gate.reached(1).await;
    let path = blob_path("other.example/library/app", &blob.digest);
    let follower = client.open(Method::GET, &path, &[]).await;
    assert_eq!(
        second.counts().requests(Kind::BlobHead),
        1,
        "its right was proven"
    );
    first.stop().await;
    while let Some(chunk) = leader
        .chunk()
        .await
        .expect("its upstream's death is not seen")
    {
        body.extend_from_slice(&chunk);
    }
    assert_eq!(sha256(&body), blob.digest.as_str());
    assert_eq!(
        sha256(&follower.bytes().await.unwrap()),
        blob.digest.as_str()
    );
    let asked = second.ranges_requested(&blob.digest);
    assert!(asked.len() == 1 && asked[0].start > SIZE / 4, "{asked:?}");
}

/// The same blob, asked for through a repository that does not hold it while another's fill runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_fill_gives_nothing_to_a_repository_that_cannot_prove_its_right() {
    let (origin, blob) = origin_with_blob(8, SIZE).await;
    let (stranger, _) = origin_with_blob(9, 1000).await;
    let gate = hold_body(&origin, &blob.digest, SIZE / 2);
    let forebay = Setup::new(&origin)
        .also("other.example", &stranger, "")
        .start()
        .await;
    let client = forebay.client();
    let path = blob_path("library/app", &blob.digest);
    let mut reader = client.open(Method::GET, &path, &[]).await;
    assert!(reader.chunk().await.unwrap().is_some());
    gate.reached(1).await;
    let path = blob_path("other.example/library/app", &blob.digest);
    for (method, range) in [
        (Method::GET, ""),
        (Method::HEAD, ""),
        (Method::GET, "bytes=0-99"),
    ] {
        let answer = client.ask(method, &path, &[("range", range)]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    gate.release();
    while reader.chunk().await.unwrap().is_some() {}
}
