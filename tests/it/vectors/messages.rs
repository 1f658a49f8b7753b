//! What is no registry client's request, or an odd one: answered or refused at once, and nothing after it is taken for a
//! request that it is not.

use super::{Ends, GoesOn, Row, Stage};
use crate::harness::{Wire, blob_path};

/// A GET of the ping with more lines in its head.
macro_rules! ping {
    ($more:literal) => {
        concat!("GET /v2/ HTTP/1.1\r\nHost: m\r\n", $more, "\r\n").as_bytes()
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_spoken_here_is_refused_and_ends_the_connection() {
    let table: &[Row<'_>] = &[
        (&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], "400", Ends),
        // HTTP/2 without having asked: what comes back could not be read there.
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", Ends),
        (b"GET /v2/ HTTP/3.0\r\nHost: m\r\n\r\n", "400", Ends),
        (b"GET /v2/ HTTP/0.9\r\nHost: m\r\n\r\n", "400", Ends),
        (b"GET /v2/ HTTP/1.2\r\nHost: m\r\n\r\n", "400", Ends),
        (b"GET /v2/ http/1.1\r\nHost: m\r\n\r\n", "400", Ends),
        (b"GET /v2/ HTTP/1.1 \r\nHost: m\r\n\r\n", "400", Ends),
        (b"GET /v2/\r\nHost: m\r\n\r\n", "400", Ends),
        (
            b"GET http://mirror/v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n",
            "400",
            Ends,
        ),
        (
            b"GET https://registry-1.docker.io/v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n",
            "400",
            Ends,
        ),
        (
            b"GET mirror:5000 HTTP/1.1\r\nHost: mirror\r\n\r\n",
            "400",
            Ends,
        ),
        (
            b"CONNECT mirror:443 HTTP/1.1\r\nHost: mirror:443\r\n\r\n",
            "405",
            Ends,
        ),
        (
            b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: m\r\n\r\n",
            "405",
            Ends,
        ),
        (
            ping!(
                "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
            ),
            "200",
            Ends,
        ),
        (
            ping!(
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            ),
            "200",
            Ends,
        ),
        // HTTP/1.0 is answered as such.
        (b"GET /v2/ HTTP/1.0\r\n\r\n", "200", Ends),
        (b"GET * HTTP/1.1\r\nHost: m\r\n\r\n", "404", GoesOn),
        (b"OPTIONS * HTTP/1.1\r\nHost: m\r\n\r\n", "405", GoesOn),
        (b"BREW /v2/ HTTP/1.1\r\nHost: m\r\n\r\n", "405", GoesOn),
        (b"get /v2/ HTTP/1.1\r\nHost: m\r\n\r\n", "405", GoesOn),
        (
            b"TRACE /v2/ HTTP/1.1\r\nHost: m\r\nX-Injected: 1\r\n\r\n",
            "405",
            GoesOn,
        ),
    ];
    Stage::patient().await.refuses(table).await;
}

/// Where a body ends, and so where the next request begins.
const LENGTHS: &[Row<'_>] = &[
    // Two lengths, or one that is none.
    (
        ping!("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
        "400",
        Ends,
    ),
    (ping!("Content-Length: 3, 3\r\n\r\nabc"), "400", Ends),
    (ping!("Content-Length: -1\r\n"), "400", Ends),
    (ping!("Content-Length: +3\r\n\r\nabc"), "400", Ends),
    (ping!("Content-Length: 0x3\r\n\r\nabc"), "400", Ends),
    (ping!("Content-Length: 3 3\r\n\r\nabc"), "400", Ends),
    (ping!("Content-Length: \r\n"), "400", Ends),
    (
        ping!("Content-Length: 18446744073709551616\r\n"),
        "400",
        Ends,
    ),
    (
        ping!("Content-Length: 99999999999999999999999\r\n"),
        "400",
        Ends,
    ),
    // CL.TE, TE.CL, and what some take for TE.
    (
        ping!("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
        "400",
        Ends,
    ),
    (
        ping!("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n"),
        "400",
        Ends,
    ),
    (
        ping!("Transfer-Encoding: chunked\r\n\r\n0\r\n"),
        "400",
        Ends,
    ),
    (ping!("Transfer-Encoding: identity\r\n"), "400", Ends),
    (ping!("Transfer-Encoding: xchunked\r\n"), "400", Ends),
    (
        ping!("Transfer-Encoding: chunked, identity\r\n"),
        "400",
        Ends,
    ),
    (
        ping!("Transfer-Encoding: identity, chunked\r\n\r\n0\r\n"),
        "400",
        Ends,
    ),
    (
        ping!("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"),
        "400",
        Ends,
    ),
    (
        ping!("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
        "400",
        Ends,
    ),
    (
        ping!("Transfer-Encoding:\tchunked\r\n\r\n0\r\n"),
        "400",
        Ends,
    ),
    (ping!("Transfer-Encoding: \x0bchunked\r\n"), "400", Ends),
    (ping!("Transfer-Encoding: \"chunked\"\r\n"), "400", Ends),
    (
        ping!("transfer-encoding: CHUNKED\r\n\r\n0\r\n"),
        "400",
        Ends,
    ),
    (ping!("Transfer-Encoding : chunked\r\n"), "400", Ends),
    (ping!("Transfer-Encoding\t: chunked\r\n"), "400", Ends),
    (
        ping!("X: a\r\n Transfer-Encoding: chunked\r\n"),
        "400",
        Ends,
    ),
    (
        b"GET /v2/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
        Ends,
    ),
];

/// Where a line ends, and what it says.
const LINES: &[Row<'_>] = &[
    // Lines that do not end where they seem to.
    (ping!("X: a\r\n b\r\n"), "400", Ends),
    (ping!("X: a\r\n\tb\r\n"), "400", Ends),
    (ping!("X: a\0b\r\n"), "400", Ends),
    (ping!("X: a\rb\r\n"), "400", Ends),
    (ping!("X: a\rX-Injected: 1\r\n"), "400", Ends),
    (ping!("X: a\x1b[31m\r\n"), "400", Ends),
    (ping!("X : a\r\n"), "400", Ends),
    (ping!(": a\r\n"), "400", Ends),
    (ping!("X\0: a\r\n"), "400", Ends),
    (ping!("\u{fc}: a\r\n"), "400", Ends),
    (ping!("no colon\r\n"), "400", Ends),
    (b"GET /v2/ HTTP/1.1\r\n Host: m\r\n\r\n", "400", Ends),
    (b"GET  /v2/ HTTP/1.1\r\nHost: m\r\n\r\n", "400", Ends),
    (b"GET\t/v2/ HTTP/1.1\r\nHost: m\r\n\r\n", "400", Ends),
    (b"GET /v2/ x HTTP/1.1\r\nHost: m\r\n\r\n", "400", Ends),
    (b"GE(T /v2/ HTTP/1.1\r\nHost: m\r\n\r\n", "400", Ends),
    // Whose it is.
    (b"GET /v2/ HTTP/1.1\r\n\r\n", "400", Ends),
    (ping!("Host: m\r\n"), "400", Ends),
    (ping!("Host: other\r\n"), "400", Ends),
    (b"GET /v2/ HTTP/1.1\r\nHost: a b\r\n\r\n", "400", Ends),
    (b"GET /v2/ HTTP/1.1\r\nHost: a/b\r\n\r\n", "400", Ends),
    (b"GET /v2/ HTTP/1.1\r\nHost: a,b\r\n\r\n", "400", Ends),
    (b"GET /v2/ HTTP/1.1\r\nHost: user@m\r\n\r\n", "400", Ends),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_may_be_read_in_two_ways_is_refused_and_ends_the_connection() {
    let stage = Stage::patient().await;
    stage.refuses(LENGTHS).await;
    stage.refuses(LINES).await;
}

/// A form for a token is the one body that is read, so that what comes after it might be answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_may_end_in_two_places_is_refused_and_ends_the_connection() {
    let posted = |message: &[u8]| {
        let rest = message.strip_prefix(b"GET /v2/").unwrap();
        [b"POST /_/token", rest].concat()
    };
    let messages: Vec<_> = LENGTHS.iter().map(|(get, ..)| posted(get)).collect();
    let rows = messages.iter().zip(LENGTHS);
    let table: Vec<Row<'_>> = rows
        .map(|(message, (_, status, after))| (&message[..], *status, *after))
        .collect();
    let stage = Stage::taking_logins().await;
    stage.refuses(&table).await;

    let form = |length| {
        let form = "x".repeat(length);
        format!(
            "POST /_/token?ns=m.test HTTP/1.1\r\nHost: m\r\nContent-Length: {length}\r\n\r\n{form}"
        )
    };
    stage
        .refuses(&[
            (form(3).as_bytes(), "200", Ends),
            (form(16 << 10).as_bytes(), "200", Ends),
            (form((16 << 10) + 1).as_bytes(), "400", Ends),
            (form(200_000).as_bytes(), "400", Ends),
        ])
        .await;
}

/// RFC 9112 lets a line end in a lone LF, and a Host be empty; two lengths that agree are one. What is announced as a body
/// is no request, whatever it looks like.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_in_one_way_only_is_answered_and_so_is_what_follows() {
    let inner = "GET /nothing HTTP/1.1\r\nHost: m\r\n\r\n";
    let hidden = format!(
        "GET /v2/ HTTP/1.1\r\nHost: m\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    );
    let table: &[Row<'_>] = &[
        (b"GET /v2/ HTTP/1.1\nHost: m\n\n", "200", GoesOn),
        (
            b"\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: m\r\n\r\n",
            "200",
            GoesOn,
        ),
        (b"GET /v2/ HTTP/1.1\r\nHost:\r\n\r\n", "200", GoesOn),
        (
            ping!("Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc")
                .strip_suffix(b"\r\n")
                .unwrap(),
            "200",
            GoesOn,
        ),
        (
            ping!("Content-Length: 3\r\n\r\nabc")
                .strip_suffix(b"\r\n")
                .unwrap(),
            "200",
            GoesOn,
        ),
        (hidden.as_bytes(), "200", GoesOn),
    ];
    Stage::patient().await.refuses(table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused_and_ends_the_connection() {
    let head = |more: &str| format!("GET /v2/ HTTP/1.1\r\nHost: m\r\n{more}\r\n");
    let lines = |count| "X: a\r\n".repeat(count);
    let line = |length| format!("X: {}\r\n", "x".repeat(length));
    let path = |length| format!("GET /v2/{} HTTP/1.1\r\nHost: m\r\n\r\n", "x".repeat(length));
    let stage = Stage::patient().await;
    stage
        .refuses(&[
            (head(&lines(200)).as_bytes(), "431", Ends),
            (head(&lines(90)).as_bytes(), "200", GoesOn),
            (head(&line(40 << 10)).as_bytes(), "431", Ends),
            (head(&line(33 << 10)).as_bytes(), "431", Ends),
            (head(&line(16 << 10)).as_bytes(), "200", GoesOn),
            (path(40 << 10).as_bytes(), "431", Ends),
            (path(16 << 10).as_bytes(), "404", GoesOn),
            ("x".repeat(100_000).as_bytes(), "431", Ends),
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
    let table: &[Row<'_>] = &[
        (b"POST /v2/library/app/blobs/uploads/ HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n", "405", GoesOn),
        (b"DELETE /v2/library/app/manifests/v1 HTTP/1.1\r\nHost: m\r\n\r\n", "405", GoesOn),
        (b"PUT /v2/library/app/manifests/v1 HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\n\r\nabc", "405", Ends),
        (b"PUT /v2/library/app/manifests/v1 HTTP/1.1\r\nHost: m\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n", "405", Ends),
        (b"PATCH /v2/library/app/blobs/uploads/1 HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", "405", Ends),
        (b"POST /v2/x/blobs/uploads/ HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"\r\nabc\r\n0\r\n\r\n", "405", Ends),
        (b"POST /v2/x/blobs/uploads/ HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "405", Ends),
        (ping!("Content-Length: 3\r\nExpect: 100-continue\r\n"), "200", Ends),
        (ping!("Expect: 100-continue\r\n"), "200", Ends),
        (long.as_bytes(), "200", Ends),
    ];
    Stage::patient().await.refuses(table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_sent_without_waiting_are_answered_in_order() {
    let stage = Stage::patient().await;
    let content = stage.origin.content("library/app", &stage.blob.digest);
    let mut wire = Wire::open(&stage.forebay).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: m\r\n\r\n");
    let blob = get(&blob_path("library/app", &stage.blob.digest));
    let (unknown, ping) = (get("/nothing"), get("/v2/"));
    wire.send([&*blob, &unknown, &ping, &blob, &ping].concat())
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
            1000 => assert!(body == content),
            2 => assert_eq!(&body[..], b"{}"),
            _ => assert!(body.starts_with(b"{\"errors\"")),
        }
    }
}
