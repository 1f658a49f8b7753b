//! dockerd's classic image store (docker/distribution's client, 20.10 to 28): ping, HEAD of the tag, GET by digest, a new
//! connection for each request, and an `Accept` line of its own for each of six types, in an order that changes.
//!
//! It wants a 206 that runs to the end for a resume; a 200 makes it start over from zero.

use forebay_loadtest::origin::{Fault, Flavour, Gate};

use super::stage::{Cost, Stage};
use super::transcript::Cache;
use super::wire::{End, Wire};

const MANIFESTS: &str = r#"
    > GET /v2/ HTTP/1.1
    > Host: {mirror}
    > User-Agent: docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.1.0-31-amd64 os/linux arch/amd64 UpstreamClient(Docker-Client/28.5.2 \(linux\))
    > Accept-Encoding: gzip
    > Connection: close
    < HTTP/1.1 200 OK
    < content-type: application/json
    < docker-distribution-api-version: registry/2.0
    < content-length: 2
    < connection: close
    < date: {date}
    = {}

    > HEAD /v2/library/app/manifests/v1 HTTP/1.1
    > Host: {mirror}
    > User-Agent: docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.1.0-31-amd64 os/linux arch/amd64 UpstreamClient(Docker-Client/28.5.2 \(linux\))
    > Accept: application/vnd.docker.distribution.manifest.v2+json
    > Accept: application/vnd.docker.distribution.manifest.list.v2+json
    > Accept: application/vnd.oci.image.index.v1+json
    > Accept: application/vnd.oci.image.manifest.v1+json
    > Accept: application/vnd.docker.distribution.manifest.v1+prettyjws
    > Accept: application/json
    > Connection: close
    < HTTP/1.1 200 OK
    < content-type: application/vnd.docker.distribution.manifest.list.v2+json
    < cache-status: forebay; fwd=miss
    < oci-namespace: docker.io
    < docker-content-digest: {index}
    < etag: "{index}"
    < docker-distribution-api-version: registry/2.0
    < content-length: {index.size}
    < connection: close
    < date: {date}

    > GET /v2/library/app/manifests/{index} HTTP/1.1
    > Host: {mirror}
    > User-Agent: docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.1.0-31-amd64 os/linux arch/amd64 UpstreamClient(Docker-Client/28.5.2 \(linux\))
    > Accept: application/json
    > Accept: application/vnd.docker.distribution.manifest.v2+json
    > Accept: application/vnd.oci.image.manifest.v1+json
    > Accept: application/vnd.oci.image.index.v1+json
    > Accept: application/vnd.docker.distribution.manifest.list.v2+json
    > Accept: application/vnd.docker.distribution.manifest.v1+prettyjws
    > Accept-Encoding: gzip
    > Connection: close
    < HTTP/1.1 200 OK
    < content-type: application/vnd.docker.distribution.manifest.list.v2+json
    < cache-status: forebay; hit
    < oci-namespace: docker.io
    < docker-content-digest: {index}
    < etag: "{index}"
    < docker-distribution-api-version: registry/2.0
    < content-length: {index.size}
    < connection: close
    < date: {date}
    = index

    > GET /v2/library/app/manifests/{manifest} HTTP/1.1
    > Host: {mirror}
    > User-Agent: docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.1.0-31-amd64 os/linux arch/amd64 UpstreamClient(Docker-Client/28.5.2 \(linux\))
    > Accept: application/vnd.docker.distribution.manifest.v1+prettyjws
    > Accept: application/json
    > Accept: application/vnd.docker.distribution.manifest.v2+json
    > Accept: application/vnd.docker.distribution.manifest.list.v2+json
    > Accept: application/vnd.oci.image.index.v1+json
    > Accept: application/vnd.oci.image.manifest.v1+json
    > Accept-Encoding: gzip
    > Connection: close
    < HTTP/1.1 200 OK
    < content-type: application/vnd.docker.distribution.manifest.v2+json
    < cache-status: forebay; fwd=miss
    < oci-namespace: docker.io
    < docker-content-digest: {manifest}
    < etag: "{manifest}"
    < docker-distribution-api-version: registry/2.0
    < content-length: {manifest.size}
    < connection: close
    < date: {date}
    = manifest
