//! containerd 2.x (`core/remotes/docker`), which nerdctl and dockerd's containerd store share: no ping, HEAD of the tag,
//! then everything by digest, each with `ns` and kept alive.
//!
//! It takes the descriptor from HEAD's `Content-Type`, `Docker-Content-Digest` and `Content-Length`, and undoes whatever
//! `Content-Encoding` it is told of. With parallel fetches on, `Range: bytes=0-` goes out on every GET, manifests too; a
//! 200 turns them off for that body, a 206 is cut into chunks by its `Content-Length`.

use bytes::Bytes;
use forebay_loadtest::origin::{Fault, Flavour, Gate};
use tokio::task::JoinSet;

use super::stage::{Cost, Stage};
use super::transcript::Cache;
use super::wire::Wire;

const MANIFESTS: &str = "
    > HEAD /v2/library/app/manifests/v1?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: containerd/v2.2.1
    > Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*
    < HTTP/1.1 200 OK
    < content-type: application/vnd.oci.image.index.v1+json
    < cache-status: forebay; fwd=miss
    < oci-namespace: docker.io
    < docker-content-digest: {index}
    < etag: \"{index}\"
    < docker-distribution-api-version: registry/2.0
    < content-length: {index.size}
    < date: {date}

    > GET /v2/library/app/manifests/{index}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: containerd/v2.2.1
    > Accept: application/vnd.oci.image.index.v1+json, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
    < HTTP/1.1 200 OK
    < content-type: application/vnd.oci.image.index.v1+json
    < cache-status: forebay; hit
    < oci-namespace: docker.io
    < docker-content-digest: {index}
    < etag: \"{index}\"
    < docker-distribution-api-version: registry/2.0
    < content-length: {index.size}
    < date: {date}
    = index

    > GET /v2/library/app/manifests/{manifest}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: containerd/v2.2.1
    > Accept: application/vnd.oci.image.manifest.v1+json, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
    < HTTP/1.1 200 OK
    < content-type: application/vnd.oci.image.manifest.v1+json
    < cache-status: forebay; fwd=miss
    < oci-namespace: docker.io
    < docker-content-digest: {manifest}
    < etag: \"{manifest}\"
    < docker-distribution-api-version: registry/2.0
    < content-length: {manifest.size}
    < date: {date}
    = manifest
";

/// One blob; `NAME` and `TYPE` are filled in.
const BLOB: &str = "
    > GET /v2/library/app/blobs/{NAME}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: containerd/v2.2.1
    > Accept: TYPE, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
    < HTTP/1.1 200 OK
    < content-type: application/octet-stream
    < cache-status: forebay; fwd=miss
    < oci-namespace: docker.io
    < docker-content-digest: {NAME}
    < etag: \"{NAME}\"
    < accept-ranges: bytes
    < x-content-type-options: nosniff
    < docker-distribution-api-version: registry/2.0
    < content-length: {NAME.size}
    < date: {date}
    = NAME
