//! Lists of tags and of referrers, where their upstream is slow, long or asked much.

use std::time::Duration;

use forebay_loadtest::origin::{Fault, Gate, ImageSpec, Kind, Origin, Reply};
use http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Setup, plain_origin};

const TAGS: &str = "/v2/library/app/tags/list";
const ALWAYS_DUE: &str = "[tags]\nfresh_for = \"0s\"\nnegative_for = \"0s\"";
const UNAVAILABLE: &str = "forebay; fwd=stale; detail=upstream-unavailable";

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

async fn origin_with_tag() -> Origin {
    let builder = plain_origin().repository("library/app", |repository| {
        repository.image("v1", &ImageSpec::default());
    });
    builder.start().await.unwrap()
}

/// That a list is too long was found out again, by a hundred questions, whenever it was due.
#[tokio::test(flavor = "multi_thread")]
async fn that_a_list_is_too_long_is_found_out_once() {
    let origin = origin_with_tag().await;
    let page = Reply::status(200)
        .json(&json!({"tags": ["v1"]}))
        .header("link", "<?more>; rel=\"next\"");
    origin.on(Kind::Tags).always(Fault::Answer(page));
    let forebay = Setup::new(&origin).config(ALWAYS_DUE).start().await;
    for _ in 0..3 {
        let answer = forebay.client().get(TAGS).await;
        assert_eq!(answer.header("cache-status"), "forebay; fwd=bypass");
    }
    assert_eq!(origin.counts().requests(Kind::Tags), 100 + 3);
}

/// Registries that were taken out of the configuration went on being listed, and nothing of them could be pulled.
#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_lists_no_registry_that_is_not_configured_any_more() {
    let origin = origin_with_tag().await;
    let both = Setup::new(&origin).also("a.example", &origin, "");
    let forebay = both.start().await;
    for name in ["library/app", "a.example/library/app"] {
        let answer = forebay.client().manifest(name, "v1").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    let forebay = forebay.restart().await;
    let listed = forebay.client().get("/v2/_catalog").await.text();
    assert!(listed.contains("a.example/library/app"), "{listed}");
    let one = Setup::new(&origin).in_cache_of(&forebay);
    let _ = forebay.stop().await;
    let forebay = one.start().await;
    let listed = forebay.client().get("/v2/_catalog").await.text();
    assert!(listed.contains("library/app"), "{listed}");
    assert!(!listed.contains("a.example"), "{listed}");
}

/// The whole list's time ran out, and the good list was replaced by "too long to be kept", in memory and on disk: the
/// next client waited for the slow upstream alone, and after a restart nothing was left.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upstream_does_not_cost_the_list_that_it_gave_before() {
    let origin = origin_with_tag().await;
    let forebay = Setup::new(&origin).config(ALWAYS_DUE).start().await;
    let client = forebay.client();
    let before = client.get(TAGS).await;
    assert_eq!(before.status, StatusCode::OK);

    // No page for itself is too late.
    let page = Reply::status(200)
        .json(&json!({"tags": ["v1"]}))
        .header("link", "<?more>; rel=\"next\"");
    origin.on(Kind::Tags).always(Fault::Answer(page));
    let slowly = Fault::Delay(Duration::from_secs(1));
    origin.on(Kind::Tags).always(slowly);
    // Until the whole list's time is over, it is stale because its upstream is slow.
    let stale = async {
        loop {
            let stale = client.get(TAGS).await;
            assert_eq!((stale.status, &stale.body), (StatusCode::OK, &before.body));
            if stale.header("cache-status") == UNAVAILABLE {
                break;
            }
        }
    };
    let stale = tokio::time::timeout(PATIENCE, stale).await;
    assert!(stale.is_ok(), "the upstream's trouble is never noted");

    let (_, setup) = forebay.stop().await;
    origin.stop().await;
    let forebay = setup.start().await;
    let stale = forebay.client().get(TAGS).await;
    assert_eq!((stale.status, &stale.body), (StatusCode::OK, &before.body));
}

