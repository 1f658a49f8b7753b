//! What is no registry client's request, or an odd one: answered or refused at once, and nothing after it is taken for a
//! request that it is not.

use std::time::Duration;

use super::stage::Stage;
use super::wire::{End, Wire};

const NEXT: &str = "GET /v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n";

/// Within what a refusal has come on a busy machine. Every wait of the mirror's is longer here.
const AT_ONCE: Duration = Duration::from_secs(5);

/// What becomes of the connection, and of a good request that was sent behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// It ends, the good request unanswered.
    Ends,
    /// It goes on, and the good request is answered.
    GoesOn,
}

use After::{Ends, GoesOn};

/// A mirror that waits longer than the test does: what ends is ended on purpose.
async fn patient_stage() -> Stage {
    let waits = "[server]\nheader_timeout = \"10m\"\nidle_timeout = \"10m\"";
    Stage::layer_with(1000, |setup| setup.config(waits)).await
}

/// Sends `message` and a good request behind it: the status that it gets, none where it gets no answer.
async fn status(stage: &Stage, message: &[u8], after: After) -> String {
    let mut wire = Wire::open(&stage.forebay).await;
    wire.push(message).await;
    wire.push(NEXT).await;
    if after == GoesOn {
        let head = wire.head().await;
        wire.body(head.length()).await;
        is_pong(&mut wire).await;
        return head.status().to_owned();
    }
    let (text, end) = wire.rest().await;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(end, End::Fin, "{text}");
    assert!(
        text.matches("HTTP/1.").count() <= 1,
        "the next was answered: {text}"
    );
    let status = text.get(9..12).unwrap_or_default();
    assert_eq!(status, status_alone(stage, message).await);
    status.to_owned()
}

/// Sends `message` and nothing behind it, which the mirror might have waited for: the status with which it ends.
async fn status_alone(stage: &Stage, message: &[u8]) -> String {
    let mut wire = Wire::open(&stage.forebay).await;
    wire.push(message).await;
    let rest = tokio::time::timeout(AT_ONCE, wire.rest()).await;
    let (text, end) = rest.expect("it ends without waiting for more");
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(end, End::Fin, "{text}");
    text.get(9..12).unwrap_or_default().to_owned()
}

/// The next answer is the one to a good request.
async fn is_pong(wire: &mut Wire) {
    let head = wire.head().await;
    assert_eq!(head.status(), "200");
    assert_eq!(&wire.body(head.length()).await[..], b"{}");
}

