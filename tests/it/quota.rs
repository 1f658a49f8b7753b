//! No pull is sent that an upstream's quota has no room for: what an origin with a quota is asked, and what clients are told.
//!
//! Windows are the origin's own: hours where none may end during a test, a few seconds where one has to.

mod limits;
mod refusals;
mod restart;

use std::time::Duration;

use forebay_loadtest::origin::{ImageSpec, Kind, Origin, Quota};
use futures_util::future::join_all;
use http::StatusCode;

use crate::harness::{Answer, Client, Forebay, small_images};

const NAME: &str = "library/app";

/// Tags that mirrors don't ask for again while a test runs.
const FRESH: &str = "[tags]\nfresh_for = \"1h\"\nnegative_for = \"0s\"";
/// Tags that are due at every request.
const DUE: &str = "[tags]\nfresh_for = \"0s\"\nnegative_for = \"0s\"";

fn hours(pulls: i64) -> Quota {
    Quota {
        anonymous: pulls,
        ..Quota::default()
    }
}

fn seconds(pulls: i64, window: u64) -> Quota {
    Quota {
        anonymous: pulls,
        window: Duration::from_secs(window),
        ..Quota::default()
    }
}

/// The tags of `numbers`, asked for at once.
async fn pull(client: &Client, numbers: std::ops::Range<u64>) -> Vec<Answer> {
    let tags: Vec<_> = numbers.map(|number| format!("v{number}")).collect();
    join_all(tags.iter().map(|tag| client.manifest(NAME, tag))).await
}

fn served(answers: &[Answer]) -> usize {
    let served = |answer: &&Answer| answer.status == StatusCode::OK;
    answers.iter().filter(served).count()
}

/// Each that was not served was told to come back, and when.
fn refused(answers: &[Answer]) -> usize {
    let refused = |answer: &&Answer| answer.status != StatusCode::OK;
    let refused = answers.iter().filter(refused);
    refused.inspect(|answer| assert_is_refusal(answer)).count()
}

fn assert_is_refusal(answer: &Answer) {
    assert_eq!(
        answer.status,
        StatusCode::TOO_MANY_REQUESTS,
        "{}",
        answer.text()
    );
    assert_eq!(answer.code(), "TOOMANYREQUESTS");
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!(seconds > 0);
    let status = answer.header("cache-status");
    assert!(status.contains("detail=upstream-quota"), "{status}");
}

fn gets(origin: &Origin) -> u64 {
    origin.counts().requests(Kind::ManifestGet)
}

/// A sum of metrics, as text.
async fn figure(forebay: &Forebay, name: &str, labels: &str) -> String {
    // The sum of nothing is -0.
    (forebay.metric(name, labels).await + 0.0).to_string()
}

/// Pulls that the upstream itself has refused.
async fn overdrawn(forebay: &Forebay) -> String {
    let labels = "kind=\"manifest_get\",outcome=\"too_many_requests\"";
    figure(forebay, "forebay_upstream_requests_total", labels).await
}

/// Someone else pulls at the origin, from the same address.
async fn spend_elsewhere(origin: &Origin, pulls: u64) {
    let other = Client::new(origin.host().parse().unwrap());
    for _ in 0..pulls {
        let answer = other.manifest(NAME, "v0").await;
        assert_eq!(answer.status, StatusCode::OK);
    }
}
