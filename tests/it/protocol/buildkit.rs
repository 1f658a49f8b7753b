//! `BuildKit`: containerd's resolver with a mirror's path after `/v2` (`mirrors = ["M:5000/docker.io"]`), and with `ns` too.
//!
//! The registry is then named twice, and the second name is no part of the repository's.

use forebay_loadtest::origin::{Flavour, Kind};

use super::pulls::each;
use super::stage::Stage;
use crate::harness::Wire;

/// `{path}` is the mirror's path, `{namespace}` the registry.
const MANIFESTS: &str = r"
    > HEAD /v2/{path}/library/app/manifests/v1?ns={namespace} HTTP/1.1
    > Host: {mirror}
    > User-Agent: buildkit/v0.25
    > Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*
    << 200 manifest index; fwd=miss

    > GET /v2/{path}/library/app/manifests/{index}?ns={namespace} HTTP/1.1
    > Host: {mirror}
    > User-Agent: buildkit/v0.25
    > Accept: application/vnd.oci.image.index.v1+json, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
    << 200 manifest index; hit

    > GET /v2/{path}/library/app/manifests/{manifest}?ns={namespace} HTTP/1.1
    > Host: {mirror}
    > User-Agent: buildkit/v0.25
    > Accept: application/vnd.oci.image.manifest.v1+json, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
    << 200 manifest manifest; fwd=miss
";

const BLOB: &str = r"
    > GET /v2/{path}/library/app/blobs/{NAME}?ns={namespace} HTTP/1.1
    > Host: {mirror}
    > User-Agent: buildkit/v0.25
    > Accept: {NAME.type}, */*
    > Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5
    << 200 blob NAME; fwd=miss
";

/// A build resolves the base image's config first, and its layers later, when a step needs them.
async fn pull_through(stage: Stage, registry: &str) {
    let stage = stage.named("path", registry).named("namespace", registry);
    let steps: [&[String]; 3] = [
        &[MANIFESTS.to_owned()],
        &each(BLOB, ["config"]),
        &each(BLOB, ["layer", "second"]),
    ];
    stage.pull(&steps, &["config", "layer", "second"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_hub_is_named_in_the_path_and_in_ns() {
    let stage = Stage::image(Flavour::Oci).await;
    pull_through(stage, "docker.io").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_registry_is_named_in_the_path_and_in_ns() {
    let stage = Stage::image_with(Flavour::Oci, |setup, origin| {
        setup.also("quay.io", origin, "")
    })
    .await;
    pull_through(stage, "quay.io").await;
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
