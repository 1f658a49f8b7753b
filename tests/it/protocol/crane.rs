//! crane, cosign and ko (go-containerregistry): ping, HEAD or GET of the tag, the child that suits the platform, blobs one
//! by one on a kept connection.
//!
//! HEAD has to bring `Content-Type`, `Content-Length` and `Docker-Content-Digest`; a blob's `Content-Length` has to be its
//! descriptor's size. There is no resume.

use forebay_loadtest::origin::{Flavour, Kind};

use super::pulls::each;
use super::stage::Stage;

const PING: &str = r"
    > GET /v2/ HTTP/1.1
    > Host: {mirror}
    > User-Agent: crane/v0.20.6 go-containerregistry/v0.20.6
    > Accept-Encoding: gzip
    << pong
";

const DIGEST: &str = r"
    > HEAD /v2/library/app/manifests/v1 HTTP/1.1
    > Host: {mirror}
    > User-Agent: crane/v0.20.6 go-containerregistry/v0.20.6
    > Accept: application/vnd.docker.distribution.manifest.v1+json,application/vnd.docker.distribution.manifest.v1+prettyjws,application/vnd.docker.distribution.manifest.v2+json,application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.oci.image.index.v1+json
    << 200 manifest index; fwd=miss
";

const PULL: &str = r"
    > GET /v2/library/app/manifests/v1 HTTP/1.1
    > Host: {mirror}
    > User-Agent: crane/v0.20.6 go-containerregistry/v0.20.6
    > Accept: application/vnd.docker.distribution.manifest.v1+json,application/vnd.docker.distribution.manifest.v1+prettyjws,application/vnd.docker.distribution.manifest.v2+json,application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.oci.image.index.v1+json
    > Accept-Encoding: gzip
    << 200 manifest index; hit

    > GET /v2/library/app/manifests/{manifest} HTTP/1.1
    > Host: {mirror}
    > User-Agent: crane/v0.20.6 go-containerregistry/v0.20.6
    > Accept: application/vnd.oci.image.manifest.v1+json
    > Accept-Encoding: gzip
    << 200 manifest manifest; fwd=miss
";

const BLOB: &str = r"
    > GET /v2/library/app/blobs/{NAME} HTTP/1.1
    > Host: {mirror}
    > User-Agent: crane/v0.20.6 go-containerregistry/v0.20.6
    > Accept-Encoding: gzip
    << 200 blob NAME; fwd=miss
";

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_over_one_connection_costs_one_body_of_everything() {
    let stage = Stage::image(Flavour::Oci).await;
    let blobs = each(BLOB, ["config", "layer", "second"]).concat();
    let pull = [PING, DIGEST, PULL, &blobs].concat();
    stage.pull(&[&[pull]], &["config", "layer", "second"]).await;
}

/// cosign looks for a signature under a tag made of the digest. Its absence has to stay absence.
const SIGNATURE: &str = r"
    > GET /v2/library/app/manifests/sha256-0000000000000000000000000000000000000000000000000000000000000000.sig HTTP/1.1
    > Host: {mirror}
    > User-Agent: cosign/v3.0.2 (linux; amd64) go-containerregistry/v0.20.6
    > Accept: application/vnd.docker.distribution.manifest.v1+json,application/vnd.docker.distribution.manifest.v1+prettyjws,application/vnd.docker.distribution.manifest.v2+json,application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.list.v2+json,application/vnd.oci.image.index.v1+json
    > Accept-Encoding: gzip
    << 404 absent 181
";

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_not_there_is_a_404_that_is_asked_for_once() {
    let stage = Stage::image(Flavour::Oci).await;
    stage.absent(SIGNATURE, &[Kind::ManifestGet]).await;
}
