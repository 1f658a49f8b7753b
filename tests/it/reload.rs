//! SIGHUP: another configuration while clients are served.

use forebay_loadtest::origin::{Auth, Builder, ImageSpec, Kind, Origin};
use http::Method;

use crate::harness::{
    Setup, blob_path, hold_body, manifest_path, origin_with_blob, plain_origin, sha256,
    small_images,
};

#[tokio::test]
async fn what_is_configured_anew_counts_for_the_next_request() {
    let origin = small_images(1).start().await.unwrap();
    let mirror = Setup::new(&origin)
        .config("[server]\ncatalog = true")
        .also("other.test", &origin, "")
        .start()
        .await;
    let client = mirror.client();
    let other = manifest_path("other.test/library/app", "v0");
    assert_eq!(client.get(&other).await.status, 200);
    mirror.rewrite("\"other.test\"", "\"new.test\"");
    mirror.rewrite("catalog = true", "catalog = false");
    mirror.reloaded().await;
    let gone = client.get(&other).await;
    assert_eq!(
        (gone.status.as_u16(), gone.code().as_str()),
        (404, "NAME_UNKNOWN")
    );
    let new = manifest_path("new.test/library/app", "v0");
    assert_eq!(client.get(&new).await.status, 200);
    assert_eq!(client.get("/v2/_catalog").await.status, 404);
    let status = mirror.admin().get("/api/status").await.text();
    assert!(
        status.contains("new.test") && !status.contains("other.test"),
        "{status}"
    );
}

/// The same words, asked before and after, lead to another registry.
#[tokio::test]
async fn an_alias_that_goes_to_another_upstream_leads_there_at_once() {
    let [one, other] = [small_images(1), small_images(1)].map(Builder::start);
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    let mirror = Setup::new(&one)
        .also("one.test", &one, "alias = 'ours'")
        .also("other.test", &other, "alias = 'theirs'")
        .start()
        .await;
    let path = manifest_path("_/ours/library/app", "v0");
    for (before, registry) in [(true, "one.test"), (false, "other.test")] {
        if !before {
            mirror.rewrite("alias = 'ours'", "alias = 'old'");
            mirror.rewrite("alias = 'theirs'", "alias = 'ours'");
            mirror.reloaded().await;
        }
        // The second one is answered from memory.
        for _ in 0..2 {
            let answer = mirror.client().get(&path).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.headers["oci-namespace"], registry);
        }
    }
    assert_eq!(other.counts().requests(Kind::ManifestGet), 1);
}

/// A body that runs is not touched, nor the fill behind it.
#[tokio::test]
async fn a_running_transfer_outlives_its_upstreams_table() {
    const SIZE: u64 = 4 << 20;
    let (origin, blob) = origin_with_blob(1, SIZE).await;
    let mirror = Setup::with_endpoint("http://127.0.0.1:9")
        .also("other.test", &origin, "")
        .start()
        .await;
    let gate = hold_body(&origin, &blob.digest, SIZE / 2);
    let path = blob_path("other.test/library/app", &blob.digest);
    let running = mirror.client().open(Method::GET, &path, &[]).await;
    mirror.rewrite("\"other.test\"", "\"new.test\"");
    mirror.reloaded().await;
    gate.release();
    let body = running.bytes().await.expect("it ends well");
    assert_eq!(sha256(&body), blob.digest.as_ref());
    // What is cached is there for those who still may have it, and for nobody else.
    assert_eq!(mirror.client().get(&path).await.status, 404);
}

#[tokio::test]
async fn a_file_with_a_mistake_changes_nothing_and_is_told_as_check_tells_it() {
    let origin = small_images(1).start().await.unwrap();
    let mirror = Setup::new(&origin)
        .config("[server]\ncatalog = true")
        .start()
        .await;
    mirror.rewrite("catalog = true", "catalog = false\ncatalogue = 1");
    mirror.reloaded().await;
    let told = "forebay.toml:3: server.catalogue: unknown key: did you mean `catalog`?";
    let told = &told["forebay.toml".len()..];
    let beginning = told.split(": did").next().unwrap();
    mirror
        .until_logged(beginning, |log| log.contains(beginning))
        .await;
    let client = mirror.client();
    assert_eq!(client.get("/v2/_catalog").await.status, 200);
    assert_eq!(client.manifest("library/app", "v0").await.status, 200);
    let unusable = mirror
        .metric("forebay_config_reloads_total", "unusable")
        .await;
    assert!((unusable - 1.0).abs() < f64::EPSILON);
    let status = mirror.admin().get("/api/status").await.text();
    assert!(status.contains("server.catalogue"), "{status}");
    mirror.rewrite("\ncatalogue = 1", "");
    mirror.reloaded().await;
    assert_eq!(client.get("/v2/_catalog").await.status, 404);
    let status = mirror.admin().get("/api/status").await.text();
    assert!(!status.contains("server.catalogue"), "{status}");
}