";

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn blob(template: &str, name: &str, media_type: &str) -> String {
    template.replace("NAME", name).replace("TYPE", media_type)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_takes_nothing_encoded_and_one_body_of_everything() {
    let stage = Stage::image(Flavour::Oci).await;
    for cache in [Cache::Cold, Cache::Warm] {
        stage.play(cache, MANIFESTS).await;
        tokio::join!(
            stage.play(cache, blob(BLOB, "config", CONFIG_TYPE)),
            stage.play(cache, blob(BLOB, "layer", LAYER_TYPE)),
            stage.play(cache, blob(BLOB, "second", LAYER_TYPE)),
        );
        if cache == Cache::Cold {
            assert_eq!(stage.cost(), Cost::of_a_pull());
            stage.settle(&["config", "layer", "second"]).await;
        }
    }
    stage.cost_nothing();
}

/// The same blob as a client with parallel fetches asks for it first.
const RANGED_BLOB: &str = "
    > GET /v2/library/app/blobs/{NAME}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: containerd/v2.2.1
    > Accept: TYPE, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
    > Range: bytes=0-
    < HTTP/1.1 206 Partial Content
    < content-type: application/octet-stream
    < cache-status: forebay; fwd=miss
    < oci-namespace: docker.io
    < docker-content-digest: {NAME}
    < etag: \"{NAME}\"
    < accept-ranges: bytes
    < x-content-type-options: nosniff
    < content-range: bytes 0-{NAME.last}/{NAME.size}
    < docker-distribution-api-version: registry/2.0
    < content-length: {NAME.size}
    < date: {date}
    = NAME
";

#[tokio::test(flavor = "multi_thread")]
async fn a_range_from_zero_gets_a_manifest_whole_and_a_blob_as_a_part() {
    let stage = Stage::image(Flavour::Oci).await;
    let encodings = "deflate;q=0.5\n";
    let ranged = MANIFESTS.replace(encodings, &format!("{encodings}    > Range: bytes=0-\n"));
    for cache in [Cache::Cold, Cache::Warm] {
        stage.play(cache, &ranged).await;
        tokio::join!(
            stage.play(cache, blob(RANGED_BLOB, "config", CONFIG_TYPE)),
            stage.play(cache, blob(RANGED_BLOB, "layer", LAYER_TYPE)),
            stage.play(cache, blob(RANGED_BLOB, "second", LAYER_TYPE)),
        );
        if cache == Cache::Cold {
            assert_eq!(stage.cost(), Cost::of_a_pull());
            stage.settle(&["config", "layer", "second"]).await;
        }
    }
    stage.cost_nothing();
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
    let digest = &layer.digest;
    wire.send(format!(
        "GET /v2/library/app/blobs/{digest}?ns=docker.io HTTP/1.1\r\n\
         Host: {address}\r\n\
         User-Agent: containerd/v2.2.1\r\n\
         Accept: {LAYER_TYPE}, */*\r\n\
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
    < HTTP/1.1 206 Partial Content
    < content-type: application/octet-stream
    < cache-status: forebay; fwd=miss; collapsed
    < oci-namespace: docker.io
    < docker-content-digest: {layer}
    < etag: \"{layer}\"
    < accept-ranges: bytes
    < x-content-type-options: nosniff
    < content-range: bytes 1000000-{layer.last}/{layer.size}
    < docker-distribution-api-version: registry/2.0
    < content-length: 2000000
    < date: {date}
    = layer 1000000-2999999
";

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_joins_what_the_cut_request_began() {
    let stage = Stage::layer(3_000_000).await;
    let gate = Gate::new();
    let digest = &stage.blob("layer").digest;
    stage
        .origin
        .on_body(digest)
        .once(Fault::HoldAt(2_000_000, gate.clone()));
    let mut wire = Wire::open(&stage.forebay).await;
    wire.send(format!(
        "GET /v2/library/app/blobs/{digest}?ns=docker.io HTTP/1.1\r\nHost: {}\r\n\r\n",
        stage.forebay.address
    ))
    .await;
    let head = wire.head().await;
    assert_eq!(head.length(), 3_000_000);
    let before = wire.body(1_000_000).await;
    assert!(before == stage.contents["layer"].slice(..1_000_000));
    wire.reset();
    let ((), ()) = tokio::join!(stage.play(Cache::Cold, RESUME), async {
        gate.reached(1).await;
        gate.release();
    });
    stage.settle(&["layer"]).await;
    stage.play(Cache::Warm, RESUME).await;
    stage.cost_nothing();
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
    < HTTP/1.1 200 OK
    < content-type: application/octet-stream
    < cache-status: forebay; fwd=miss
    < oci-namespace: docker.io
    < docker-content-digest: {layer}
    < etag: \"{layer}\"
    < accept-ranges: bytes
    < x-content-type-options: nosniff
    < docker-distribution-api-version: registry/2.0
    < content-length: {layer.size}
    < date: {date}
";

/// A redirected HEAD tells no size. The mirror asked the same HEAD once more before it asked for the first byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_by_digest_asks_for_the_size_first() {
    let stage = Stage::image(Flavour::Oci).await;
    for cache in [Cache::Cold, Cache::Warm] {
        stage.play(cache, BY_DIGEST).await;
        stage
            .play(
                cache,
                blob(BLOB, "layer", "").replace("Accept: , */*", "Accept: */*"),
            )
            .await;
        if cache == Cache::Cold {
            for r in stage.origin.requests() {
                println!(
                    "{:?} {} {} {:?} {:?} {:?}",
                    r.kind, r.method, r.target, r.range, r.status, r.span
                );
            }
            // Docker Hub redirects a HEAD too, so the size is asked for with the first byte.
            assert_eq!(
                stage.cost(),
                Cost {
                    blob_heads: 1,
                    bodies: 2,
                    ..Cost::default()
                }
            );
            stage.settle(&["layer"]).await;
        }
    }
    stage.cost_nothing();
}
