//! oras, helm and notation (oras-go): no ping; HEAD of the tag, then everything by digest, and a seek within a blob where
//! `Accept-Ranges` allows it.
//!
//! A manifest's `Content-Type` has to be its descriptor's, a blob's `Content-Length` its size, and
//! `Docker-Content-Digest`, where there is one, what was asked for.

use forebay_loadtest::origin::{Flavour, Kind};

use super::pulls::each;
use super::stage::Stage;

const PULL: &str = r"
    > HEAD /v2/library/app/manifests/v1 HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.oci.artifact.manifest.v1+json
    << 200 manifest index; fwd=miss

    > GET /v2/library/app/manifests/{index} HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Accept: application/vnd.oci.image.index.v1+json
    > Accept-Encoding: gzip
    << 200 manifest index; hit

    > GET /v2/library/app/manifests/{manifest} HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Accept: application/vnd.oci.image.manifest.v1+json
    > Accept-Encoding: gzip
    << 200 manifest manifest; fwd=miss
";

const BLOB: &str = r"
    > GET /v2/library/app/blobs/{NAME} HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Accept-Encoding: gzip
    << 200 blob NAME; fwd=miss
";

/// A seek: a new request, to the blob's last byte by its number. Only a 206 will do.
const SEEK: &str = r"
    > GET /v2/library/app/blobs/{layer} HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Range: bytes=200000-{layer.last}
    << 206 blob layer 200000-{layer.last}; hit
";

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_and_a_seek_cost_one_body_of_everything() {
    let stage = Stage::image(Flavour::Oci).await;
    let blobs = each(BLOB, ["config", "layer", "second"]).concat();
    let pull = [PULL, &blobs, SEEK].concat();
    stage.pull(&[&[pull]], &["config", "layer", "second"]).await;
}

/// A registry without the referrers API: 404, and no code that would keep oras-go from the tag schema, whose tag is then
/// absent in its turn.
const REFERRERS: &str = r"
    > GET /v2/library/app/referrers/{index} HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Accept-Encoding: gzip
    << 404 absent 181

    > GET /v2/library/app/manifests/{index.tag} HTTP/1.1
    > Host: {mirror}
    > User-Agent: oras/1.3.0
    > Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.oci.artifact.manifest.v1+json
    > Accept-Encoding: gzip
    << 404 absent 177
";

#[tokio::test(flavor = "multi_thread")]
async fn absent_referrers_send_oras_to_the_tag_schema() {
    let stage = Stage::without_referrers().await;
    let asked = [Kind::Referrers, Kind::ManifestGet];
    stage.absent(REFERRERS, &asked).await;
}
