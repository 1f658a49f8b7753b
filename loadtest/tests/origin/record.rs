//! What the origin says about what it was asked for.

use forebay_loadtest::origin::{Kind, Outcome, When};
use reqwest::Method;

use crate::client::{APP, get, get_blob, plain, request, with_blob};

#[tokio::test]
async fn requests_are_recorded_as_they_were_sent() {
    let origin = plain().await;
    request(
        &origin,
        Method::GET,
        &format!("{APP}/manifests/v1?ns=docker.io"),
    )
    .header("accept", "a/b")
    .header("accept", "c/d")
    .send()
    .await
    .unwrap();
    let requests = origin.requests();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_eq!(
        (request.kind, request.method.as_str()),
        (Kind::ManifestGet, "GET")
    );
    assert_eq!(request.target, "/v2/library/app/manifests/v1?ns=docker.io");
    assert_eq!(
        (request.repository.as_deref(), request.reference.as_deref()),
        (Some(APP), Some("v1"))
    );
    assert_eq!(request.header("accept"), ["a/b", "c/d"]);
    assert_eq!(request.status, Some(200));
    assert_eq!(request.body_bytes, origin.image(APP, "v1").root.size);
}

#[tokio::test]
async fn body_bytes_and_ranges_add_up() {
    let (origin, digest) = with_blob(1000).await;
    for range in ["bytes=0-499", "bytes=400-599", "bytes=600-"] {
        get_blob(&origin, &digest, Some(range))
            .await
            .bytes()
            .await
            .unwrap();
    }
    assert_eq!(origin.body_bytes(&digest), 1100);
    assert_eq!(
        origin.ranges_requested(&digest),
        [0..500, 400..600, 600..1000]
    );
    assert_eq!(
        origin.ranges_sent(&digest),
        origin.ranges_requested(&digest)
    );
    assert_eq!(origin.repeated_bytes_requested(&digest), 100);
    assert_eq!(origin.repeated_bytes_sent(&digest), 100);
    origin.reset();
    assert_eq!(
        (origin.counts().total(), origin.body_bytes(&digest)),
        (0, 0)
    );
}

#[tokio::test]
async fn bytes_that_a_slow_client_leaves_behind_are_hardly_counted() {
    let size = 64 << 20;
    let (origin, digest) = with_blob(size).await;
    let mut response = get_blob(&origin, &digest, None).await;
    response.chunk().await.unwrap();
    drop(response);
    origin
        .until("the client to be gone", |requests| {
            requests[0].outcome == Outcome::Gone
        })
        .await;
    let sent = origin.body_bytes(&digest);
    // The rest of it is what the client's receive buffer may hold.
    assert!(sent < size / 4, "{sent} of {size}");
}

#[tokio::test]
async fn arrival_can_be_waited_for() {
    let origin = plain().await;
    let gate = origin.on(Kind::ManifestGet).reference("v1").hold_head();
    let path = format!("{APP}/manifests/v1");
    let (response, ()) = tokio::join!(get(&origin, &path), async {
        origin
            .arrived(When::any().repository(APP).reference("v1"), 1)
            .await;
        gate.reached(1).await;
        assert_eq!(origin.requests()[0].status, None);
        gate.release();
    });
    assert_eq!(response.status(), 200);
    origin.arrived(Kind::ManifestGet, 1).await;
}
