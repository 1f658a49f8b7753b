//! containerd 2.x (`core/remotes/docker`), which nerdctl and dockerd's containerd store share: no ping, HEAD of the tag,
//! then everything by digest, each with `ns` and kept alive.
//!
//! It takes the descriptor from HEAD's `Content-Type`, `Docker-Content-Digest` and `Content-Length`, and undoes whatever
//! `Content-Encoding` it is told of. With parallel fetches on, `Range: bytes=0-` goes out on every GET, manifests too; a
//! 200 turns them off for that body, a 206 is cut into chunks by its `Content-Length`.

use bytes::Bytes;
use forebay_loadtest::origin::Flavour;
use tokio::task::JoinSet;

use super::pulls::each;
use super::stage::{Cost, Stage};
use super::transcript::Cache;
use crate::harness::Wire;

const MANIFESTS: &str = "
    > HEAD /v2/library/app/manifests/v1?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: containerd/v2.2.1
    > Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*
    << 200 manifest index; fwd=miss

    > GET /v2/library/app/manifests/{index}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: containerd/v2.2.1
    > Accept: application/vnd.oci.image.index.v1+json, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
    << 200 manifest index; hit

    > GET /v2/library/app/manifests/{manifest}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: containerd/v2.2.1
    > Accept: application/vnd.oci.image.manifest.v1+json, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
    << 200 manifest manifest; fwd=miss
";

/// One blob.
const BLOB: &str = "
    > GET /v2/library/app/blobs/{NAME}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: containerd/v2.2.1
    > Accept: {NAME.type}, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
    << 200 blob NAME; fwd=miss
";

const BLOBS: [&str; 3] = ["config", "layer", "second"];

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_takes_nothing_encoded_and_one_body_of_everything() {
    let stage = Stage::image(Flavour::Oci).await;
    let steps: [&[String]; 2] = [&[MANIFESTS.to_owned()], &each(BLOB, BLOBS)];
    stage.pull(&steps, &BLOBS).await;
}

/// The same as a client with parallel fetches asks for it first.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_from_zero_gets_a_manifest_whole_and_a_blob_as_a_part() {
    let stage = Stage::image(Flavour::Oci).await;
    let encodings = "deflate;q=0.5\n";
    let with_range = format!("{encodings}    > Range: bytes=0-\n");
    let ranged = |transcript: &str| transcript.replace(encodings, &with_range);
    let blob = ranged(BLOB).replace("200 blob NAME", "206 blob NAME 0-{NAME.last}");
    let steps: [&[String]; 2] = [&[ranged(MANIFESTS)], &each(&blob, BLOBS)];
    stage.pull(&steps, &BLOBS).await;
}

/// Several pieces of the mirror's, and no multiple of a chunk.
const LARGE: u64 = 48_000_001;
const CHUNK: usize = 4 << 20;
const AT_ONCE: usize = 8;

/// Asks for everything from a chunk's start, reads the chunk, and leaves.
async fn chunk(stage: &Stage, first: usize) -> (String, String, Bytes) {
    let layer = stage.blob("layer");
    let mut wire = Wire::open(&stage.forebay).await;
    let address = stage.forebay.address;
    let (digest, media_type) = (&layer.digest, &layer.media_type);
    wire.send(format!(
        "GET /v2/library/app/blobs/{digest}?ns=docker.io HTTP/1.1\r\n\
         Host: {address}\r\n\
         User-Agent: containerd/v2.2.1\r\n\
         Accept: {media_type}, */*\r\n\
         Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5\r\n\
         Range: bytes={first}-\r\n\r\n"
    ))
    .await;
    let head = wire.head().await;
    let bytes = wire.body(head.length().min(CHUNK)).await;
    let told = (
        head.header("content-range").to_owned(),
        head.lines[0].clone(),
    );
    // At the end of the blob there is nothing left to be sent, and the connection is kept.
    wire.reset();
    (told.0, told.1, bytes)
}

