//! kaniko (go-containerregistry): the mapped registry's host and prefix, without dots in the prefix; ping, GET of the tag,
//! the child, then config and layers, each with a connection that is kept.
//!
//! It goes on to the real registry only where the image's GET fails; what comes after that has to work.

use forebay_loadtest::origin::Flavour;

use super::pulls::each;
use super::stage::Stage;

/// `--registry-map=quay.io=M:5000/_/quay`. `{alias}` is its prefix.
const PULL: &str = r"
    > GET /v2/ HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.3
    > Accept-Encoding: gzip
    << pong

    > GET /v2/{alias}/library/app/manifests/v1 HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.3
    > Accept: application/vnd.docker.distribution.manifest.v1+json,application/vnd.docker.distribution.manifest.v1+prettyjws,application/vnd.docker.distribution.manifest.v2+json,application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.oci.image.index.v1+json
    > Accept-Encoding: gzip
    << 200 manifest index; fwd=miss

    > GET /v2/{alias}/library/app/manifests/{manifest} HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.3
    > Accept: application/vnd.docker.distribution.manifest.v2+json
    > Accept-Encoding: gzip
    << 200 manifest manifest; fwd=miss
";

const BLOB: &str = r"
    > GET /v2/{alias}/library/app/blobs/{NAME} HTTP/1.1
    > Host: {mirror}
    > User-Agent: go-containerregistry/v0.20.3
    > Accept-Encoding: gzip
    << 200 blob NAME; fwd=miss
";

async fn pull_through(stage: Stage, alias: &str, registry: &str) {
    let stage = stage.named("alias", alias).named("namespace", registry);
    let blobs = each(BLOB, ["config", "layer", "second"]).concat();
    let pull = [PULL, &blobs].concat();
    stage.pull(&[&[pull]], &["config", "layer", "second"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_image_comes_through_docker_hubs_alias() {
    let stage = Stage::image(Flavour::Docker).await;
    pull_through(stage, "_/dockerhub", "docker.io").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_image_of_another_registry_comes_through_its_alias() {
    let stage = Stage::image_with(Flavour::Docker, |setup, origin| {
        setup.also("quay.io", origin, "alias = \"quay\"")
    })
    .await;
    pull_through(stage, "_/quay", "quay.io").await;
}
