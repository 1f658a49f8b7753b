//! dockerd's classic image store (docker/distribution's client, 20.10 to 28): ping, HEAD of the tag, GET by digest, a new
//! connection for each request, and an `Accept` line of its own for each of six types, in an order that changes.
//!
//! It wants a 206 that runs to the end for a resume; a 200 makes it start over from zero.

use forebay_loadtest::origin::{Fault, Flavour};

use crate::harness::{End, Wire, committed};

use super::pulls::each;
use super::stage::Stage;
use super::transcript::Cache;

const MANIFESTS: &str = r"
    > GET /v2/ HTTP/1.1
    > Host: {mirror}
    > User-Agent: docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.1.0-31-amd64 os/linux arch/amd64 UpstreamClient(Docker-Client/28.5.2 \(linux\))
    > Accept-Encoding: gzip
    > Connection: close
    << pong

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
    << 200 manifest index; fwd=miss

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
    << 200 manifest index; hit

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
    << 200 manifest manifest; fwd=miss
";

const BLOB: &str = r"
    > GET /v2/library/app/blobs/{NAME} HTTP/1.1
    > Host: {mirror}
    > User-Agent: docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.1.0-31-amd64 os/linux arch/amd64 UpstreamClient(Docker-Client/28.5.2 \(linux\))
    > Accept-Encoding: gzip
    > Connection: close
    << 200 blob NAME; fwd=miss
";

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_on_a_connection_for_each_request_costs_one_body_of_everything() {
    let stage = Stage::image(Flavour::Docker).await;
    let blobs = ["config", "layer", "second"];
    let steps: [&[String]; 2] = [&[MANIFESTS.to_owned()], &each(BLOB, blobs)];
    stage.pull(&steps, &blobs).await;
}

const RESUME: &str = r"
    > GET /v2/library/app/blobs/{layer} HTTP/1.1
    > Host: {mirror}
    > User-Agent: docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.1.0-31-amd64 os/linux arch/amd64 UpstreamClient(Docker-Client/28.5.2 \(linux\))
    > Range: bytes=1500000-
    > Connection: close
    << 206 blob layer 1500000-{layer.last}; fwd=miss
";

/// A layer of which dockerd has the first 1,500,000 bytes when the mirror is stopped under it; the upstream has given
/// 2,000,000. An end short of Content-Length, by FIN: what has come is good, and a resume is in order.
async fn stopped_midway() -> Stage {
    let stage = Stage::layer_with(3_000_000, |setup| {
        setup.config("[server]\ndrain = \"300ms\"")
    })
    .await;
    let (wire, gate) = stage.begin_layer("", 1_500_000).await;
    gate.reached(1).await;
    let stage = stage.restarted().await;
    is_cut(&stage, wire).await;
    stage
}

/// The rest of a connection that was cut: as far as it goes, the layer's.
async fn is_cut(stage: &Stage, wire: Wire) {
    let (more, end) = wire.rest().await;
    assert_eq!(end, End::Fin);
    assert!(more == stage.contents["layer"].slice(1_500_000..1_500_000 + more.len()));
}

/// dockerd comes back for the rest, 5 s after its connection ended early.
#[tokio::test(flavor = "multi_thread")]
async fn a_resume_after_a_cut_gets_the_rest_and_costs_only_the_rest() {
    let stage = stopped_midway().await;
    stage.play(Cache::Cold, RESUME).await;
    let sent = stage.origin.body_bytes(&stage.blob("layer").digest);
    assert!(sent <= 3_030_000, "{sent} bytes were sent");
    stage.forget().await;
    stage.warm(RESUME).await;
}

/// A 200 would have dockerd start over from zero. What the upstream can't do, the mirror does in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_resume_gets_the_rest_from_an_upstream_that_ignores_ranges() {
    let stage = stopped_midway().await;
    let digest = &stage.blob("layer").digest;
    stage.origin.on_body(digest).always(Fault::IgnoreRange);
    stage.play(Cache::Cold, RESUME).await;
    let sent = stage.origin.body_bytes(digest);
    assert!(
        sent <= 5_030_000,
        "{sent} bytes: more than the whole, once again"
    );
    stage.forget().await;
    stage.warm(RESUME).await;
}

/// What is gone by the time of the resume is fetched anew, once, and the resume is none the wiser.
#[tokio::test(flavor = "multi_thread")]
async fn a_resume_of_what_was_evicted_meanwhile_gets_the_rest() {
    let stage = Stage::layer_with(3_000_000, |setup| {
        setup.config("[cache]\nmax_size = \"20MB\"\nmin_free = 0")
    })
    .await;
    let layer = stage.blob("layer").digest.clone();
    stage.play(Cache::Cold, BLOB.replace("NAME", "layer")).await;
    stage.settle(&["layer"]).await;
    stage.read_of_layer("", 1_500_000).await.reset();
    let client = stage.forebay.client();
    let mut others = 0;
    while committed(&stage.forebay.cache_dir()).contains(&layer.to_string()) {
        others += 1;
        let mut other = None;
        stage.origin.edit("library/app", |repository| {
            other = Some(repository.random_blob(others, 3_000_000));
        });
        let other = other.expect("just made").digest;
        let answer = client.blob("library/app", &other).await;
        assert!(answer.is_exactly(&other), "{}", answer.status);
        assert!(others < 20, "20 MB hold no 60");
    }
    stage.forget().await;
    stage.cold_and_warm(RESUME).await;
}