#[tokio::test]
async fn keys_that_take_a_restart_are_named() {
    let origin = plain_origin().start().await.unwrap();
    let mirror = Setup::new(&origin)
        .config("[server]\nidle_timeout = '70s'\n[cache]\nmax_size = '2GiB'")
        .start()
        .await;
    mirror.rewrite("'70s'", "'71s'");
    mirror.rewrite("'2GiB'", "'3GiB'");
    mirror.reloaded().await;
    let named = "server.idle_timeout, cache.max_size";
    mirror.until_logged(named, |log| log.contains(named)).await;
    let status: serde_json::Value =
        serde_json::from_str(&mirror.admin().get("/api/status").await.text()).unwrap();
    let staying = &status["configuration"]["needs_restart"];
    let wanted = serde_json::json!(["server.idle_timeout", "cache.max_size"]);
    assert_eq!(*staying, wanted);
    assert_eq!(status["cache"]["limit_bytes"], 2_u64 << 30);
}

/// Tokens of an upstream that stays are not fetched again; those of one that has another login are.
#[tokio::test]
async fn an_upstream_whose_table_stays_keeps_what_it_has() {
    let origin = Origin::builder()
        .auth(Auth::token())
        .repository("library/app", |repository| {
            repository.random_blob(1, 1_000);
            repository.random_blob(2, 1_000);
            repository.random_blob(3, 1_000);
        })
        .start()
        .await
        .unwrap();
    let blobs: Vec<_> = [1, 2, 3].map(|seed| digest_of(seed, 1_000)).into();
    let mirror = Setup::new(&origin)
        .upstream("deny = ['none/a']")
        .config("[limits]\nmax_delay = '9s'")
        .start()
        .await;
    let tokens = || origin.counts().requests(Kind::Token);
    mirror.client().pulls("library/app", &blobs[0]).await;
    let before = tokens();
    assert!(before > 0);
    mirror.rewrite("'9s'", "'8s'");
    mirror.reloaded().await;
    mirror.client().pulls("library/app", &blobs[1]).await;
    assert_eq!(tokens(), before);
    mirror.rewrite("none/a", "none/b");
    mirror.reloaded().await;
    mirror.client().pulls("library/app", &blobs[2]).await;
    assert!(tokens() > before);
}

fn digest_of(seed: u64, size: u64) -> String {
    let mut digest = None;
    let _ = plain_origin().repository("library/app", |repository| {
        digest = Some(repository.random_blob(seed, size).digest);
    });
    digest.expect("just made").to_string()
}

/// Only at the start was an upstream asked how much of its quota is left.
#[tokio::test]
async fn an_upstream_that_a_reload_brings_is_asked_for_its_quota_and_no_other() {
    let builder = Origin::docker_hub().repository("ratelimitpreview/test", |repository| {
        repository.image("latest", &ImageSpec::default());
    });
    let origin = builder.start().await.unwrap();
    let mirror = Setup::new(&origin).start().await;
    mirror.rewrite("read_quota = false", "read_quota = true");
    mirror.reloaded().await;
    // One is told to get a token, and comes again with it.
    origin.arrived(Kind::ManifestHead, 2).await;
    origin.reset();
    mirror.reloaded().await;
    mirror.rewrite("read_quota = true", "read_quota = true\nquota = \"9/1h\"");
    mirror.reloaded().await;
    origin.arrived(Kind::ManifestHead, 2).await;
    let asked = origin.requests_for(Kind::ManifestHead);
    assert!(asked.iter().filter(|request| request.is_ok()).count() <= 1);
}
