//! k3s and RKE2, before their containerd runs: wharfie (go-containerregistry) fetches the bootstrap images through
//! `registries.yaml`, with `ns` on every request, the ping too.

use forebay_loadtest::origin::Flavour;

use super::pulls::each;
use super::stage::Stage;
use super::transcript::Cache;

const PULL: &str = r"
    > GET /v2/?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.6
    > Accept-Encoding: gzip
    << pong

    > GET /v2/library/app/manifests/v1?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.6
    > Accept: application/vnd.docker.distribution.manifest.v1+json,application/vnd.docker.distribution.manifest.v1+prettyjws,application/vnd.docker.distribution.manifest.v2+json,application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.oci.image.index.v1+json
    > Accept-Encoding: gzip
    << 200 manifest index; fwd=miss

    > GET /v2/library/app/manifests/{manifest}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.6
    > Accept: application/vnd.oci.image.manifest.v1+json
    > Accept-Encoding: gzip
    << 200 manifest manifest; fwd=miss
";

const BLOB: &str = r"
    > GET /v2/library/app/blobs/{NAME}?ns=docker.io HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.6
    > Accept-Encoding: gzip
    << 200 blob NAME; fwd=miss
";

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_image_comes_with_ns_on_every_request() {
    let stage = Stage::image(Flavour::Oci).await;
    // Layers only: wharfie unpacks them and has no use for the config.
    let pull = [PULL, &each(BLOB, ["layer", "second"]).concat()].concat();
    stage.pull(&[&[pull]], &["layer", "second"]).await;
}

/// The ping is of the mirror, not of the registry behind it: an `ns` that is not configured is for the image's own
/// request to refuse, and wharfie then goes on to the next endpoint.
const ELSEWHERE: &str = r"
    > GET /v2/?ns=unknown.example HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.6
    > Accept-Encoding: gzip
    << pong

    > GET /v2/rancher/app/manifests/v1?ns=unknown.example HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.6
    > Accept: application/vnd.oci.image.index.v1+json
    > Accept-Encoding: gzip
    < HTTP/1.1 404 Not Found
    < content-type: application/json
    < docker-distribution-api-version: registry/2.0
    < content-length: 311
    < date: {date}
    = @unknown.example
";

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_configured_answers_the_ping_and_refuses_the_image() {
    let stage = Stage::image(Flavour::Oci).await;
    stage.play(Cache::Cold, ELSEWHERE).await;
    stage.cost_nothing();
}
