//! Requests a second, and requests at once.

use http::Method;

use crate::harness::{Setup, blob_path, hold_body, mirror_of, origin_with_blob};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_beyond_its_rate_is_refused_cheaply_and_no_other_is() {
    let (origin, blob) = origin_with_blob(1, 1000).await;
    let forebay = Setup::new(&origin)
        .config(
            "[limits]\nper_client_requests = \"3/h\"\nmax_delay = \"0s\"\nexempt = [\"127.0.0.8\"]",
        )
        .start()
        .await;
    let path = blob_path("library/app", &blob.digest);
    let client = forebay.client_at(0, 2);
    // A HEAD and what is no endpoint count as well.
    assert_eq!(client.head(&path).await.status, 200);
    assert_eq!(client.get("/v2/_catalog").await.status, 200);
    assert_eq!(client.get("/nothing").await.status, 404);
    let asked = origin.counts().total();
    for path in [path.as_str(), "/nothing", "/v2/library/app/manifests/none"] {
        let refused = client.get(path).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code().as_str()),
            (429, "TOOMANYREQUESTS")
        );
        assert!(
            refused
                .text()
                .contains("`per_client_requests` under [limits]"),
            "{}",
            refused.text()
        );
        let seconds: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=1200).contains(&seconds), "{seconds}");
    }
    assert_eq!(origin.counts().total(), asked, "a refusal asks nobody");
    // Who is refused a ping takes the mirror for dead.
    assert_eq!(client.get("/v2/").await.status, 200);
    for (last, times) in [(3, 3), (8, 9)] {
        for _ in 0..times {
            assert_eq!(forebay.client_at(0, last).get(&path).await.status, 200);
        }
    }
    let refusals = "forebay_client_refusals_total";
    assert_eq!(forebay.metric(refusals, "requests").await.to_string(), "3");
    assert_eq!(forebay.metric(refusals, "").await.to_string(), "3");
}

/// A request that had waited took a second place when it was let in, or none.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_beyond_its_clients_places_is_held_until_one_is_free() {
    let (origin, blob) = origin_with_blob(1, 1_000_000).await;
    let forebay = Setup::new(&origin)
        .config("[limits]\nper_client_in_flight = 1\nmax_delay = \"20s\"")
        .start()
        .await;
    let gate = hold_body(&origin, &blob.digest, 500_000);
    let path = blob_path("library/app", &blob.digest);
    let client = forebay.client_at(0, 2);
    let first = client.open(Method::GET, &path, &[]).await;
    assert_eq!(first.status(), 200);
    let second = tokio::spawn({
        let (client, path) = (client.clone(), path.clone());
        async move { client.get(&path).await }
    });
    forebay
        .until_metric("forebay_requests_held", "", |held| held >= 1.0)
        .await;
    // Its client gives up, and its place is the next one's.
    drop(first);
    gate.release();
    let second = second.await.unwrap();
    assert!(
        second.is_exactly(&blob.digest),
        "{}: {}",
        second.status,
        second.text()
    );
    forebay
        .until_metric("forebay_requests_held", "", |held| held < 1.0)
        .await;
    assert_eq!(
        forebay
            .metric("forebay_client_delays_total", "in_flight")
            .await
            .to_string(),
        "1"
    );
    assert!(client.get(&path).await.is_exactly(&blob.digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_limited_until_someone_says_so() {
    let (origin, blob) = origin_with_blob(1, 1000).await;
    let forebay = mirror_of(&origin).await;
    let path = blob_path("library/app", &blob.digest);
    for _ in 0..50 {
        assert_eq!(forebay.client_at(0, 2).get(&path).await.status, 200);
    }
    for metric in [
        "clients_limited",
        "client_delays_total",
        "client_refusals_total",
    ] {
        let count = forebay.metric(&format!("forebay_{metric}"), "").await;
        assert!(count < 1.0, "{metric} {count}");
    }
}
