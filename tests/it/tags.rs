//! Digests are never asked for again; tags are, and are served stale only while their upstream is in trouble.

use std::time::Duration;

use forebay_loadtest::origin::{Fault, ImageSpec, Kind, Origin, Reply};
use http::StatusCode;

use crate::harness::{Answer, Client, Forebay, Setup, mirror_of, plain_origin};

async fn origin_with_image() -> Origin {
    let builder = plain_origin().repository("library/app", |repository| {
        drop(repository.multi_arch_image(
            "v1",
            &ImageSpec {
                seed: Some(1),
                ..ImageSpec::default()
            },
        ));
    });
    builder.start().await.unwrap()
}

fn due(origin: &Origin) -> Setup {
    Setup::new(origin).config("[tags]\nfresh_for = \"0s\"\nnegative_for = \"0s\"")
}

async fn always_due(origin: &Origin) -> Forebay {
    due(origin).start().await
}

fn move_tag(origin: &Origin) {
    origin.edit("library/app", |repository| {
        drop(repository.multi_arch_image(
            "v1",
            &ImageSpec {
                seed: Some(2),
                ..ImageSpec::default()
            },
        ));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_tag_is_served_without_asking() {
    let origin = origin_with_image().await;
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    let first = client.manifest("library/app", "v1").await;
    assert_eq!(
        first.header("docker-content-digest"),
        origin.image("library/app", "v1").root.digest.as_str()
    );
    origin.reset();
    for _ in 0..10 {
        assert_eq!(client.manifest("library/app", "v1").await.body, first.body);
    }
    assert_eq!(origin.counts().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_the_headers_of_a_get_and_makes_the_get_free() {
    let origin = origin_with_image().await;
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    let cold = client.head("/v2/library/app/manifests/v1").await;
    let warm_head = client.head("/v2/library/app/manifests/v1").await;
    let warm_get = client.manifest("library/app", "v1").await;
    for name in [
        "content-type",
        "content-length",
        "docker-content-digest",
        "docker-distribution-api-version",
        "etag",
    ] {
        assert_eq!(cold.header(name), warm_get.header(name), "{name}");
        assert_eq!(warm_head.header(name), warm_get.header(name), "{name}");
    }
    assert_eq!(origin.counts().requests(Kind::ManifestGet), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_tag_costs_one_head_however_many_ask() {
    let origin = origin_with_image().await;
    let forebay = always_due(&origin).await;
    let client = forebay.client();
    client.manifest("library/app", "v1").await;
    origin.reset();
    let gate = forebay_loadtest::origin::Gate::new();
    origin
        .on(Kind::ManifestHead)
        .once(Fault::HoldHead(gate.clone()));
    let asks = tokio::spawn({
        let client = client.clone();
        async move {
            futures_util::future::join_all((0..50).map(|_| client.manifest("library/app", "v1")))
                .await
        }
    });
    gate.reached(1).await;
    forebay
        .until_metric("forebay_requests_running", "", |running| running >= 50.0)
        .await;
    gate.release();
    for answer in asks.await.unwrap() {
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert_eq!(origin.counts().requests(Kind::ManifestHead), 1);
    assert_eq!(origin.counts().requests(Kind::ManifestGet), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_tag_is_followed_with_the_platforms_that_were_pulled() {
    let origin = origin_with_image().await;
    let forebay = always_due(&origin).await;
    let client = forebay.client();
    client.manifest("library/app", "v1").await;
    let old = origin.image("library/app", "v1");
    client
        .manifest("library/app", &old.linux("amd64").descriptor.digest)
        .await;
    move_tag(&origin);
    let new = origin.image("library/app", "v1");
    let answer = client.manifest("library/app", "v1").await;
    assert!(answer.is_exactly(&new.root.digest));
    // The tag has advanced, so what a pull of it needs next is here, and the platform that nobody pulled is not.
    origin.stop().await;
    client
        .pulls_manifest("library/app", &new.linux("amd64").descriptor.digest)
        .await;
    assert!(
        client
            .manifest("library/app", &new.linux("arm64").descriptor.digest)
            .await
            .status
            .is_server_error()
    );
    client.pulls_manifest("library/app", &old.root.digest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_whose_new_manifest_cannot_be_fetched_stays_where_it_was() {
    let origin = origin_with_image().await;
    let forebay = always_due(&origin).await;
    let client = forebay.client();
    let old = client.manifest("library/app", "v1").await;
    move_tag(&origin);
    origin
        .on(Kind::ManifestGet)
        .always(Fault::Answer(Reply::quota_spent()));
    let answer = client.manifest("library/app", "v1").await;
    assert_eq!(answer.body, old.body);
    assert!(
        answer.header("cache-status").contains("stale"),
        "{:?}",
        answer.headers
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_served_stale_in_trouble_and_never_when_it_is_refused_or_gone() {
    for (status, stale) in [
        (500, true),
        (503, true),
        (429, true),
        (401, false),
        (403, false),
        (404, false),
    ] {
        let origin = origin_with_image().await;
        let forebay = always_due(&origin).await;
        let client = forebay.client();
        client.manifest("library/app", "v1").await;
        origin
            .on(Kind::ManifestHead)
            .always(Fault::Answer(Reply::status(status)));
        let answer = client.manifest("library/app", "v1").await;
        assert_eq!(
            answer.status == StatusCode::OK,
            stale,
            "upstream {status}: {} {}",
            answer.status,
            answer.text()
        );
        assert_eq!(
            answer.header("cache-status").contains("stale"),
            stale,
            "upstream {status}"
        );
    }
}

/// Asks for `library/app:v1` until the answer is as wanted.
async fn until_answered(client: &Client, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let answered = async {
        loop {
            let answer = client.manifest("library/app", "v1").await;
            if wanted(&answer) {
                return answer;
            }
        }
    };
    let answered = tokio::time::timeout(Duration::from_mins(1), answered).await;
    answered.expect("the answer becomes as wanted")
}

/// A cached tag of a silent upstream waited for the upstream's own time-outs, on every request.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_upstream_holds_up_no_cached_tag_and_is_believed_once_it_speaks() {
    let origin = origin_with_image().await;
    let forebay = due(&origin).impatient().start().await;
    let client = forebay.client();
    let cached = client.manifest("library/app", "v1").await;
    origin.reset();
    let silence = origin.on(Kind::ManifestHead).hold_head();
    for _ in 0..10 {
        let answer = client.manifest("library/app", "v1").await;
        assert_eq!(answer.body, cached.body);
        let status = answer.header("cache-status");
        assert!(status.contains("upstream-unavailable"), "{status}");
    }
    // The one question that was asked still waits for its first answer.
    assert_eq!(origin.counts().requests(Kind::ManifestHead), 1);
    assert_eq!(silence.waiting(), 1);

    origin.edit("library/app", |repository| repository.remove_tag("v1"));
    silence.release();
    let gone = until_answered(&client, |answer| answer.status != StatusCode::OK).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

/// HEAD answered, GET did not, and the client had a 504 while the old manifest was there.
#[tokio::test(flavor = "multi_thread")]
async fn a_moved_tag_whose_new_manifest_does_not_come_is_served_as_it_was() {
    let origin = origin_with_image().await;
    let forebay = due(&origin).impatient().start().await;
    let client = forebay.client();
    let old = client.manifest("library/app", "v1").await;
    move_tag(&origin);
    let silence = origin.on(Kind::ManifestGet).hold_head();
    for _ in 0..10 {
        assert_eq!(client.manifest("library/app", "v1").await.body, old.body);
    }
    assert_eq!(silence.waiting(), 1);
    silence.release();
    let new = origin.image("library/app", "v1").root.digest;
    let answer = until_answered(&client, |answer| answer.body != old.body).await;
    assert!(answer.is_exactly(&new), "{}", answer.text());
}

/// What the refresh behind a stale answer found out was ignored, so that a tag was served as long as the operator
/// allows a revalidation to take, whatever the upstream said of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_in_the_background_ends_the_serving_of_a_stale_tag() {
    for status in [401, 403, 404] {
        let origin = origin_with_image().await;
        let lines = "fresh_for = \"0s\"\nstale_while_revalidate = \"1h\"\nnegative_for = \"0s\"";
        let forebay = Setup::new(&origin)
            .config(&format!("[tags]\n{lines}"))
            .start()
            .await;
        let client = forebay.client();
        client.manifest("library/app", "v1").await;
        for kind in [Kind::ManifestHead, Kind::ManifestGet] {
            let refuse = origin.on(kind).reference("v1");
            refuse.always(Fault::Answer(Reply::status(status)));
        }
        let first = client.manifest("library/app", "v1").await;
        assert!(first.header("cache-status").contains("revalidating"));
        let refused = until_answered(&client, |answer| answer.status != StatusCode::OK).await;
        assert!(refused.status.is_client_error(), "{}", refused.status);
        // Nor is it served when the upstream goes away after its refusal.
        origin.stop().await;
        let away = client.manifest("library/app", "v1").await;
        assert!(away.status.is_server_error(), "{status}: {}", away.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_images_pull_while_the_upstream_is_down_until_stale_for_is_over() {
    let origin = origin_with_image().await;
    let setup = Setup::new(&origin).config("[tags]\nfresh_for = \"0s\"");
    let forebay = setup.start().await;
    let client = forebay.client();
    let before = client.manifest("library/app", "v1").await;
    origin.stop().await;
    let stale = client.manifest("library/app", "v1").await;
    assert_eq!(stale.body, before.body);
    assert!(stale.header("cache-status").contains("stale"));
    assert!(!stale.header("age").is_empty());
    let (_, setup) = forebay.stop().await;
    let forebay = setup.config("stale_for = \"0s\"").start().await;
    let too_old = forebay.client().manifest("library/app", "v1").await;
    assert!(too_old.status.is_server_error(), "{}", too_old.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_whose_head_is_refused_or_tells_no_digest_is_asked_by_get() {
    for fault in [Fault::status(405), Fault::no_digest_header()] {
        let origin = origin_with_image().await;
        origin.on(Kind::ManifestHead).always(fault.clone());
        let forebay = always_due(&origin).await;
        let client = forebay.client();
        client.manifest("library/app", "v1").await;
        move_tag(&origin);
        let new = origin.image("library/app", "v1").root.digest;
        let answer = client.manifest("library/app", "v1").await;
        assert!(answer.is_exactly(&new), "{fault:?}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_tag_is_remembered_for_seconds_only() {
    let origin = origin_with_image().await;
    let forebay = Setup::new(&origin)
        .config("[tags]\nnegative_for = \"1h\"")
        .start()
        .await;
    let client = forebay.client();
    let first = client.manifest("library/app", "none").await;
    assert_eq!(
        (first.status, first.code().as_str()),
        (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN")
    );
    let asked = origin.counts().total();
    assert_eq!(
        client.manifest("library/app", "none").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(origin.counts().total(), asked);
}
