//! How long tags are trusted, by upstream and by what they are called: what an origin is asked, and what clients are given.

use std::time::Duration;

use forebay_loadtest::origin::{Fault, ImageSpec, Kind, Origin, Reply};
use http::StatusCode;

use crate::harness::{Answer, Client, Forebay, Setup, plain_origin};

const NAME: &str = "library/app";

fn image(seed: u64) -> ImageSpec {
    ImageSpec {
        layers: 1,
        layer_size: 1_000,
        seed: Some(seed),
        ..ImageSpec::default()
    }
}

async fn origin_with(tags: &[&str]) -> Origin {
    let builder = plain_origin().repository(NAME, |repository| {
        for tag in tags {
            repository.image(tag, &image(1));
        }
    });
    builder.start().await.unwrap()
}

/// `tag` points at another image from now on. Its digest.
fn move_tag(origin: &Origin, tag: &str) -> String {
    origin.edit(NAME, |repository| {
        repository.image(tag, &image(2));
    });
    origin.image(NAME, tag).root.digest.to_string()
}

/// How often the origin was asked about `tag` itself.
fn asked(origin: &Origin, tag: &str) -> usize {
    let by_tag = [Kind::ManifestHead, Kind::ManifestGet].map(|kind| origin.requests_for(kind));
    let tail = format!("/manifests/{tag}");
    let requests = by_tag.iter().flatten();
    requests
        .filter(|request| request.target.ends_with(&tail))
        .count()
}

