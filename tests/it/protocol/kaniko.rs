//! kaniko (go-containerregistry): the mapped registry's host and prefix, without dots in the prefix; ping, GET of the tag,
//! the child, then config and layers, each with a connection that is kept.
//!
//! It goes on to the real registry only where the image's GET fails; what comes after that has to work.

use forebay_loadtest::origin::Flavour;

use super::stage::{Cost, Stage};
use super::transcript::Cache;

/// `--registry-map=quay.io=M:5000/_/quay`. `ALIAS` and `HOST` are filled in.
const PULL: &str = r#"
    > GET /v2/ HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.3
    > Accept-Encoding: gzip
    < HTTP/1.1 200 OK
    < content-type: application/json
    < docker-distribution-api-version: registry/2.0
    < content-length: 2
    < date: {date}
    = {}

    > GET /v2/ALIAS/library/app/manifests/v1 HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.3
    > Accept: application/vnd.docker.distribution.manifest.v1+json,application/vnd.docker.distribution.manifest.v1+prettyjws,application/vnd.docker.distribution.manifest.v2+json,application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.oci.image.index.v1+json
    > Accept-Encoding: gzip
    < HTTP/1.1 200 OK
    < content-type: application/vnd.docker.distribution.manifest.list.v2+json
    < cache-status: forebay; fwd=miss
    < oci-namespace: HOST
    < docker-content-digest: {index}
    < etag: "{index}"
    < docker-distribution-api-version: registry/2.0
    < content-length: {index.size}
    < date: {date}
    = index

    > GET /v2/ALIAS/library/app/manifests/{manifest} HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.3
    > Accept: application/vnd.docker.distribution.manifest.v2+json
    > Accept-Encoding: gzip
    < HTTP/1.1 200 OK
    < content-type: application/vnd.docker.distribution.manifest.v2+json
    < cache-status: forebay; fwd=miss
    < oci-namespace: HOST
    < docker-content-digest: {manifest}
    < etag: "{manifest}"
    < docker-distribution-api-version: registry/2.0
    < content-length: {manifest.size}
    < date: {date}
    = manifest
"#;

const BLOB: &str = r#"
    > GET /v2/ALIAS/library/app/blobs/{NAME} HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.3
    > Accept-Encoding: gzip
    < HTTP/1.1 200 OK
    < content-type: application/octet-stream
    < cache-status: forebay; fwd=miss
    < oci-namespace: HOST
    < docker-content-digest: {NAME}
    < etag: "{NAME}"
    < accept-ranges: bytes
    < x-content-type-options: nosniff
    < docker-distribution-api-version: registry/2.0
    < content-length: {NAME.size}
    < date: {date}
    = NAME
"#;

async fn pull_through(stage: &Stage, alias: &str, host: &str) {
    let blobs = ["config", "layer", "second"].map(|name| BLOB.replace("NAME", name));
    let pull = [PULL, &blobs.concat()].concat();
    let pull = pull.replace("ALIAS", alias).replace("HOST", host);
    for cache in [Cache::Cold, Cache::Warm] {
        stage.play(cache, &pull).await;
        if cache == Cache::Cold {
            assert_eq!(stage.cost(), Cost::of_a_pull());
            stage.settle(&["config", "layer", "second"]).await;
        }
    }
    stage.cost_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_image_comes_through_docker_hubs_alias() {
    let stage = Stage::image(Flavour::Docker).await;
    pull_through(&stage, "_/dockerhub", "docker.io").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_image_of_another_registry_comes_through_its_alias() {
    let stage = Stage::image_with(Flavour::Docker, |setup, origin| {
        setup.also("quay.io", origin, "alias = \"quay\"")
    })
    .await;
    pull_through(&stage, "_/quay", "quay.io").await;
}
