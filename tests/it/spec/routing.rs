//! Every way in which a client says which registry it means, and that none is mistaken for another.

use std::net::Ipv4Addr;

use forebay_loadtest::origin::{Descriptor, Origin};
use http::{Method, StatusCode};

use crate::harness::{Forebay, Setup, authority, blob_path, plain_origin, tls_before};

/// Docker Hub, and another registry; each with blobs of its own in repositories of the same names.
struct World {
    hub: Origin,
    other: Origin,
    forebay: Forebay,
}

const NAMES: [&str; 4] = ["library/app", "org/app", "app", "other/app"];

impl World {
    async fn start() -> (Self, Descriptor, Descriptor) {
        let (hub, in_hub) = origin(1).await;
        let (other, in_other) = origin(2).await;
        let lines = "alias = \"other\"\nhosts = [\"other.mirror.example\"]";
        let setup = Setup::new(&hub).also("other.example", &other, lines);
        let forebay = setup.start().await;
        let world = Self {
            hub,
            other,
            forebay,
        };
        (world, in_hub, in_other)
    }
}

async fn origin(seed: u64) -> (Origin, Descriptor) {
    let mut builder = plain_origin();
    let mut blob = None;
    for name in NAMES {
        builder = builder.repository(name, |repository| {
            blob = Some(repository.random_blob(seed, 1000));
        });
    }
    (builder.start().await.unwrap(), blob.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_name_a_registry_reaches_it_and_is_told_which_it_was() {
    let (world, in_hub, in_other) = World::start().await;
    let client = world.forebay.client();
    let mut asked = 0;
    for (path, headers, registry) in [
        ("/v2/library/app", &[][..], "docker.io"),
        ("/v2/app", &[], "docker.io"),
        ("/v2/docker.io/library/app", &[], "docker.io"),
        ("/v2/registry-1.docker.io/app", &[], "docker.io"),
        ("/docker.io/v2/library/app", &[], "docker.io"),
        ("/dockerhub/v2/library/app", &[], "docker.io"),
        ("/v2/dockerhub/library/app", &[], "docker.io"),
        ("/v2/_/dockerhub/library/app", &[], "docker.io"),
        ("/v2/_/docker.io/app", &[], "docker.io"),
        ("/v2/library/app?ns=docker.io", &[], "docker.io"),
        ("/v2/library/app?ns=registry-1.docker.io", &[], "docker.io"),
        // BuildKit, and containerd with `override_path`.
        ("/v2/docker.io/library/app?ns=docker.io", &[], "docker.io"),
        ("/v2/dockerhub/library/app?ns=docker.io", &[], "docker.io"),
        ("/v2/_/docker.io/app?ns=docker.io", &[], "docker.io"),
        ("/v2/other.example/org/app", &[], "other.example"),
        ("/v2/other.example/app", &[], "other.example"),
        ("/other.example/v2/org/app", &[], "other.example"),
        ("/other/v2/app", &[], "other.example"),
        ("/v2/other/org/app", &[], "other.example"),
        ("/v2/_/other/app", &[], "other.example"),
        ("/v2/_/other.example/org/app", &[], "other.example"),
        ("/v2/org/app?ns=other.example", &[], "other.example"),
        (
            "/v2/other.example/app?ns=other.example",
            &[],
            "other.example",
        ),
        // An organisation may be called as an alias is.
        ("/v2/other/app?ns=other.example", &[], "other.example"),
        ("/v2/other/app", &[], "docker.io"),
        (
            "/v2/org/app",
            &[("oci-namespace", "other.example")],
            "other.example",
        ),
        (
            "/v2/org/app",
            &[("host", "other.mirror.example")],
            "other.example",
        ),
        (
            "/v2/other/app",
            &[("host", "other.mirror.example:5000")],
            "other.example",
        ),
        (
            "/v2/library/app?ns=docker.io",
            &[("host", "other.mirror.example")],
            "docker.io",
        ),
    ] {
        let blob = if registry == "docker.io" {
            &in_hub.digest
        } else {
            &in_other.digest
        };
        let (name, query) = path.split_once('?').unwrap_or((path, ""));
        let path = format!("{name}/blobs/{blob}?{query}");
        let answer = client.ask(Method::GET, &path, headers).await;
        assert!(answer.is_exactly(blob), "{path} {headers:?}");
        assert_eq!(answer.header("oci-namespace"), registry, "{path}");
        asked += 1;
    }
    assert_eq!(asked, 29);
    for origin in [&world.hub, &world.other] {
        let requests = origin.requests();
        let forwarded = requests.iter().filter(|asked| asked.target.contains("ns="));
        assert_eq!(forwarded.count(), 0, "`ns` is between the client and us");
    }
}

/// dockerd names no registry. `docker pull other/app` was served from the upstream with the alias `other`: another
/// image than the one asked for, by whoever has that name there.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_docker_hub_is_never_taken_for_one_of_an_alias() {
    let (world, in_hub, in_other) = World::start().await;
    let client = world.forebay.client();
    client.pulls("other/app", &in_hub.digest).await;
    let theirs = client.blob("other/app", &in_other.digest).await;
    assert_eq!(theirs.status, StatusCode::NOT_FOUND);
    assert_eq!(world.other.counts().total(), 0);
    // What a client writes that maps the other registry to this mirror is never asked of Docker Hub.
    world.hub.reset();
    client.pulls("_/other/app", &in_other.digest).await;
    assert_eq!(world.hub.counts().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_configured_is_refused_with_what_to_add() {
    let (world, blob, _) = World::start().await;
    let client = world.forebay.client();
    let digest = &blob.digest;
    for (path, names) in [
        (
            blob_path("new.example/app", digest),
            "[upstreams.\\\"new.example\\\"]",
        ),
        (
            blob_path("_/new.example/app", digest),
            "[upstreams.\\\"new.example\\\"]",
        ),
        (
            format!("{}?ns=new.example:5000", blob_path("app", digest)),
            "[upstreams.\\\"new.example:5000\\\"]",
        ),
        (
            "/new.example/v2/".to_owned(),
            "[upstreams.\\\"new.example\\\"]",
        ),
        (
            "/v2/_catalog?ns=new.example".to_owned(),
            "[upstreams.\\\"new.example\\\"]",
        ),
        (format!("/nobody/v2/app/blobs/{digest}"), "`alias`"),
        (blob_path("_/nobody/app", digest), "`alias`"),
    ] {
        let answer = client.get(&path).await;
        let found = (answer.status.as_u16(), answer.code());
        assert_eq!(found, (404, "NAME_UNKNOWN".to_owned()), "{path}");
        assert!(answer.text().contains(names), "{path}: {}", answer.text());
    }
    let contradiction = format!("{}?ns=docker.io", blob_path("_/other/app", digest));
    let answer = client.get(&contradiction).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    // An error says as well which registry it is about.
    let unknown = client
        .get("/v2/library/app/manifests/unknown?ns=other.example")
        .await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.header("oci-namespace"), "other.example");
    assert_eq!(world.hub.counts().total(), 0);
}

/// A family is each fetched from its own host, over TLS, so its member here is an address.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_a_family_is_reached_however_it_is_named_and_nothing_beside_it() {
    let (hub, in_hub) = origin(1).await;
    let (member, blob) = origin(2).await;
    let target = member.registry_url().replace("http://", "");
    let port = tls_before(target, Ipv4Addr::LOCALHOST.into()).await.port();
    let registry = format!("127.0.0.1:{port}");
    let family = format!(
        "[upstreams.\"127.*.0.1:{port}\"]\nca_file = {:?}\nallow_private = true",
        authority()
    );
    let forebay = Setup::new(&hub).config(&family).start().await;
    let client = forebay.client();
    let digest = &blob.digest;
    for (path, headers) in [
        (format!("/v2/org/app/blobs/{digest}?ns={registry}"), &[][..]),
        (
            format!("/v2/org/app/blobs/{digest}"),
            &[("oci-namespace", registry.as_str())],
        ),
        (format!("/v2/{registry}/org/app/blobs/{digest}"), &[]),
        (format!("/v2/_/{registry}/app/blobs/{digest}"), &[]),
        (format!("/{registry}/v2/org/app/blobs/{digest}"), &[]),
        (
            format!("/v2/{registry}/app/blobs/{digest}?ns={registry}"),
            &[],
        ),
    ] {
        let answer = client.ask(Method::GET, &path, headers).await;
        assert!(answer.is_exactly(digest), "{path}: {}", answer.text());
        assert_eq!(answer.header("oci-namespace"), registry, "{path}");
    }
    assert!(member.counts().total() > 0);
    assert_eq!(hub.counts().total(), 0);
    let asked = member.counts().total();
    for beside in [
        format!("127.0.0.2:{port}"),
        format!("127.0.0.1.example:{port}"),
        format!("x.127.0.0.1:{port}"),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{}", port ^ 1),
    ] {
        let answer = client
            .get(&format!("/v2/app/blobs/{digest}?ns={beside}"))
            .await;
        let found = (answer.status.as_u16(), answer.code());
        assert_eq!(found, (404, "NAME_UNKNOWN".to_owned()), "{beside}");
        assert!(answer.text().contains("[upstreams."), "{}", answer.text());
    }
    assert_eq!(member.counts().total(), asked);
    let in_hub = client.blob("app", &in_hub.digest).await;
    assert_eq!(in_hub.header("oci-namespace"), "docker.io");
}
