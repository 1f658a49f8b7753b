//! What holds a response back, and what slows it down.

use std::time::{Duration, Instant};

use forebay_loadtest::origin::{Fault, Gate, Kind, Outcome, Pace};
use reqwest::Method;

use super::{SIZE, drain};
use crate::client::{blob_path, get, get_blob, plain, request, with_blob};

#[tokio::test]
async fn gate_holds_every_body_from_its_byte_on() {
    let (origin, digest) = with_blob(SIZE).await;
    let gate = origin.on_body(&digest).hold_at(100_000);
    let mut first = get_blob(&origin, &digest, None).await;
    let mut received = 0;
    while received < 100_000 {
        received += first.chunk().await.unwrap().unwrap().len();
    }
    let later = tokio::spawn({
        let request =
            request(&origin, Method::GET, &blob_path(&digest)).header("range", "bytes=200000-");
        async move { request.send().await.unwrap().bytes().await.unwrap() }
    });
    gate.reached(2).await;
    assert_eq!((received, origin.body_bytes(&digest)), (100_000, 100_000));
    gate.release();
    assert_eq!(later.await.unwrap().len(), 100_000);
    assert_eq!(drain(first).await.0.len(), 200_000);
    assert_eq!(gate.waiting(), 0);
}

#[tokio::test]
async fn gate_holds_only_the_body_that_has_its_byte() {
    let (origin, digest) = with_blob(SIZE).await;
    let gate = Gate::new();
    origin
        .on_body(&digest)
        .once(Fault::HoldByte(100_000, gate.clone()));
    for free in ["bytes=0-99999", "bytes=100001-"] {
        let body = get_blob(&origin, &digest, Some(free)).await.bytes().await;
        assert!(body.is_ok());
    }
    let held = get_blob(&origin, &digest, Some("bytes=99999-100001")).await;
    gate.reached(1).await;
    gate.release();
    assert_eq!(held.bytes().await.unwrap().len(), 3);
}

#[tokio::test]
async fn client_that_leaves_a_gate_is_noticed() {
    let (origin, digest) = with_blob(SIZE).await;
    let gate = origin.on_body(&digest).hold_at(0);
    let response = get_blob(&origin, &digest, None).await;
    gate.reached(1).await;
    drop(response);
    origin
        .until("the client to be gone", |requests| {
            requests[0].outcome == Outcome::Gone
        })
        .await;
    assert_eq!(gate.waiting(), 0);
}

#[tokio::test]
async fn response_can_hang_until_it_is_let_go() {
    let origin = plain().await;
    origin.on(Kind::Ping).once(Fault::hang());
    let response = request(&origin, Method::GET, "")
        .timeout(Duration::from_secs(1))
        .send()
        .await;
    assert!(response.unwrap_err().is_timeout());
    origin
        .until("the client to be gone", |requests| {
            requests[0].outcome == Outcome::Gone
        })
        .await;
    let gate = Gate::new();
    origin.on(Kind::Ping).once(Fault::HoldHead(gate.clone()));
    let (response, ()) = tokio::join!(get(&origin, ""), async {
        gate.reached(1).await;
        gate.release();
    });
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn delay_and_throttle_take_their_time() {
    let (origin, digest) = with_blob(50_000).await;
    origin
        .on(Kind::Ping)
        .once(Fault::Delay(Duration::from_millis(200)));
    let start = Instant::now();
    get(&origin, "").await;
    assert!(start.elapsed() >= Duration::from_millis(200));

    origin.on_body(&digest).once(Fault::Throttle(200_000));
    let start = Instant::now();
    get_blob(&origin, &digest, None)
        .await
        .bytes()
        .await
        .unwrap();
    assert!(start.elapsed() >= Duration::from_millis(200));

    origin
        .on_body(&digest)
        .always(Fault::ThrottleTotal(Pace::new(400_000)));
    let start = Instant::now();
    let both = tokio::join!(
        get_blob(&origin, &digest, None),
        get_blob(&origin, &digest, None)
    );
    let both = tokio::join!(both.0.bytes(), both.1.bytes());
    assert_eq!(both.0.unwrap(), both.1.unwrap());
    assert!(start.elapsed() >= Duration::from_millis(200));
}
