//! Each fault, as a client meets it.

use std::time::{Duration, Instant};

use forebay_loadtest::origin::{Digest, Fault, Gate, Kind, Origin, Outcome, Pace, Reply, When};
use reqwest::{Method, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{
    APP, blob_path, client, get, get_blob, get_with_login, head, header, hub, location, plain,
    request, with_blob,
};

const SIZE: u64 = 300_000;

/// Reads until the end or an error; gives what came, and how it ended.
async fn drain(mut response: Response) -> (Vec<u8>, Option<reqwest::Error>) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (body, None),
            Err(error) => return (body, Some(error)),
        }
    }
}

/// Everything that comes back on a socket for a `GET` of a blob, and how the
/// connection ends.
async fn raw(origin: &Origin, digest: &Digest) -> (Vec<u8>, std::io::Result<()>) {
    let mut stream = TcpStream::connect(origin.host()).await.unwrap();
    let path = blob_path(digest);
    let text = format!("GET /v2/{path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let end = stream.read_to_end(&mut all).await.map(drop);
    (all, end)
}

fn body_of(response: &[u8]) -> &[u8] {
    let at = response
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    &response[at + 4..]
}

#[tokio::test]
async fn cut_body_ends_short_at_exactly_that_byte_and_only_once() {
    let (origin, digest) = with_blob(SIZE).await;
    let whole = origin.content(APP, &digest);
    origin.on_body(&digest).once(Fault::CutAt(150_001));
    let (received, end) = raw(&origin, &digest).await;
    assert!(end.is_ok(), "FIN, not RST: {end:?}");
    assert_eq!(body_of(&received), &whole[..150_001]);
    assert!(
        received
            .windows(22)
            .any(|window| window == b"content-length: 300000")
    );
    assert_eq!(origin.body_bytes(&digest), 150_001);
    assert_eq!(origin.requests()[0].outcome, Outcome::Cut);

    let resumed = get_blob(&origin, &digest, Some("bytes=150001-")).await;
    assert_eq!(resumed.bytes().await.unwrap(), whole.slice(150_001..));
    assert_eq!(origin.repeated_bytes_sent(&digest), 0);
}

#[tokio::test]
async fn cut_spares_a_body_that_its_client_gave_up_before_the_byte() {
    let (origin, digest) = with_blob(SIZE).await;
    let gate = origin.on_body(&digest).hold_at(100_000);
    let cut = origin.on_body(&digest).once(Fault::CutAt(150_000));
    let given_up = get_blob(&origin, &digest, None).await;
    gate.reached(1).await;
    drop(given_up);
    origin
        .until("the client to be gone", |requests| {
            requests[0].outcome == Outcome::Gone
        })
        .await;
    gate.release();
    assert_eq!(cut.hits(), 0);
    let (body, error) = drain(get_blob(&origin, &digest, None).await).await;
    assert!(error.is_some());
    assert_eq!((body.len(), cut.hits()), (150_000, 1));
}

#[tokio::test]
async fn reset_body_ends_with_rst() {
    let (origin, digest) = with_blob(SIZE).await;
    origin.on_body(&digest).once(Fault::ResetAt(1000));
    let (_, end) = raw(&origin, &digest).await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(origin.body_bytes(&digest), 1000);
}

#[tokio::test]
async fn missing_last_byte_is_a_cut_or_a_shorter_body() {
    let (origin, digest) = with_blob(SIZE).await;
    origin.on_body(&digest).once(Fault::CutAt(SIZE - 1));
    let (body, error) = drain(get_blob(&origin, &digest, None).await).await;
    assert!(error.is_some());
    assert_eq!(body.len() as u64, SIZE - 1);

    origin.on_body(&digest).once(Fault::Short(1));
    let response = get_blob(&origin, &digest, None).await;
    assert_eq!(response.content_length(), Some(SIZE - 1));
    let (body, error) = drain(response).await;
    assert!(error.is_none());
    assert_eq!(body, origin.content(APP, &digest)[..299_999]);
}

#[tokio::test]
async fn extra_byte_comes_with_a_content_length_that_agrees() {
    let (origin, digest) = with_blob(SIZE).await;
    origin.on_body(&digest).once(Fault::Extra(1));
    let first_half = get_blob(&origin, &digest, Some("bytes=0-99")).await;
    assert_eq!(first_half.bytes().await.unwrap().len(), 100);
    let response = get_blob(&origin, &digest, Some("bytes=299990-")).await;
    assert_eq!(
        header(&response, "content-range"),
        Some("bytes 299990-299999/300000")
    );
    assert_eq!(response.bytes().await.unwrap().len(), 11);
}

#[tokio::test]
async fn flipped_bit_is_in_the_same_byte_whichever_range_carries_it() {
    let (origin, digest) = with_blob(SIZE).await;
    let whole = origin.content(APP, &digest);
    origin.on_body(&digest).always(Fault::FlipBit(200_000));
    for start in [0_usize, 100_000, 200_000] {
        let response = get_blob(&origin, &digest, Some(&format!("bytes={start}-"))).await;
        let mut body = response.bytes().await.unwrap().to_vec();
        assert_ne!(body, whole[start..]);
        body[200_000 - start] ^= 1;
        assert_eq!(body, whole[start..]);
    }
    let clean = get_blob(&origin, &digest, Some("bytes=200001-"))
        .await
        .bytes()
        .await
        .unwrap();
    assert_eq!(clean, whole.slice(200_001..));
}

#[tokio::test]
async fn content_length_can_lie_either_way() {
    let (origin, digest) = with_blob(SIZE).await;
    origin.on_body(&digest).once(Fault::ClaimLength(5));
    let (body, error) = drain(get_blob(&origin, &digest, None).await).await;
    assert!(error.is_some());
    assert_eq!(body.len() as u64, SIZE);

    origin.on_body(&digest).once(Fault::ClaimLength(-5));
    let (received, _) = raw(&origin, &digest).await;
    assert!(
        received
            .windows(22)
            .any(|window| window == b"content-length: 299995")
    );
    assert_eq!(body_of(&received).len() as u64, SIZE);

    origin.on(Kind::BlobHead).once(Fault::ClaimLength(7));
    let asked = head(&origin, &blob_path(&digest)).await;
    assert_eq!(header(&asked, "content-length"), Some("300007"));
}

#[tokio::test]
async fn body_can_come_without_a_length() {
    let (origin, digest) = with_blob(SIZE).await;
    for fault in [Fault::Chunked, Fault::UntilClose] {
        origin.on_body(&digest).once(fault);
        let response = get_blob(&origin, &digest, None).await;
        assert!(header(&response, "content-length").is_none());
        assert_eq!(
            response.bytes().await.unwrap(),
            origin.content(APP, &digest)
        );
    }
    origin.on_body(&digest).once(Fault::Chunked);
    origin.on_body(&digest).once(Fault::Extra(1));
    let (body, error) = drain(get_blob(&origin, &digest, None).await).await;
    assert!(error.is_none());
    assert_eq!(body.len() as u64, SIZE + 1);
}

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
async fn answers_are_scripted_in_order_and_run_out() {
    let origin = plain().await;
    origin.on(Kind::ManifestGet).once(Fault::Answer(
        Reply::quota_spent().header("retry-after", "30"),
    ));
    origin
        .on(Kind::ManifestGet)
        .once(Fault::Answer(Reply::abuse_limit()));
    origin.on(Kind::ManifestGet).times(2, Fault::status(503));
    let path = format!("{APP}/manifests/v1");
    let quota = get(&origin, &path).await;
    assert_eq!(
        (quota.status().as_u16(), header(&quota, "retry-after")),
        (429, Some("30"))
    );
    assert!(quota.text().await.unwrap().contains("TOOMANYREQUESTS"));
    let abuse = get(&origin, &path).await;
    assert_eq!(abuse.status(), 429);
    assert!(abuse.text().await.unwrap().starts_with("Too Many Requests"));
    for status in [503, 503, 200] {
        assert_eq!(get(&origin, &path).await.status(), status);
    }
    assert_eq!(head(&origin, &path).await.status(), 200);
}

#[tokio::test]
async fn faults_spare_requests_that_have_yet_to_log_in_unless_told() {
    let origin = hub().await;
    let path = format!("{APP}/manifests/v1");
    let fault = origin.on(Kind::ManifestGet).once(Fault::status(500));
    assert_eq!(get(&origin, &path).await.status(), 401);
    assert_eq!(fault.hits(), 0);
    assert_eq!(get_with_login(&origin, &path, None).await.status(), 500);
    origin
        .on(Kind::ManifestGet)
        .before_auth()
        .once(Fault::status(502));
    assert_eq!(get(&origin, &path).await.status(), 502);
}

#[tokio::test]
async fn head_and_token_can_be_refused() {
    let origin = hub().await;
    let path = format!("{APP}/manifests/v1");
    origin
        .on(Kind::ManifestHead)
        .before_auth()
        .always(Fault::status(405));
    assert_eq!(head(&origin, &path).await.status(), 405);
    origin.on(Kind::Token).always(Fault::status(503));
    let url = format!("{}?service=registry.docker.io", origin.token_url());
    assert_eq!(client().get(url).send().await.unwrap().status(), 503);
}

#[tokio::test]
async fn range_can_be_ignored_or_misplaced_or_misstated() {
    let (origin, digest) = with_blob(SIZE).await;
    let whole = origin.content(APP, &digest);
    origin.on_body(&digest).once(Fault::IgnoreRange);
    assert_eq!(
        get_blob(&origin, &digest, None)
            .await
            .bytes()
            .await
            .unwrap(),
        whole
    );
    let response = get_blob(&origin, &digest, Some("bytes=10-")).await;
    assert_eq!(
        (response.status().as_u16(), response.content_length()),
        (200, Some(SIZE))
    );

    origin.on_body(&digest).once(Fault::ShiftRange(3));
    let response = get_blob(&origin, &digest, Some("bytes=10-")).await;
    assert_eq!(
        header(&response, "content-range"),
        Some("bytes 13-299999/300000")
    );
    assert_eq!(response.bytes().await.unwrap(), whole.slice(13..));

    origin.on_body(&digest).once(Fault::ClaimTotal(-1));
    let response = get_blob(&origin, &digest, Some("bytes=10-19")).await;
    assert_eq!(
        header(&response, "content-range"),
        Some("bytes 10-19/299999")
    );
}

#[tokio::test]
async fn headers_can_be_left_out_or_lie() {
    let origin = plain().await;
    let path = format!("{APP}/manifests/v1");
    origin.on(Kind::ManifestGet).once(Fault::no_digest_header());
    origin.on(Kind::ManifestGet).once(Fault::claims_gzip());
    origin
        .on(Kind::ManifestGet)
        .once(Fault::header("content-type", "text/html"));
    let response = get(&origin, &path).await;
    assert!(header(&response, "docker-content-digest").is_none());
    assert_eq!(header(&response, "content-encoding"), Some("gzip"));
    assert_eq!(header(&response, "content-type"), Some("text/html"));
    assert!(header(&get(&origin, &path).await, "docker-content-digest").is_some());
}

#[tokio::test]
async fn redirects_can_loop_expire_or_lead_elsewhere() {
    let origin = hub().await;
    let layer = origin.image(APP, "v1").manifests[0].layers[0].clone();
    let path = blob_path(&layer.digest);
    let redirect = async || {
        let response = get_with_login(&origin, &path, None).await;
        assert_eq!(response.status(), 307);
        location(&response).to_owned()
    };
    let own = format!("{}/v2/{path}", origin.registry_url());
    origin.on(Kind::BlobGet).once(Fault::RedirectLoop);
    assert_eq!(redirect().await, own);
    origin
        .on(Kind::BlobGet)
        .once(Fault::redirect_to("http://169.254.169.254/latest"));
    assert_eq!(redirect().await, "http://169.254.169.254/latest");
    origin.on(Kind::BlobGet).once(Fault::ExpiredRedirect);
    assert_eq!(
        client()
            .get(redirect().await)
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
    assert_eq!(
        client()
            .get(redirect().await)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn response_can_hang_until_it_is_let_go() {
    let origin = plain().await;
    origin.on(Kind::Ping).once(Fault::hang());
    let response = request(&origin, Method::GET, "")
        .timeout(Duration::from_millis(200))
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

#[tokio::test]
async fn connection_is_reused_after_a_whole_response() {
    let (origin, digest) = with_blob(SIZE).await;
    let client = client();
    for _ in 0..3 {
        let url = format!("{}/v2/{}", origin.registry_url(), blob_path(&digest));
        client.get(url).send().await.unwrap().bytes().await.unwrap();
    }
    let ports: std::collections::HashSet<_> = origin
        .requests()
        .iter()
        .map(|request| request.client)
        .collect();
    assert_eq!(ports.len(), 1);
}

#[tokio::test]
async fn selection_narrows_a_fault_to_a_repository_and_reference() {
    let origin = plain().await;
    origin.edit("library/other", |r| r.image("v1", &crate::client::spec()));
    origin
        .on(When::any().repository("library/other"))
        .always(Fault::status(500));
    assert_eq!(
        get(&origin, &format!("{APP}/manifests/v1")).await.status(),
        200
    );
    assert_eq!(
        get(&origin, "library/other/manifests/v1").await.status(),
        500
    );
    origin.clear_faults();
    assert_eq!(
        get(&origin, "library/other/manifests/v1").await.status(),
        200
    );
}
