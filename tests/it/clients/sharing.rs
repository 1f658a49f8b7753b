//! Two clients of a kind pull the same image at once from an empty mirror: the upstream sends each blob once.

use forebay_loadtest::origin::Gate;

use super::node::{Node, Site};
use super::upstream::{docker_hub, given};
use super::{AMD64, APP};
use crate::harness::mirror_of;

/// The layers stop half way until both clients are waiting for as many as they fetch at once, so that they do meet.
pub(super) async fn pull_at_once<N: Node>() {
    let origin = docker_hub().await;
    let forebay = mirror_of(&origin).await;
    let site = Site::new(forebay.address).await;
    let (one, other) = (N::start(&site).await, N::start(&site).await);
    let image = origin.image(APP, "v1").linux("amd64").clone();
    let half = |layer: &forebay_loadtest::origin::Descriptor| {
        origin.on_body(&layer.digest).hold_at(layer.size / 2)
    };
    let gates: Vec<Gate> = image.layers.iter().map(half).collect();
    let reference = format!("docker.io/{APP}:v1");
    let both_wait = async {
        // One alone has at most that many layers and its config in flight.
        let all = f64::from(2 * N::AT_ONCE);
        forebay
            .until_metric("forebay_requests_running", "", |running| running >= all)
            .await;
        gates.iter().for_each(Gate::release);
        Ok(String::new())
    };
    let pulled = tokio::try_join!(
        one.pull(&reference, AMD64),
        other.pull(&reference, AMD64),
        both_wait
    );
    pulled.unwrap_or_else(|error| panic!("{error}"));
    for node in [one, other] {
        assert!(node.has(&image).await, "it does not have the image");
        node.stop().await;
    }
    assert_eq!(given(&origin), (2, 4), "manifests and blobs, for both");
    for blob in image.blobs() {
        let sent = origin.body_bytes(&blob.digest);
        assert_eq!(sent, blob.size, "bytes of {} for both", blob.digest);
    }
    assert_eq!(site.tripwire.touched(), Vec::<String>::new());
}
