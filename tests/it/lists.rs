//! Lists of tags and of referrers, where their upstream is slow, long or asked much.

use std::time::Duration;

use forebay_loadtest::origin::{Fault, ImageSpec, Kind, Origin, Reply};
use http::StatusCode;
use serde_json::json;

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