/// Clients choose the types that they ask for. Each was a question of its own, and a row in the index.
#[tokio::test(flavor = "multi_thread")]
async fn referrers_of_any_number_of_types_cost_one_question() {
    let origin = origin_with_tag().await;
    let image = origin.image("library/app", "v1").root;
    for kind in ["application/vnd.a", "application/vnd.b"] {
        origin.edit("library/app", |repository| {
            repository.artifact(&image, kind, kind);
        });
    }
    let referrers = format!("/v2/library/app/referrers/{}", image.digest);
    let forebay = Setup::new(&origin)
        .config("[tags]\nfresh_for = \"1h\"")
        .start()
        .await;
    for (kind, count) in [("a", 1), ("b", 1), ("c", 0), ("d", 0)] {
        let path = format!("{referrers}?artifactType=application/vnd.{kind}");
        let answer = forebay.client().get(&path).await;
        let index: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(index["manifests"].as_array().unwrap().len(), count);
        assert_eq!(answer.header("oci-filters-applied"), "artifactType");
    }
    let asked = origin.requests_for(Kind::Referrers);
    assert_eq!(asked.len(), 1);
    assert!(asked[0].target.ends_with(image.digest.as_str()));
}

/// What is too long to be listed whole is found out once; its parts are asked for as clients ask for them.
#[tokio::test(flavor = "multi_thread")]
async fn referrers_of_one_type_are_asked_for_where_all_are_too_many() {
    let origin = origin_with_tag().await;
    let image = origin.image("library/app", "v1").root;
    origin.edit("library/app", |repository| {
        repository.artifact(&image, "application/vnd.a", "an artifact");
    });
    let referrers = format!("/v2/library/app/referrers/{}", image.digest);
    let forebay = Setup::new(&origin).config(ALWAYS_DUE).start().await;
    let much = Reply::status(200)
        .header("content-type", "application/vnd.oci.image.index.v1+json")
        .body(vec![b' '; 5 << 20]);
    origin.on(Kind::Referrers).once(Fault::Answer(much));
    for _ in 0..2 {
        let whole = forebay.client().get(&referrers).await;
        assert_eq!(whole.status, StatusCode::BAD_GATEWAY);
        assert!(whole.text().contains("artifactType"), "{}", whole.text());
    }
    let one = format!("{referrers}?artifactType=application/vnd.a");
    let answer = forebay.client().get(&one).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(answer.text().contains("application/vnd.a"));
    let asked = origin.requests_for(Kind::Referrers);
    assert_eq!(asked.len(), 2);
    assert!(asked[1].target.contains("?artifactType="));
}

/// Lists of as many repositories as clients could name were fetched at once, each of some 16 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn as_many_lists_are_asked_for_as_there_are_places_and_the_rest_is_told_so() {
    let mut builder = plain_origin();
    for number in 0..17 {
        builder = builder.repository(&format!("library/app{number}"), |repository| {
            repository.image("v1", &ImageSpec::default());
        });
    }
    let origin = builder.start().await.unwrap();
    let gate = Gate::new();
    origin.on(Kind::Tags).always(Fault::HoldHead(gate.clone()));
    let forebay = Setup::new(&origin)
        .config("[timeouts]\nfirst_byte = \"1m\"")
        .start()
        .await;
    let tags = |number: usize| format!("/v2/library/app{number}/tags/list");
    let asking: Vec<_> = (0..16)
        .map(|number| {
            let (client, path) = (forebay.client(), tags(number));
            tokio::spawn(async move { client.get(&path).await })
        })
        .collect();
    gate.reached(16).await;
    let refused = forebay.client().get(&tags(16)).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text().contains("16 lists"), "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());
    gate.release();
    for asked in asking {
        assert_eq!(asked.await.unwrap().status, StatusCode::OK);
    }
    let now = forebay.client().get(&tags(16)).await;
    assert_eq!(now.status, StatusCode::OK, "{}", now.text());
}
