//! What each client asks of an origin, and what it makes of its failures.

use std::collections::HashSet;

use super::*;
use crate::origin::{Content, Fault, ImageSpec, Kind, Origin, Quota, Reply, Request};

async fn origin() -> Origin {
    origin_of(5_000).await
}

async fn origin_of(layer_size: u64) -> Origin {
    let spec = ImageSpec {
        layers: 4,
        layer_size,
        content: Content::Opaque,
        ..ImageSpec::default()
    };
    let builder = Origin::builder().repository("library/app", |repository| {
        repository.multi_arch_image("v1", &spec)
    });
    builder.start().await.unwrap()
}

fn address(origin: &Origin) -> SocketAddr {
    origin.host().parse().unwrap()
}

fn node(origin: &Origin) -> Node {
    Node::new(None, address(origin))
}

/// One whose pauses are over at once.
fn client(flavour: Flavour, origin: &Origin, registry: Option<&Origin>) -> Node {
    let registry = registry.map(|it| Arc::new(Place::registry(address(it))));
    Node::of(&Client {
        flavour,
        from: None,
        mirror: Arc::new(Place::mirror(address(origin))),
        registry,
        hurry: 1_000_000,
        tally: Arc::default(),
    })
}

async fn pull(node: &mut Node) -> Result<Pulled, Failure> {
    node.pull("library/app", "v1").await
}

fn connections(requests: &[Request]) -> usize {
    let ports: HashSet<_> = requests.iter().map(|it| it.client).collect();
    ports.len()
}

#[tokio::test]
async fn a_pull_asks_for_each_part_of_one_platforms_image_once() {
    let origin = origin().await;
    let mut node = node(&origin);
    let pulled = pull(&mut node).await.unwrap();
    assert_eq!(pulled.root, origin.image("library/app", "v1").root.digest);
    let counts = origin.counts();
    let asked = [Kind::ManifestHead, Kind::ManifestGet, Kind::BlobGet];
    assert_eq!(asked.map(|kind| counts.requests(kind)), [1, 2, 5]);
    assert_eq!((counts.total(), node.requests()), (8, 8));
    assert_eq!(connections(&origin.requests()), 3, "connections are kept");
}

#[tokio::test]
async fn containerd_names_the_registry_and_accepts_what_descriptors_say() {
    let origin = origin().await;
    pull(&mut node(&origin)).await.unwrap();
    let requests = origin.requests();
    for request in &requests {
        assert!(request.target.ends_with("?ns=docker.io"), "{request:?}");
        assert_eq!(request.header("user-agent"), ["containerd/v2.2.1"]);
    }
    let accepted: Vec<_> = requests.iter().map(|it| it.header("accept")).collect();
    assert!(
        accepted
            .iter()
            .all(|lines| lines.len() == 1 && lines[0].ends_with(", */*"))
    );
    assert!(accepted[0][0].matches(',').count() == 4, "{accepted:?}");
    let index = "application/vnd.oci.image.index.v1+json, */*";
    assert_eq!(accepted[1], [index]);
    let layer = "application/vnd.oci.image.layer.v1.tar+gzip, */*";
    assert_eq!(accepted.iter().filter(|it| it[0] == layer).count(), 4);
}

#[tokio::test]
async fn dockerd_pings_first_and_takes_a_connection_for_each_request() {
    let origin = origin().await;
    let mut node = client(Flavour::Dockerd, &origin, None);
    pull(&mut node).await.unwrap();
    let requests = origin.requests();
    let kinds: Vec<_> = requests.iter().map(|it| it.kind).collect();
    let first = [
        Kind::Ping,
        Kind::ManifestHead,
        Kind::ManifestGet,
        Kind::ManifestGet,
    ];
    assert_eq!(kinds[..4], first);
    assert_eq!(kinds[4..], [Kind::BlobGet; 5]);
    assert_eq!(connections(&requests), requests.len());
    for request in &requests {
        assert!(!request.target.contains('?'), "{request:?}");
        assert_eq!(request.header("connection"), ["close"]);
    }
    let mut accepted = requests[1].header("accept");
    accepted.sort_unstable();
    let mut again = requests[2].header("accept");
    again.sort_unstable();
    assert_eq!((accepted.len(), &accepted), (6, &again));
}

#[tokio::test]
async fn podman_gets_the_tag_at_once_and_its_layers_beside_its_config() {
    let origin = origin().await;
    let held = origin.on(Kind::BlobGet).hold_head();
    let mut node = client(Flavour::Podman, &origin, None);
    let (pulled, ()) = tokio::join!(pull(&mut node), async {
        held.reached(5).await;
        held.release();
    });
    pulled.unwrap();
    let requests = origin.requests();
    let kinds: Vec<_> = requests.iter().map(|it| it.kind).collect();
    assert_eq!(
        kinds[..3],
        [Kind::Ping, Kind::ManifestGet, Kind::ManifestGet]
    );
    assert_eq!(requests[1].header("accept").len(), 6);
    let version = requests[4].header("docker-distribution-api-version");
    assert_eq!(version, ["registry/2.0"]);
}

