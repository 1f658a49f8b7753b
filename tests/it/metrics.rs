//! What `/metrics` counts, over the whole way of a request.

use forebay_loadtest::origin::{Blobs, ImageSpec, Origin};
use http::StatusCode;

use crate::harness::{Forebay, Setup, mirror_of, origin_with_blob};

/// The sum of a metric over all its labels that contain `labels`, in digits: counts are whole.
async fn count(forebay: &Forebay, name: &str, labels: &str) -> String {
    forebay.metric(name, labels).await.to_string()
}

async fn tags(forebay: &Forebay, outcome: &str) -> String {
    let label = format!("outcome=\"{outcome}");
    count(forebay, "forebay_tags_total", &label).await
}

async fn origin_with_tag() -> Origin {
    let builder = Origin::builder()
        .blobs(Blobs::Direct)
        .repository("library/app", |repository| {
            repository.image("v1", &ImageSpec::default());
        });
    builder.start().await.unwrap()
}

/// A tag that was seen for the first time counted as missing, and one that was fresh, stale or failed not at all.
#[tokio::test(flavor = "multi_thread")]
async fn each_request_for_a_tag_counts_once_by_how_it_was_decided() {
    let origin = origin_with_tag().await;
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    for (tag, status) in [
        ("v1", StatusCode::OK),
        ("v1", StatusCode::OK),
        ("v9", StatusCode::NOT_FOUND),
        ("v9", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(client.manifest("library/app", tag).await.status, status);
    }
    for (outcome, count) in [("moved", "1"), ("fresh", "1"), ("missing", "2"), ("", "4")] {
        assert_eq!(tags(&forebay, outcome).await, count, "{outcome}");
    }

    let forebay = Setup::new(&origin)
        .config("[tags]\nfresh_for = \"0s\"")
        .start()
        .await;
    let client = forebay.client();
    for _ in 0..2 {
        client.manifest("library/app", "v1").await;
    }
    origin.stop().await;
    for tag in ["v1", "v2"] {
        client.manifest("library/app", tag).await;
    }
    for outcome in ["moved", "renewed", "stale", "failed"] {
        assert_eq!(tags(&forebay, outcome).await, "1", "{outcome}");
    }
    let stale = "reason=\"upstream-unavailable\"";
    let served = count(&forebay, "forebay_stale_served_total", stale).await;
    assert_eq!(served, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_a_blob_count_once_from_the_upstream_and_each_time_from_the_disk() {
    let (origin, blob) = origin_with_blob(1, 3_000_000).await;
    let forebay = mirror_of(&origin).await;
    for _ in 0..3 {
        forebay.client().pulls("library/app", &blob.digest).await;
    }
    let fetched = count(&forebay, "forebay_upstream_bytes_total", "blob_get").await;
    assert_eq!(fetched, "3000000");
    // The last request is counted after its client has the last byte.
    let name = "forebay_client_bytes_total";
    let all = |sent| sent >= 9_000_000.0;
    forebay.until_metric(name, "blob", all).await;
    assert_eq!(count(&forebay, name, "blob").await, "9000000");
    let name = "forebay_served_bytes_total";
    forebay.until_metric(name, "blob", all).await;
    for (from, bytes, requests) in [("cache", "6000000", "2"), ("upstream", "3000000", "1")] {
        let label = format!("upstream=\"docker.io\",kind=\"blob\",from=\"{from}\"");
        let counted = count(&forebay, "forebay_served_bytes_total", &label).await;
        assert_eq!(counted, bytes, "{from}");
        let counted = count(&forebay, "forebay_served_requests_total", &label).await;
        assert_eq!(counted, requests, "{from}");
    }
    let read = forebay.metric("forebay_store_read_bytes_total", "").await;
    assert!(read >= 9_000_000.0, "{read}");
}
