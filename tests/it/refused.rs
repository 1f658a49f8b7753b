//! What an upstream has refused stays refused, whatever happens to the mirror.

use forebay_loadtest::origin::{Fault, ImageSpec, Kind, Origin};
use http::StatusCode;

use crate::harness::{Setup, plain_origin};

const ALWAYS_DUE: &str = "[tags]\nfresh_for = \"0s\"\nnegative_for = \"0s\"";

async fn origin_with_tags() -> Origin {
    let builder = plain_origin().repository("library/app", |repository| {
        let image = repository.image("v1", &ImageSpec::default());
        repository.tag("v2", &image.digest);
    });
    builder.start().await.unwrap()
}

/// That a tag was refused was known in memory alone: after a restart with its upstream away the record came back from
/// disk, and was served stale.
#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_was_refused_does_not_come_back_with_a_restart() {
    for refusal in [401, 403, 404] {
        let origin = origin_with_tags().await;
        let forebay = Setup::new(&origin).config(ALWAYS_DUE).start().await;
        for tag in ["v1", "v2"] {
            let answer = forebay.client().manifest("library/app", tag).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        }
        // From disk, as after any restart.
        let forebay = forebay.restart().await;
        let kinds = [Kind::ManifestHead, Kind::ManifestGet];
        let refused = kinds.map(|kind| {
            let v1 = origin.on(kind).reference("v1");
            v1.always(Fault::status(refusal))
        });
        let answer = forebay.client().manifest("library/app", "v1").await;
        assert!(answer.status.is_client_error(), "{}", answer.status);

        let (_, setup) = forebay.stop().await;
        origin.stop().await;
        let forebay = setup.start().await;
        let gone = forebay.client().manifest("library/app", "v1").await;
        assert!(gone.status.is_server_error(), "{refusal}: {}", gone.status);
        let stale = forebay.client().manifest("library/app", "v2").await;
        assert_eq!(stale.status, StatusCode::OK, "{}", stale.text());

        // It is believed as soon as it says otherwise, and that is kept too.
        origin.clear_faults();
        drop(refused);
        let (_, setup) = forebay.stop().await;
        origin.start_again().await.unwrap();
        let forebay = setup.start().await;
        let again = forebay.client().manifest("library/app", "v1").await;
        assert_eq!(again.status, StatusCode::OK, "{}", again.text());
        let (_, setup) = forebay.stop().await;
        origin.stop().await;
        let forebay = setup.start().await;
        let stale = forebay.client().manifest("library/app", "v1").await;
        assert_eq!(stale.status, StatusCode::OK, "{}", stale.text());
    }
}

/// The catalog went on naming a repository whose upstream had refused all that was known of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_does_not_name_what_is_refused() {
    for refusal in [401, 403] {
        let origin = origin_with_tags().await;
        let forebay = Setup::new(&origin).config(ALWAYS_DUE).start().await;
        for tag in ["v1", "v2"] {
            let answer = forebay.client().manifest("library/app", tag).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        }
        let mut forebay = forebay.restart().await;
        for (tag, is_named) in [("v1", true), ("v2", false)] {
            for kind in [Kind::ManifestHead, Kind::ManifestGet] {
                let of_tag = origin.on(kind).reference(tag);
                of_tag.always(Fault::status(refusal));
            }
            let refused = forebay.client().manifest("library/app", tag).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN);
            // What was learned is written behind the answer; a stop writes what is left.
            forebay = forebay.restart().await;
            let listed = forebay.client().get("/v2/_catalog").await.text();
            assert_eq!(listed.contains("library/app"), is_named, "{listed}");
        }
    }
}

/// Who may reach the mirror saw the names of all private repositories, and nothing could be done about it.
#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_can_be_switched_off() {
    let origin = origin_with_tags().await;
    let setup = Setup::new(&origin).config("[server]\ncatalog = false");
    let forebay = setup.start().await;
    for path in ["/v2/_catalog", "/v2/docker.io/_catalog", "/v2/_catalog?n=1"] {
        let answer = forebay.client().get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.code(), "UNSUPPORTED", "{path}");
        assert!(answer.text().contains("[server]"), "{}", answer.text());
    }
    let tags = forebay.client().get("/v2/library/app/tags/list").await;
    assert_eq!(tags.status, StatusCode::OK, "{}", tags.text());
}