/// The chunks of a whole layer, fetched as containerd does: some at once, first in, first out.
async fn fetch_in_chunks(stage: &std::sync::Arc<Stage>) {
    let size = usize::try_from(LARGE).unwrap();
    let mut queue = (0..size).step_by(CHUNK);
    let mut running = JoinSet::new();
    let mut seen = 0;
    loop {
        while running.len() < AT_ONCE
            && let Some(first) = queue.next()
        {
            let stage = std::sync::Arc::clone(stage);
            running.spawn(async move { (first, chunk(&stage, first).await) });
        }
        let Some(done) = running.join_next().await else {
            break;
        };
        let (first, (range, status, bytes)) = done.unwrap();
        assert_eq!(status, "HTTP/1.1 206 Partial Content");
        // One total in all answers: a client that is told two gives up.
        assert_eq!(range, format!("bytes {first}-{}/{size}", size - 1));
        let end = size.min(first + CHUNK);
        assert!(
            bytes == stage.contents["layer"].slice(first..end),
            "{range}"
        );
        seen += bytes.len();
    }
    assert_eq!(seen, size);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_open_ended_ranges_that_the_client_resets_cost_one_body() {
    let stage = std::sync::Arc::new(Stage::layer(LARGE).await);
    fetch_in_chunks(&stage).await;
    stage.settle(&["layer"]).await;
    fetch_in_chunks(&stage).await;
    stage.cost_nothing();
}

/// The rest of a layer after the connection went away: an unexpected end is resumed at once, where it broke off.
const RESUME: &str = "
    > GET /v2/library/app/blobs/{layer}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: containerd/v2.2.1
    > Accept: application/vnd.oci.image.layer.v1.tar+gzip, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
    > Range: bytes=1000000-
    << 206 blob layer 1000000-{layer.last}; fwd=miss; collapsed
";

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_joins_what_the_cut_request_began() {
    let stage = Stage::layer(3_000_000).await;
    let (wire, gate) = stage.begin_layer("?ns=docker.io", 1_000_000).await;
    wire.reset();
    let follows = stage
        .forebay
        .until_metric("forebay_followers_total", "", |readers| readers > 0.5);
    let ((), ()) = tokio::join!(stage.play(Cache::Cold, RESUME), async {
        follows.await;
        gate.release();
    });
    stage.settle(&["layer"]).await;
    stage.warm(RESUME).await;
}

/// A registry that is not configured: 404, so that containerd goes on to the next host of its `hosts.toml`.
const ELSEWHERE: &str = "
    > HEAD /v2/some/app/manifests/v1?ns=unknown.example HTTP/1.1
    > Host: {mirror}
    > User-Agent: containerd/v2.2.1
    > Accept: application/vnd.oci.image.index.v1+json, */*
    < HTTP/1.1 404 Not Found
    < content-type: application/json
    < docker-distribution-api-version: registry/2.0
    < content-length: 311
    < date: {date}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_configured_is_a_404_that_costs_nothing() {
    let stage = Stage::image(Flavour::Oci).await;
    stage.play(Cache::Cold, ELSEWHERE).await;
    stage.cost_nothing();
}

/// What the content store's `FetchByDigest` does: HEAD for the size, then GET.
const BY_DIGEST: &str = "
    > HEAD /v2/library/app/blobs/{layer}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: containerd/v2.2.1
    > Accept: */*
    << 200 blob layer; fwd=miss
";

/// A redirected HEAD tells no size. The mirror asked the same HEAD once more before it asked for the first byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_by_digest_asks_for_the_size_first() {
    let stage = Stage::image(Flavour::Oci).await;
    let get = BLOB.replace("NAME", "layer");
    let get = get.replace("Accept: {layer.type}, */*", "Accept: */*");
    let fetch = [BY_DIGEST, &get].concat();
    stage.play(Cache::Cold, &fetch).await;
    // Docker Hub redirects a HEAD too, so the size is asked for with the first byte.
    assert_eq!(
        stage.cost(),
        Cost {
            blob_heads: 1,
            ..Cost::of_blobs(2)
        }
    );
    stage.settle(&["layer"]).await;
    stage.warm(&fetch).await;
}