/// Plays a table: a message, the status that it gets, and what becomes of its connection.
async fn all(table: &[(&str, &str, After)]) {
    let stage = patient_stage().await;
    for (message, expected, after) in table {
        let got = status(&stage, message.as_bytes(), *after).await;
        assert_eq!(got, *expected, "{:?}", message.get(..90).unwrap_or(message));
    }
    stage.cost_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_spoken_here_is_refused_and_ends_the_connection() {
    let stage = patient_stage().await;
    let hello: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    assert_eq!(status(&stage, hello, Ends).await, "400");
    all(&[
        // HTTP/2 without having asked: what comes back could not be read there.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", Ends),
        ("GET /v2/ HTTP/3.0\r\nHost: m\r\n\r\n", "400", Ends),
        (
            "GET http://mirror/v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n",
            "400",
            Ends,
        ),
        (
            "CONNECT mirror:443 HTTP/1.1\r\nHost: mirror:443\r\n\r\n",
            "405",
            Ends,
        ),
        (
            "GET /v2/ HTTP/1.1\r\nHost: m\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
            "200",
            Ends,
        ),
        // HTTP/1.0 is answered as such.
        ("GET /v2/ HTTP/1.0\r\n\r\n", "200", Ends),
        ("OPTIONS * HTTP/1.1\r\nHost: m\r\n\r\n", "405", GoesOn),
        ("BREW /v2/ HTTP/1.1\r\nHost: m\r\n\r\n", "405", GoesOn),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_may_be_read_in_two_ways_is_refused_and_ends_the_connection() {
    all(&[
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nContent-Length: 3, 3\r\n\r\nabc", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nContent-Length: -1\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: identity\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nX: a\r\n b\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nX: a\0b\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nX: a\rb\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nX : a\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nno colon\r\n\r\n", "400", Ends),
        ("GET  /v2/ HTTP/1.1\r\nHost: m\r\n\r\n", "400", Ends),
        ("GET /v2/\r\nHost: m\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nHost: m\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nHost: other\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: a b\r\n\r\n", "400", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: user@m\r\n\r\n", "400", Ends),
    ])
    .await;
}

/// RFC 9112 lets a line end in a lone LF, and a Host be empty; two lengths that agree are one.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_in_one_way_only_is_answered_and_so_is_what_follows() {
    all(&[
        ("GET /v2/ HTTP/1.1\nHost: m\n\n", "200", GoesOn),
        (
            "\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: m\r\n\r\n",
            "200",
            GoesOn,
        ),
        ("GET /v2/ HTTP/1.1\r\nHost:\r\n\r\n", "200", GoesOn),
        (
            "GET /v2/ HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "200",
            GoesOn,
        ),
        (
            "GET /v2/ HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\n\r\nabc",
            "200",
            GoesOn,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused_and_ends_the_connection() {
    let head = |more: &str| format!("GET /v2/ HTTP/1.1\r\nHost: m\r\n{more}\r\n");
    let lines = |count| "X: a\r\n".repeat(count);
    let line = |length| format!("X: {}\r\n", "x".repeat(length));
    let path = |length| format!("GET /v2/{} HTTP/1.1\r\nHost: m\r\n\r\n", "x".repeat(length));
    all(&[
        (&head(&lines(200)), "431", Ends),
        (&head(&lines(90)), "200", GoesOn),
        (&head(&line(40 << 10)), "431", Ends),
        (&head(&line(16 << 10)), "200", GoesOn),
        (&path(40 << 10), "431", Ends),
        (&path(16 << 10), "404", GoesOn),
    ])
    .await;
}

/// A body that is announced and not sent is not waited for, nor asked for; one that is sent is no request.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_refused_without_its_body() {
    let long = format!(
        "GET /v2/ HTTP/1.1\r\nHost: m\r\nContent-Length: 200000\r\n\r\n{}",
        "x".repeat(200_000)
    );
    all(&[
        ("POST /v2/library/app/blobs/uploads/ HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n", "405", GoesOn),
        ("DELETE /v2/library/app/manifests/v1 HTTP/1.1\r\nHost: m\r\n\r\n", "405", GoesOn),
        ("PUT /v2/library/app/manifests/v1 HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\n\r\nabc", "405", Ends),
        ("PUT /v2/library/app/manifests/v1 HTTP/1.1\r\nHost: m\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n", "405", Ends),
        ("PATCH /v2/library/app/blobs/uploads/1 HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", "405", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", "200", Ends),
        ("GET /v2/ HTTP/1.1\r\nHost: m\r\nExpect: 100-continue\r\n\r\n", "200", Ends),
        (&long, "200", Ends),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_sent_without_waiting_are_answered_in_order() {
    let stage = patient_stage().await;
    let mut wire = Wire::open(&stage.forebay).await;
    let digest = &stage.blob("layer").digest;
    let blob = format!("GET /v2/library/app/blobs/{digest} HTTP/1.1\r\nHost: m\r\n\r\n");
    let unknown = "GET /nothing HTTP/1.1\r\nHost: m\r\n\r\n";
    wire.send([&blob, unknown, NEXT, &blob, NEXT].concat())
        .await;
    for (status, length) in [
        ("200", 1000),
        ("404", 0),
        ("200", 2),
        ("200", 1000),
        ("200", 2),
    ] {
        let head = wire.head().await;
        assert_eq!(head.status(), status);
        let body = wire.body(head.length()).await;
        match length {
            1000 => assert!(body == stage.contents["layer"]),
            2 => assert_eq!(&body[..], b"{}"),
            _ => assert!(body.starts_with(b"{\"errors\"")),
        }
    }
    stage.settle(&["layer"]).await;
}
