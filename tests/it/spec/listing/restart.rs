//! Lists that were listed before: across restarts, while the upstream is gone, while it is slow.

use forebay_loadtest::origin::{Digest, Fault, Gate, ImageSpec, Kind, Origin};
use http::StatusCode;
use serde_json::Value;

use super::super::content::{SBOM, SIGNATURE};
use crate::harness::{Answer, Client, Forebay, Setup, plain_origin};

const TAGS: &str = "/v2/library/app/tags/list";
const UNAVAILABLE: &str = "forebay; fwd=stale; detail=upstream-unavailable";
const SLOW: &str = "forebay; fwd=stale; detail=upstream-slow";
const ALWAYS_DUE: &str = "[tags]\nfresh_for = \"0s\"\nnegative_for = \"0s\"";

/// `library/app` has three tags, and an image with an SBOM and a signature.
struct Scene {
    origin: Origin,
    referrers: String,
}

impl Scene {
    async fn start() -> Self {
        let builder = plain_origin().repository("library/app", |repository| {
            let image = repository.image("v1", &ImageSpec::default());
            repository.tag("v2", &image.digest);
            repository.tag("latest", &image.digest);
            repository.artifact(&image, SBOM, "an sbom");
            repository.artifact(&image, SIGNATURE, "a signature");
        });
        let origin = builder.start().await.unwrap();
        let image = origin.image("library/app", "v1").root;
        Self {
            referrers: format!("/v2/library/app/referrers/{}", image.digest),
            origin,
        }
    }

    fn of_type(&self, artifact_type: &str) -> String {
        format!("{}?artifactType={artifact_type}", self.referrers)
    }

    async fn mirror(&self, config: &str) -> Forebay {
        Setup::new(&self.origin).config(config).start().await
    }

    /// Stops the mirror and the origin, and starts the mirror again.
    async fn left_alone(&self, forebay: Forebay) -> Forebay {
        let (_, setup) = forebay.stop().await;
        self.origin.stop().await;
        setup.start().await
    }
}

/// What must have an answer.
async fn listed(client: &Client, path: &str) -> Answer {
    let answer = client.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    answer
}

/// Asks until the answer is its upstream's. While that is slow, as on a busy machine it is, a stale one is given, and each
/// question waits for it.
async fn until_fresh(client: &Client, path: &str) {
    for _ in 0..30 {
        let answer = listed(client, path).await;
        let status = answer.header("cache-status");
        if status.starts_with("forebay; fwd=miss") {
            return;
        }
        assert_eq!(status, SLOW, "{path}");
    }
    panic!("{path} stays stale");
}

fn types(answer: &Answer) -> Vec<String> {
    let index: Value = serde_json::from_slice(&answer.body).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    let kind = |manifest: &Value| manifest["artifactType"].as_str().unwrap().to_owned();
    let mut types: Vec<_> = manifests.iter().map(kind).collect();
    types.sort_unstable();
    types
}

