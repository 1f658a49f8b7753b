//! oras, helm and notation (oras-go): no ping; HEAD of the tag, then everything by digest, and a seek within a blob where
//! `Accept-Ranges` allows it.
//!
//! A manifest's `Content-Type` has to be its descriptor's, a blob's `Content-Length` its size, and
//! `Docker-Content-Digest`, where there is one, what was asked for.

use forebay_loadtest::origin::Flavour;

use super::stage::{Cost, Stage};
use super::transcript::Cache;

const PULL: &str = r#"
    > HEAD /v2/library/app/manifests/v1 HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.oci.artifact.manifest.v1+json
    < HTTP/1.1 200 OK
    < content-type: application/vnd.oci.image.index.v1+json
    < cache-status: forebay; fwd=miss
    < oci-namespace: docker.io
    < docker-content-digest: {index}
    < etag: "{index}"
    < docker-distribution-api-version: registry/2.0
    < content-length: {index.size}
    < date: {date}

    > GET /v2/library/app/manifests/{index} HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Accept: application/vnd.oci.image.index.v1+json
    > Accept-Encoding: gzip
    < HTTP/1.1 200 OK
    < content-type: application/vnd.oci.image.index.v1+json
    < cache-status: forebay; hit
    < oci-namespace: docker.io
    < docker-content-digest: {index}
    < etag: "{index}"
    < docker-distribution-api-version: registry/2.0
    < content-length: {index.size}
    < date: {date}
    = index

    > GET /v2/library/app/manifests/{manifest} HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Accept: application/vnd.oci.image.manifest.v1+json
    > Accept-Encoding: gzip
    < HTTP/1.1 200 OK
    < content-type: application/vnd.oci.image.manifest.v1+json
    < cache-status: forebay; fwd=miss
    < oci-namespace: docker.io
    < docker-content-digest: {manifest}
    < etag: "{manifest}"
    < docker-distribution-api-version: registry/2.0
    < content-length: {manifest.size}
    < date: {date}
    = manifest
"#;

const BLOB: &str = r#"
    > GET /v2/library/app/blobs/{NAME} HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Accept-Encoding: gzip
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
    < date: {date}
    = NAME
"#;

/// A seek: a new request, to the blob's last byte by its number. Only a 206 will do.
const SEEK: &str = r#"
    > GET /v2/library/app/blobs/{layer} HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Range: bytes=200000-{layer.last}
    < HTTP/1.1 206 Partial Content
    < content-type: application/octet-stream
    < cache-status: forebay; hit
    < oci-namespace: docker.io
    < docker-content-digest: {layer}
    < etag: "{layer}"
    < accept-ranges: bytes
    < x-content-type-options: nosniff
    < content-range: bytes 200000-{layer.last}/{layer.size}
    < docker-distribution-api-version: registry/2.0
    < content-length: 100000
    < date: {date}
    = layer 200000-299999
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_and_a_seek_cost_one_body_of_everything() {
    let stage = Stage::image(Flavour::Oci).await;
    let blobs = ["config", "layer", "second"].map(|name| BLOB.replace("NAME", name));
    let pull = [PULL, &blobs.concat(), SEEK].concat();
    for cache in [Cache::Cold, Cache::Warm] {
        stage.play(cache, &pull).await;
        if cache == Cache::Cold {
            assert_eq!(stage.cost(), Cost::of_a_pull());
            stage.settle(&["config", "layer", "second"]).await;
        }
    }
    stage.cost_nothing();
}

/// A registry without the referrers API: 404, and no code that would keep oras-go from the tag schema, whose tag is then
/// absent in its turn.
const REFERRERS: &str = r"
    > GET /v2/library/app/referrers/{index} HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Accept-Encoding: gzip
    < HTTP/1.1 404 Not Found
    < content-type: application/json
    < oci-namespace: docker.io
    < docker-distribution-api-version: registry/2.0
    < content-length: 181
    < date: {date}
    = @MANIFEST_UNKNOWN

    > GET /v2/library/app/manifests/{index.tag} HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.oci.artifact.manifest.v1+json
    > Accept-Encoding: gzip
    < HTTP/1.1 404 Not Found
    < content-type: application/json
    < oci-namespace: docker.io
    < docker-distribution-api-version: registry/2.0
    < content-length: 177
    < date: {date}
    = @MANIFEST_UNKNOWN
";

#[tokio::test(flavor = "multi_thread")]
async fn absent_referrers_send_oras_to_the_tag_schema() {
    let stage = Stage::without_referrers().await;
    stage.play(Cache::Cold, REFERRERS).await;
}
