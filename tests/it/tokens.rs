//! What clients are told when a token service or a registry refuses forebay's login.

use forebay_loadtest::origin::{Auth, Fault, ImageSpec, Kind, Origin, Reply};
use http::StatusCode;

use crate::harness::{Forebay, Setup};

const NAME: &str = "team/app";
const ALWAYS_DUE: &str = "[tags]\nfresh_for = \"0s\"\nnegative_for = \"0s\"";

/// An origin with tokens, and a mirror of it that logs in as `user`.
async fn logged_in(readers: &[&str]) -> (Origin, Forebay) {
    let builder = Origin::builder()
        .auth(Auth::token())
        .user("user", "canary-password")
        .repository(NAME, |repository| {
            for tag in ["v1", "v2"] {
                repository.image(tag, &ImageSpec::default());
            }
            repository.only_for(readers);
        });
    let origin = builder.start().await.expect("the origin starts");
    let forebay = Setup::new(&origin)
        .upstream("username = \"user\"\npassword = \"canary-password\"")
        .config(ALWAYS_DUE)
        .start()
        .await;
    (origin, forebay)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_withdrawn_is_said_to_be_and_nothing_stale_is_served() {
    let (origin, forebay) = logged_in(&["user"]).await;
    let answer = forebay.client().manifest(NAME, "v1").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());

    origin.edit(NAME, |repository| repository.only_for(&["other"]));
    origin.expire_tokens();
    let answer = forebay.client().manifest(NAME, "v1").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.code(), "DENIED");
    let text = answer.text();
    assert!(
        text.contains("the login is accepted, but may not pull team/app"),
        "{text}"
    );
    assert!(
        text.contains("the right to pull it") && text.contains("docker.io"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_under_load_leaves_what_is_stale_and_is_asked_once() {
    let (origin, forebay) = logged_in(&["user"]).await;
    let answer = forebay.client().manifest(NAME, "v1").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());

    origin.expire_tokens();
    let busy = Reply::quota_spent().header("retry-after", "60");
    origin.on(Kind::Token).always(Fault::Answer(busy));
    origin.reset();
    for _ in 0..5 {
        let stale = forebay.client().manifest(NAME, "v1").await;
        assert_eq!(stale.status, StatusCode::OK, "{}", stale.text());
        let never_seen = forebay.client().manifest(NAME, "v2").await;
        assert_eq!(never_seen.status, StatusCode::TOO_MANY_REQUESTS);
        let wait: u64 = never_seen.header("retry-after").parse().unwrap();
        // Up to a tenth later, so that not all who are refused come back at once.
        assert!((1..=66).contains(&wait), "{wait}");
    }
    assert_eq!(origin.counts().requests(Kind::Token), 1);
}