/// Asks for `tag` until the answer is as wanted.
async fn until(client: &Client, tag: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let answered = async {
        loop {
            let answer = client.manifest(NAME, tag).await;
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let answered = tokio::time::timeout(Duration::from_mins(1), answered).await;
    answered.expect("the answer becomes as wanted")
}

fn status(answer: &Answer) -> &str {
    answer.header("cache-status")
}

async fn mirror(origin: &Origin, tags: &str, lines: &str) -> Forebay {
    let setup = Setup::new(origin).config(&format!("[tags]\n{tags}"));
    setup.upstream(lines).start().await
}

const DUE: &str = "fresh_for = \"0s\"\nnegative_for = \"0s\"";

#[tokio::test(flavor = "multi_thread")]
async fn each_tag_is_asked_for_again_when_its_rule_says_so() {
    let tags = ["latest", "v1", "v1.2.3", "sha-0a1b"];
    let origin = origin_with(&tags).await;
    let rules = "[{ match = \"v*.*.*\", fresh_for = \"1h\" }, { match = \"v*\", fresh_for = \"0s\" }, \
                 { match = \"sha-*\", immutable = true }]";
    let rules = format!("tags = {{ fresh_for = \"0s\" }}\ntag_rules = {rules}");
    let forebay = mirror(&origin, "fresh_for = \"1h\"", &rules).await;
    let client = forebay.client();
    for tag in tags {
        assert_eq!(
            status(&client.manifest(NAME, tag).await),
            "forebay; fwd=miss"
        );
    }
    origin.reset();
    for tag in tags {
        let moved = move_tag(&origin, tag);
        let seen = client.manifest(NAME, tag).await.is_exactly(&moved);
        let is_due = matches!(tag, "latest" | "v1");
        assert_eq!(seen, is_due, "{tag}");
        assert_eq!(asked(&origin, tag) > 0, is_due, "{tag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_tag_is_never_asked_for_again_not_even_after_a_restart() {
    let origin = origin_with(&["v1"]).await;
    let rules = "tag_rules = [{ match = \"v*\", immutable = true }]";
    let forebay = mirror(&origin, DUE, rules).await;
    let absent = forebay.client().manifest(NAME, "v2").await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND);
    let old = forebay.client().manifest(NAME, "v1").await;
    move_tag(&origin, "v1");
    origin.reset();
    let forebay = forebay.restart().await;
    let client = forebay.client();
    for _ in 0..3 {
        let answer = client.manifest(NAME, "v1").await;
        assert_eq!((status(&answer), &answer.body), ("forebay; hit", &old.body));
    }
    assert_eq!(asked(&origin, "v1"), 0);
    // What is not stored is asked for as ever.
    move_tag(&origin, "v2");
    assert_eq!(client.manifest(NAME, "v2").await.status, StatusCode::OK);
}

/// An image that had been evicted here and pruned there left its fresh tag unknown, although it pointed at another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_tag_whose_image_is_nowhere_any_more_is_asked_for() {
    let origin = origin_with(&["v1"]).await;
    let rules = "tag_rules = [{ match = \"v*\", immutable = true }]";
    let forebay = mirror(&origin, DUE, rules).await;
    forebay.client().manifest(NAME, "v1").await;
    let old = origin.image(NAME, "v1").root.digest.to_string();
    let moved = move_tag(&origin, "v1");
    let gone = origin.on(Kind::ManifestGet).reference(&old);
    gone.always(Fault::Answer(Reply::status(404)));
    let blobs = forebay.cache_dir().join("blobs");
    let (_, setup) = forebay.stop().await;
    std::fs::remove_dir_all(blobs).unwrap();
    let forebay = setup.start().await;
    let answer = forebay.client().manifest(NAME, "v1").await;
    assert!(answer.is_exactly(&moved), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_tag_upstream_is_seen_within_fresh_for() {
    let origin = origin_with(&["moved", "deleted", "revoked"]).await;
    let forebay = mirror(&origin, "fresh_for = \"1s\"", "").await;
    let client = forebay.client();
    for tag in ["moved", "deleted", "revoked"] {
        assert_eq!(client.manifest(NAME, tag).await.status, StatusCode::OK);
    }
    let new = move_tag(&origin, "moved");
    origin.edit(NAME, |repository| repository.remove_tag("deleted"));
    for kind in [Kind::ManifestHead, Kind::ManifestGet] {
        let revoke = origin.on(kind).reference("revoked");
        revoke.always(Fault::Answer(Reply::status(403)));
    }
    // Whatever was answered before the second was over, what comes after it is true.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let moved = client.manifest(NAME, "moved").await;
    assert!(moved.is_exactly(&new), "{}", moved.text());
    for (tag, status) in [
        ("deleted", StatusCode::NOT_FOUND),
        ("revoked", StatusCode::FORBIDDEN),
    ] {
        for _ in 0..2 {
            assert_eq!(client.manifest(NAME, tag).await.status, status, "{tag}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tag_is_kept_where_that_is_wanted_and_says_so() {
    let origin = origin_with(&["v1", "keep-1"]).await;
    let rules = "tag_rules = [{ match = \"keep-*\", keep_deleted = true }]";
    let forebay = mirror(&origin, DUE, rules).await;
    let client = forebay.client();
    for tag in ["v1", "keep-1"] {
        client.manifest(NAME, tag).await;
    }
    let old = client.manifest(NAME, "keep-1").await;
    origin.edit(NAME, |repository| {
        repository.remove_tag("v1");
        repository.remove_tag("keep-1");
    });
    let gone = client.manifest(NAME, "v1").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let kept = client.manifest(NAME, "keep-1").await;
    let deleted = "forebay; fwd=stale; detail=upstream-deleted";
    assert_eq!((status(&kept), &kept.body), (deleted, &old.body));
    assert!(!kept.header("age").is_empty());
    let labels = "reason=\"upstream-deleted\"";
    let served = forebay.metric("forebay_stale_served_total", labels).await;
    assert!((served - 1.0).abs() < f64::EPSILON, "{served}");
    // It is no less kept by the next process, and it is what it is pushed as again.
    let forebay = forebay.restart().await;
    let client = forebay.client();
    assert_eq!(status(&client.manifest(NAME, "keep-1").await), deleted);
    let new = move_tag(&origin, "keep-1");
    let back = client.manifest(NAME, "keep-1").await;
    assert!(back.is_exactly(&new), "{}", back.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_tag_is_asked_for_as_seldom_as_an_absent_one() {
    let origin = origin_with(&["v1"]).await;
    let tags = "fresh_for = \"0s\"\nnegative_for = \"1h\"\nkeep_deleted = true";
    let forebay = mirror(&origin, tags, "").await;
    let client = forebay.client();
    client.manifest(NAME, "v1").await;
    origin.edit(NAME, |repository| repository.remove_tag("v1"));
    origin.reset();
    for _ in 0..3 {
        let kept = client.manifest(NAME, "v1").await;
        assert_eq!(status(&kept), "forebay; fwd=stale; detail=upstream-deleted");
    }
    assert_eq!(asked(&origin, "v1"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_after_a_refusal_nor_past_stale_for() {
    for refusal in [401, 403] {
        let origin = origin_with(&["v1"]).await;
        let forebay = mirror(&origin, &format!("{DUE}\nkeep_deleted = true"), "").await;
        let client = forebay.client();
        client.manifest(NAME, "v1").await;
        let answers = |status: u16| {
            for kind in [Kind::ManifestHead, Kind::ManifestGet] {
                let by_tag = origin.on(kind).reference("v1");
                by_tag.always(Fault::Answer(Reply::status(status)));
            }
        };
        answers(refusal);
        let refused = client.manifest(NAME, "v1").await;
        assert!(refused.status.is_client_error(), "{}", refused.status);
        // A registry that hides what it refuses has not deleted it.
        origin.clear_faults();
        answers(404);
        let hidden = client.manifest(NAME, "v1").await;
        assert_eq!(hidden.status, StatusCode::NOT_FOUND);
    }
    let origin = origin_with(&["v1"]).await;
    let forebay = mirror(
        &origin,
        DUE,
        "tags = { keep_deleted = true, stale_for = \"1s\" }",
    )
    .await;
    let client = forebay.client();
    client.manifest(NAME, "v1").await;
    origin.edit(NAME, |repository| repository.remove_tag("v1"));
    let gone = until(&client, "v1", |answer| answer.status != StatusCode::OK).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_tag_is_asked_for_before_it_is_due_though_nobody_asks_then() {
    let origin = origin_with(&["v1"]).await;
    let forebay = mirror(&origin, "fresh_for = \"5s\"", "").await;
    let client = forebay.client();
    client.manifest(NAME, "v1").await;
    // A machine that is too busy to ask twice while the tag is fresh asks twice more. Two hits ask the origin for nothing.
    let before = loop {
        let before = asked(&origin, "v1");
        let answers = [
            client.manifest(NAME, "v1").await,
            client.manifest(NAME, "v1").await,
        ];
        if answers
            .iter()
            .all(|answer| status(answer) == "forebay; hit")
        {
            break before;
        }
    };
    let is_asked = async {
        while asked(&origin, "v1") == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let is_asked = tokio::time::timeout(Duration::from_mins(1), is_asked).await;
    is_asked.expect("the tag is asked for");
    assert_eq!(client.manifest(NAME, "v1").await.status, StatusCode::OK);
}