/// Lists were in memory alone: after a restart they were 503 while every image still pulled.
#[tokio::test(flavor = "multi_thread")]
async fn lists_outlive_a_restart_without_their_upstream() {
    let scene = Scene::start().await;
    let forebay = scene.mirror(ALWAYS_DUE).await;
    let paths = [
        TAGS.to_owned(),
        format!("{TAGS}?n=1"),
        format!("{TAGS}?n=1&last=v1"),
        scene.referrers.clone(),
        scene.of_type(SBOM),
        scene.of_type("application/vnd.example.none"),
    ];
    let mut before = Vec::new();
    for path in &paths {
        before.push(listed(&forebay.client(), path).await);
    }
    let forebay = scene.left_alone(forebay).await;
    for (path, before) in paths.iter().zip(&before) {
        let stale = listed(&forebay.client(), path).await;
        assert_eq!(stale.body, before.body, "{path}");
        assert_eq!(stale.header("cache-status"), UNAVAILABLE, "{path}");
        assert!(!stale.header("age").is_empty(), "{path}");
        for name in ["content-type", "link", "oci-filters-applied"] {
            assert_eq!(stale.header(name), before.header(name), "{path}: {name}");
        }
    }
    let unknown = forebay.client().get("/v2/library/other/tags/list").await;
    assert!(unknown.status.is_server_error(), "{}", unknown.status);

    // Its upstream is believed as soon as it is back.
    let (_, setup) = forebay.stop().await;
    scene.origin.start_again().await.unwrap();
    let forebay = setup.start().await;
    for (path, before) in paths.iter().zip(&before) {
        let fresh = listed(&forebay.client(), path).await;
        assert_eq!(fresh.header("cache-status"), "forebay; fwd=miss", "{path}");
        assert_eq!(fresh.body, before.body, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_list_is_fresh_after_a_restart_and_one_too_old_is_not_served() {
    let scene = Scene::start().await;
    let forebay = scene.mirror("[tags]\nfresh_for = \"1h\"").await;
    for path in [TAGS, &scene.referrers] {
        listed(&forebay.client(), path).await;
    }
    let forebay = scene.left_alone(forebay).await;
    for path in [TAGS, &scene.referrers] {
        let hit = listed(&forebay.client(), path).await;
        assert_eq!(hit.header("cache-status"), "forebay; hit", "{path}");
    }
    let (_, setup) = forebay.stop().await;
    let limits = "[upstreams.\"docker.io\".tags]\nfresh_for = \"0s\"\nstale_for = \"0s\"";
    let forebay = setup.upstream(limits).start().await;
    for path in [TAGS, &scene.referrers] {
        let old = forebay.client().get(path).await;
        assert!(old.status.is_server_error(), "{path}: {}", old.status);
    }
}

/// A client that looks for signatures was told nothing, although all that refers to the image was known.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_nobody_asked_for_before_is_applied_to_the_stale_list() {
    let scene = Scene::start().await;
    let forebay = scene.mirror(ALWAYS_DUE).await;
    let all = listed(&forebay.client(), &scene.referrers).await;
    assert_eq!(types(&all), [SBOM, SIGNATURE]);
    let forebay = scene.left_alone(forebay).await;
    for (kind, expected) in [
        (SIGNATURE, &[SIGNATURE][..]),
        (SBOM, &[SBOM]),
        ("application/vnd.example.none", &[]),
    ] {
        let filtered = listed(&forebay.client(), &scene.of_type(kind)).await;
        assert_eq!(types(&filtered), expected, "{kind}");
        assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
        assert_eq!(filtered.header("cache-status"), UNAVAILABLE);
        assert!(!filtered.header("age").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_refused_does_not_come_back_with_a_restart() {
    for refusal in [401, 403, 404] {
        let scene = Scene::start().await;
        let forebay = scene.mirror(ALWAYS_DUE).await;
        let paths = [TAGS.to_owned(), scene.referrers.clone()];
        for path in &paths {
            listed(&forebay.client(), path).await;
        }
        let (_, setup) = forebay.stop().await;
        let forebay = setup.start().await;
        for kind in [Kind::Tags, Kind::Referrers] {
            scene.origin.on(kind).always(Fault::status(refusal));
        }
        for path in &paths {
            let refused = forebay.client().get(path).await;
            assert!(refused.status.is_client_error(), "{path} {refusal}");
        }
        let forebay = scene.left_alone(forebay).await;
        for path in &paths {
            let gone = forebay.client().get(path).await;
            assert!(gone.status.is_server_error(), "{path}: {}", gone.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_referrers_api_is_not_made_up_after_a_restart() {
    let origin = plain_origin().without_referrers();
    let origin = origin.repository("library/app", |_| {});
    let scene = Scene {
        origin: origin.start().await.unwrap(),
        referrers: format!("/v2/library/app/referrers/{}", Digest::sha256(b"subject")),
    };
    let forebay = scene.mirror("").await;
    let absent = forebay.client().get(&scene.referrers).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND);
    let forebay = scene.left_alone(forebay).await;
    for path in [scene.referrers.clone(), scene.of_type(SIGNATURE)] {
        let unknown = forebay.client().get(&path).await;
        assert!(unknown.status.is_server_error(), "{}", unknown.text());
    }
}

/// The bytes of a list, changed on the disk, were served.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_rotted_on_disk_costs_a_question_and_nothing_else() {
    let scene = Scene::start().await;
    let forebay = scene.mirror(ALWAYS_DUE).await;
    let client = forebay.client();
    for path in [TAGS, &scene.referrers, "/v2/library/app/manifests/v1"] {
        listed(&client, path).await;
    }
    let (_, setup) = forebay.stop().await;
    let path = setup.cache_dir().join("index.redb");
    let mut index = std::fs::read(&path).unwrap();
    let (tags, rotten) = (b"\"latest\",\"v1\"", b"\"latest\",\"X1\"");
    let places: Vec<_> = (0..index.len())
        .filter(|at| index[*at..].starts_with(tags))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        index[at..at + rotten.len()].copy_from_slice(rotten);
    }
    std::fs::write(&path, index).unwrap();
    scene.origin.stop().await;

    let forebay = setup.start().await;
    let unknown = forebay.client().get(TAGS).await;
    assert!(unknown.status.is_server_error(), "{}", unknown.text());
    for path in [&scene.referrers, "/v2/library/app/manifests/v1"] {
        let stale = listed(&forebay.client(), path).await;
        assert_eq!(stale.header("cache-status"), UNAVAILABLE, "{path}");
    }
    let (_, setup) = forebay.stop().await;
    scene.origin.start_again().await.unwrap();
    let forebay = setup.start().await;
    assert!(listed(&forebay.client(), TAGS).await.text().contains("v1"));
}

/// A list of many pages takes its time, and its upstream was called unavailable.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_takes_long_is_stale_because_its_upstream_is_slow() {
    let scene = Scene::start().await;
    let setup = Setup::new(&scene.origin).config(ALWAYS_DUE).impatient();
    let forebay = setup.start().await;
    let client = forebay.client();
    for path in [TAGS, &scene.referrers, "/v2/library/app/manifests/v1"] {
        listed(&client, path).await;
    }
    let gate = Gate::new();
    for kind in [Kind::Tags, Kind::Referrers] {
        scene.origin.on(kind).always(Fault::HoldHead(gate.clone()));
    }
    for path in [TAGS, &scene.referrers] {
        let slow = listed(&client, path).await;
        assert_eq!(slow.header("cache-status"), SLOW, "{path}");
        assert!(!slow.header("age").is_empty(), "{path}");
    }
    let stale = forebay.metric("forebay_stale_served_total", "reason=\"upstream-slow\"");
    assert!((stale.await - 2.0).abs() < f64::EPSILON);
    // Nothing else is held against it: it is asked about a tag, however long that takes here.
    let tag = listed(&client, "/v2/library/app/manifests/v1").await;
    assert_ne!(tag.header("cache-status"), UNAVAILABLE);
    let asked = scene.origin.counts().requests(Kind::ManifestHead);
    assert_eq!(asked, 1);
    // The questions went on: their answers are there for who asks next.
    gate.release();
    scene.origin.clear_faults();
    for path in [TAGS, &scene.referrers] {
        until_fresh(&client, path).await;
    }
}
