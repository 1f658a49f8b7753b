//! What is no registry client's request: refused at once, and nothing after it is taken for a request of its own.

use super::stage::Stage;
use super::wire::{End, Wire};

const NEXT: &str = "GET /v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n";

/// Sends `message` and a good request behind it; the refusal's status, after which the connection has to end.
async fn refusal(stage: &Stage, message: &[u8]) -> String {
    let mut wire = Wire::open(&stage.forebay).await;
    wire.push(message).await;
    wire.push(NEXT).await;
    let (text, end) = wire.rest().await;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(end, End::Fin, "{text}");
    assert!(
        text.matches("HTTP/1.1 ").count() <= 1,
        "the next was answered: {text}"
    );
    text.get(9..12).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_registry_client_sends_is_refused_and_ends_the_connection() {
    let stage = Stage::layer(1000).await;
    let long = format!(
        "GET /v2/ HTTP/1.1\r\nHost: m\r\nX: {}\r\n\r\n",
        "x".repeat(40 << 10)
    );
    let hello: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    for (message, status) in [
        (hello, "400"),
        (b"GET http://mirror/v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n", "400"),
        (b"CONNECT mirror:443 HTTP/1.1\r\nHost: mirror:443\r\n\r\n", "405"),
        (long.as_bytes(), "431"),
        (b"GET /v2/ HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        (b"GET /v2/ HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        (b"GET /v2/ HTTP/1.1\r\nHost: m\r\nX: a\0b\r\n\r\n", "400"),
        (b"GET /v2/ HTTP/1.1\r\nHost: m\r\nX: a\rb\r\n\r\n", "400"),
        (b"GET /v2/ HTTP/1.1\r\nHost: m\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "200"),
        (b"GET /v2/ HTTP/1.0\r\n\r\n", "200"),
    ] {
        let shown = String::from_utf8_lossy(&message[..message.len().min(60)]).into_owned();
        let got = refusal(&stage, message).await;
        // HTTP/1.0 is answered as such.
        assert_eq!(got, status, "{shown:?}");
    }
    stage.cost_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_body_of_a_get_is_skipped_and_a_long_one_ends_the_connection() {
    let stage = Stage::layer(1000).await;
    let mut wire = Wire::open(&stage.forebay).await;
    wire.send(format!(
        "GET /v2/ HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\n\r\nabc{NEXT}"
    ))
    .await;
    for _ in 0..2 {
        let head = wire.head().await;
        assert_eq!(head.lines[0], "HTTP/1.1 200 OK");
        assert_eq!(&wire.body(head.length()).await[..], b"{}");
    }
    let mut long = b"GET /v2/ HTTP/1.1\r\nHost: m\r\nContent-Length: 200000\r\n\r\n".to_vec();
    long.resize(long.len() + 200_000, b'x');
    assert_eq!(refusal(&stage, &long).await, "200");
    stage.cost_nothing();
}