"#;

const BLOB: &str = r#"
    > GET /v2/library/app/blobs/{NAME} HTTP/1.1
    > Host: {mirror}
    > User-Agent: docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.1.0-31-amd64 os/linux arch/amd64 UpstreamClient(Docker-Client/28.5.2 \(linux\))
    > Accept-Encoding: gzip
    > Connection: close
    < HTTP/1.1 200 OK
    < content-type: application/octet-stream
    < cache-status: forebay; fwd=miss
    < oci-namespace: docker.io
    < docker-content-digest: {NAME}
    < etag: "{NAME}"
    < accept-ranges: bytes
    < x-content-type-options: nosniff
    < docker-distribution-api-version: registry/2.0
    < content-length: {NAME.size}
    < connection: close
    < date: {date}
    = NAME
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_on_a_connection_for_each_request_costs_one_body_of_everything() {
    let stage = Stage::image(Flavour::Docker).await;
    for cache in [Cache::Cold, Cache::Warm] {
        stage.play(cache, MANIFESTS).await;
        tokio::join!(
            stage.play(cache, BLOB.replace("NAME", "config")),
            stage.play(cache, BLOB.replace("NAME", "layer")),
            stage.play(cache, BLOB.replace("NAME", "second")),
        );
        if cache == Cache::Cold {
            assert_eq!(stage.cost(), Cost::of_a_pull());
            stage.settle(&["config", "layer", "second"]).await;
        }
    }
    stage.cost_nothing();
}

const RESUME: &str = r#"
    > GET /v2/library/app/blobs/{layer} HTTP/1.1
    > Host: {mirror}
    > User-Agent: docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.1.0-31-amd64 os/linux arch/amd64 UpstreamClient(Docker-Client/28.5.2 \(linux\))
    > Range: bytes=1500000-
    > Connection: close
    < HTTP/1.1 206 Partial Content
    < content-type: application/octet-stream
    < cache-status: forebay; fwd=miss
    < oci-namespace: docker.io
    < docker-content-digest: {layer}
    < etag: "{layer}"
    < accept-ranges: bytes
    < x-content-type-options: nosniff
    < content-range: bytes 1500000-{layer.last}/{layer.size}
    < docker-distribution-api-version: registry/2.0
    < content-length: 1500000
    < connection: close
    < date: {date}
    = layer 1500000-2999999
"#;

/// dockerd comes back for the rest, 5 s after its connection ended early. Here the mirror was stopped under it.
#[tokio::test(flavor = "multi_thread")]
async fn a_resume_after_a_cut_gets_the_rest_and_costs_only_the_rest() {
    let stage = Stage::layer_with(3_000_000, |setup| {
        setup.config("[server]\ndrain = \"300ms\"")
    })
    .await;
    let digest = stage.blob("layer").digest.clone();
    let gate = Gate::new();
    stage
        .origin
        .on_body(&digest)
        .once(Fault::HoldAt(2_000_000, gate.clone()));
    let mut wire = Wire::open(&stage.forebay).await;
    wire.send(format!(
        "GET /v2/library/app/blobs/{digest} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        stage.forebay.address
    ))
    .await;
    assert_eq!(wire.head().await.length(), 3_000_000);
    let before = wire.body(1_500_000).await;
    assert!(before == stage.contents["layer"].slice(..1_500_000));
    gate.reached(1).await;
    let stage = stage.restarted().await;
    // An end short of Content-Length, by FIN: what has come is good, and a resume is in order.
    let (more, end) = wire.rest().await;
    assert_eq!(end, End::Fin);
    assert!(more == stage.contents["layer"].slice(1_500_000..1_500_000 + more.len()));
    stage.play(Cache::Cold, RESUME).await;
    let sent = stage.origin.body_bytes(&digest);
    assert!(sent <= 3_030_000, "{sent} bytes were sent");
    stage.forget().await;
    stage.play(Cache::Warm, RESUME).await;
    stage.cost_nothing();
}
