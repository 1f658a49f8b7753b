//! What goes wrong within a body.

use forebay_loadtest::origin::{Digest, Fault, Kind, Origin, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{SIZE, drain};
use crate::client::{APP, blob_path, client, get_blob, head, header, with_blob};

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