#[tokio::test]
async fn a_lazy_client_reads_ends_before_the_whole_and_only_in_ranges() {
    let origin = origin_of(200_000).await;
    let mut node = client(Flavour::Lazy, &origin, None);
    pull(&mut node).await.unwrap();
    let image = origin.image("library/app", "v1");
    let manifest = image.linux("amd64");
    for layer in &manifest.layers {
        let mut ranges = origin.ranges_requested(&layer.digest);
        assert_eq!(ranges[..2], [0..2, 150_000..200_000]);
        assert_eq!(ranges.pop(), Some(0..200_000));
        let asked =
            origin.requests_for(crate::origin::When::from(Kind::BlobGet).reference(&layer.digest));
        assert!(asked.iter().all(|it| it.status == Some(206)), "{asked:?}");
    }
    assert_eq!(origin.counts().requests(Kind::BlobHead), 4);
}

#[tokio::test]
async fn a_range_that_is_not_what_the_layer_has_fails_a_lazy_pull() {
    let origin = origin_of(200_000).await;
    let layer = origin.image("library/app", "v1").linux("amd64").layers[0].clone();
    origin.on_body(&layer.digest).once(Fault::FlipBit(199_000));
    let failed = pull(&mut client(Flavour::Lazy, &origin, None)).await;
    assert!(failed.unwrap_err().told.contains("not what the layer has"));
    origin.on_body(&layer.digest).once(Fault::IgnoreRange);
    let failed = pull(&mut client(Flavour::Lazy, &origin, None)).await;
    assert!(failed.unwrap_err().told.contains("206"));
}

#[tokio::test]
async fn a_refusal_for_load_is_asked_again_at_once_and_then_fails_the_pull() {
    let origin = origin().await;
    origin.set_quota(Some(Quota {
        anonymous: 1,
        ..Quota::default()
    }));
    let failed = pull(&mut node(&origin)).await.unwrap_err();
    assert_eq!(failed.status, Some(429), "{failed}");
    assert_eq!(origin.counts().requests(Kind::ManifestGet), 7);
    origin.set_quota(None);
    let busy = Fault::Answer(Reply::abuse_limit());
    origin.on(Kind::ManifestHead).times(5, busy);
    pull(&mut node(&origin)).await.unwrap();
}

#[tokio::test]
async fn podman_waits_for_as_long_as_it_is_told_to_before_it_asks_again() {
    let origin = origin().await;
    let busy = Reply::abuse_limit().header("retry-after", "3600");
    origin
        .on(Kind::ManifestGet)
        .times(4, Fault::Answer(busy.clone()));
    let mut node = client(Flavour::Podman, &origin, None);
    pull(&mut node).await.unwrap();
    assert_eq!(origin.counts().requests(Kind::ManifestGet), 6);
    origin.on(Kind::ManifestGet).times(5, Fault::Answer(busy));
    let failed = pull(&mut node).await.unwrap_err();
    assert_eq!(failed.status, Some(429), "{failed}");
}

