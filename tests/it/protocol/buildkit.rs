//! `BuildKit`: containerd's resolver with a mirror's path after `/v2` (`mirrors = ["M:5000/docker.io"]`), and with `ns` too.
//!
//! The registry is then named twice, and the second name is no part of the repository's.

use forebay_loadtest::origin::{Flavour, Kind};

use super::stage::{Cost, Stage};
use super::transcript::Cache;
use super::wire::Wire;

/// `PATH` is the mirror's path, `HOST` the registry.
const MANIFESTS: &str = r#"
    > HEAD /v2/PATH/library/app/manifests/v1?ns=HOST HTTP/1.1
    > Host: {mirror}
    > User-Agent: buildkit/v0.25
    > Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*
    < HTTP/1.1 200 OK
    < content-type: application/vnd.oci.image.index.v1+json
    < cache-status: forebay; fwd=miss
    < oci-namespace: HOST
    < docker-content-digest: {index}
    < etag: "{index}"
    < docker-distribution-api-version: registry/2.0
    < content-length: {index.size}
    < date: {date}

    > GET /v2/PATH/library/app/manifests/{index}?ns=HOST HTTP/1.1
    > Host: {mirror}
    > User-Agent: buildkit/v0.25
    > Accept: application/vnd.oci.image.index.v1+json, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
    < HTTP/1.1 200 OK
    < content-type: application/vnd.oci.image.index.v1+json
    < cache-status: forebay; hit
    < oci-namespace: HOST
    < docker-content-digest: {index}
    < etag: "{index}"
    < docker-distribution-api-version: registry/2.0
    < content-length: {index.size}
    < date: {date}
    = index

    > GET /v2/PATH/library/app/manifests/{manifest}?ns=HOST HTTP/1.1
    > Host: {mirror}
    > User-Agent: buildkit/v0.25
    > Accept: application/vnd.oci.image.manifest.v1+json, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
    < HTTP/1.1 200 OK
    < content-type: application/vnd.oci.image.manifest.v1+json
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
    > GET /v2/PATH/library/app/blobs/{NAME}?ns=HOST HTTP/1.1
    > Host: {mirror}
    > User-Agent: buildkit/v0.25
    > Accept: TYPE, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
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

/// A build resolves the base image's config first, and its layers later, when a step needs them.
async fn pull_through(stage: &Stage, path: &str, host: &str) {
    let located = |template: &str| template.replace("PATH", path).replace("HOST", host);
    let blob = |name: &str, media_type: &str| {
        located(BLOB)
            .replace("NAME", name)
            .replace("TYPE", media_type)
    };
    let layer_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    for cache in [Cache::Cold, Cache::Warm] {
        stage.play(cache, located(MANIFESTS)).await;
        let config = blob("config", "application/vnd.oci.image.config.v1+json");
        stage.play(cache, config).await;
        tokio::join!(
            stage.play(cache, blob("layer", layer_type)),
            stage.play(cache, blob("second", layer_type)),
        );
        if cache == Cache::Cold {
            assert_eq!(stage.cost(), Cost::of_a_pull());
            stage.settle(&["config", "layer", "second"]).await;
        }
    }
    stage.cost_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_hub_is_named_in_the_path_and_in_ns() {
    let stage = Stage::image(Flavour::Oci).await;
    pull_through(&stage, "docker.io", "docker.io").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_registry_is_named_in_the_path_and_in_ns() {
    let stage = Stage::image_with(Flavour::Oci, |setup, origin| {
        setup.also("quay.io", origin, "")
    })
    .await;
    pull_through(&stage, "quay.io", "quay.io").await;
}

/// Beside `ns`, an alias is a name like any other: `quay.io/quay` is an organisation, and taking its name away would give
/// a client another image than it asked for. A mirror's path in `buildkitd.toml` is therefore a registry's host.
#[tokio::test(flavor = "multi_thread")]
async fn an_alias_in_the_path_is_part_of_the_name_beside_ns() {
    let stage = Stage::image_with(Flavour::Oci, |setup, origin| {
        setup.also("quay.io", origin, "alias = \"quay\"")
    })
    .await;
    let mut wire = Wire::open(&stage.forebay).await;
    wire.send(format!(
        "HEAD /v2/quay/library/app/manifests/v1?ns=quay.io HTTP/1.1\r\n\
         Host: {}\r\n\
         User-Agent: buildkit/v0.25\r\n\r\n",
        stage.forebay.address
    ))
    .await;
    let head = wire.head().await;
    assert!(head.lines[0].starts_with("HTTP/1.1 4"), "{head:?}");
    let asked = stage.origin.requests_for(Kind::ManifestGet);
    let names: Vec<_> = asked
        .iter()
        .filter_map(|request| request.repository.as_deref())
        .collect();
    assert!(
        !names.is_empty() && names.iter().all(|name| *name == "quay/library/app"),
        "{names:?}"
    );
}