#[tokio::test]
async fn wrong_bytes_fail_the_pull_and_so_does_a_reset() {
    for fault in [Fault::FlipBit(3), Fault::ResetAt(3)] {
        let origin = origin().await;
        origin.on(Kind::BlobGet).once(fault);
        let failed = pull(&mut node(&origin)).await.unwrap_err();
        assert_eq!(failed.status, None, "{failed}");
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_resumed_as_each_client_does() {
    for flavour in [Flavour::Containerd, Flavour::Dockerd] {
        let origin = origin().await;
        let image = origin.image("library/app", "v1");
        let layer = &image.linux("amd64").layers[0];
        origin.on_body(&layer.digest).once(Fault::CutAt(3_000));
        pull(&mut client(flavour, &origin, None)).await.unwrap();
        let ranges = origin.ranges_requested(&layer.digest);
        assert_eq!(ranges, [0..5_000, 3_000..5_000]);

        // A server that ignores the range: the one skips what it has, the other begins anew.
        origin.on_body(&layer.digest).once(Fault::CutAt(3_000));
        origin.on_body(&layer.digest).once(Fault::IgnoreRange);
        pull(&mut client(flavour, &origin, None)).await.unwrap();
    }
    // podman resumes only after a megabyte.
    let origin = origin_of(3 << 20).await;
    let image = origin.image("library/app", "v1");
    let layer = &image.linux("amd64").layers[0];
    origin.on_body(&layer.digest).once(Fault::CutAt(2 << 20));
    pull(&mut client(Flavour::Podman, &origin, None))
        .await
        .unwrap();
    origin.on_body(&layer.digest).once(Fault::CutAt(1_000));
    let failed = pull(&mut client(Flavour::Podman, &origin, None)).await;
    assert!(failed.unwrap_err().told.contains("broke off"));
}

#[tokio::test]
async fn a_body_that_ends_early_again_and_again_fails_the_pull() {
    let origin = origin().await;
    origin.on(Kind::BlobGet).always(Fault::CutAt(3));
    let failed = pull(&mut node(&origin)).await.unwrap_err();
    assert_eq!(failed.status, None, "{failed}");
}

/// What goes around the mirror where it fails a blob: that alone, the whole pull, or nothing.
#[tokio::test]
async fn clients_go_around_a_mirror_that_fails_a_blob_each_in_its_way() {
    for (flavour, around) in [
        (Flavour::Containerd, Some(1)),
        (Flavour::Dockerd, Some(9)),
        (Flavour::Podman, None),
        (Flavour::Lazy, None),
    ] {
        let (mirror, registry) = (origin().await, origin().await);
        let config = mirror
            .image("library/app", "v1")
            .linux("amd64")
            .config
            .clone();
        mirror.on_body(&config.digest).times(5, Fault::status(500));
        let mut node = client(flavour, &mirror, Some(&registry));
        let pulled = pull(&mut node).await;
        match (flavour, around) {
            (Flavour::Lazy, _) => assert_eq!(pulled.unwrap().around, 1),
            (Flavour::Dockerd, _) => {
                // What it has by then is not fetched again.
                let around = pulled.unwrap().around;
                assert!((5..=9).contains(&around), "{around}");
            }
            (_, Some(around)) => assert_eq!(pulled.unwrap().around, around),
            (_, None) => assert_eq!(pulled.unwrap_err().status, Some(500)),
        }
        assert_eq!(
            node.requests(),
            mirror.counts().total() + registry.counts().total()
        );
    }
}

#[tokio::test]
async fn every_client_goes_around_a_mirror_that_is_away() {
    let (mirror, registry) = (origin().await, origin().await);
    mirror.stop().await;
    for flavour in Flavour::ALL {
        let mut node = client(flavour, &mirror, Some(&registry));
        let pulled = pull(&mut node).await.unwrap();
        assert_eq!(pulled.around, registry.counts().total(), "{flavour}");
        for request in registry.requests() {
            assert!(!request.target.contains("ns="), "{request:?}");
        }
        registry.reset();
        let failed = pull(&mut client(flavour, &mirror, None)).await;
        assert_eq!(failed.unwrap_err().status, None, "{flavour}");
    }
}

#[tokio::test]
async fn a_connection_that_has_ended_meanwhile_is_made_anew() {
    let origin = origin().await;
    let mut node = node(&origin);
    pull(&mut node).await.unwrap();
    origin.stop().await;
    assert!(pull(&mut node).await.is_err());
    origin.start_again().await.unwrap();
    pull(&mut node).await.unwrap();
}

/// It was used again, with the rest of the old answer before the new one.
#[tokio::test]
async fn a_connection_that_a_failed_pull_left_in_the_middle_of_a_body_is_not_used_again() {
    let origin = origin().await;
    let image = origin.image("library/app", "v1");
    let layers = &image.linux("amd64").layers;
    let gate = origin.on_body(&layers[0].digest).hold_at(3_000);
    origin.on_body(&layers[1].digest).once(Fault::FlipBit(3));
    let mut node = node(&origin);
    let failed = pull(&mut node).await.unwrap_err();
    assert_eq!(failed.status, None, "{failed}");
    gate.release();
    pull(&mut node).await.unwrap();
}

#[tokio::test]
async fn what_was_asked_is_added_up_with_its_times() {
    let origin = origin().await;
    let tally = Arc::new(Tally::default());
    let mut node = Node::of(&Client {
        flavour: Flavour::Containerd,
        from: None,
        mirror: Arc::new(Place::mirror(address(&origin))),
        registry: None,
        hurry: 1,
        tally: Arc::clone(&tally),
    });
    origin.on(Kind::ManifestHead).times(2, Fault::status(429));
    let config = origin
        .image("library/app", "v1")
        .linux("amd64")
        .config
        .clone();
    origin.on_body(&config.digest).once(Fault::CutAt(1));
    pull(&mut node).await.unwrap();
    origin.on(Kind::ManifestHead).once(Fault::status(503));
    pull(&mut node).await.unwrap_err();
    let sums = tally.sums();
    assert_eq!((sums.requests, sums.refusals), (12, 2));
    assert_eq!((sums.errors, sums.cut), (1, 1));
    assert_eq!((sums.unanswered, sums.around), (0, 0));
    let sent: u64 = origin.requests().iter().map(|it| it.body_bytes).sum();
    assert!(sums.bytes > 4 * 5_000 && sums.bytes <= sent, "{sums:?}");
    let asked = tally.asked(0);
    assert_eq!(asked.len(), 12);
    assert!(asked.iter().all(|it| it.first_byte <= it.took));
    assert_eq!(tally.asked(11).len(), 1);
}
