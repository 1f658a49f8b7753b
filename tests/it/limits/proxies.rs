//! Clients behind proxies, and clients that pretend to be.

use super::socket::{LAST, exchange};
use crate::harness::{Forebay, Setup, origin_with_blob};

const PROXY: u8 = 9;
const STRANGER: u8 = 2;

/// A mirror behind 127.0.0.9 that lets each client ask once.
async fn once_each(more: &str) -> Forebay {
    let (origin, _) = origin_with_blob(1, 1000).await;
    Setup::new(&origin)
        .config(&format!(
            "[server]\ntrusted_proxies = [\"127.0.0.9\"]\n{more}\n[limits]\nper_client_requests = \"1/h\"\nmax_delay = \"0s\""
        ))
        .start()
        .await
}

/// The status of a request from 127.0.0.`last` with a header.
async fn ask(forebay: &Forebay, last: u8, header: &str) -> String {
    let request = format!("{LAST}{header}\r\n");
    let answer = exchange(last, forebay.address, request.as_bytes()).await;
    answer.get(9..12).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_whom_a_trusted_proxy_names_and_whoever_else_names_itself_is_not() {
    for (config, prefix, other) in [
        ("", "X-Forwarded-For: ", "Forwarded: for="),
        (
            "forwarded_header = \"forwarded\"",
            "Forwarded: for=",
            "X-Forwarded-For: ",
        ),
    ] {
        let forebay = once_each(config).await;
        let named = |address: &str| format!("{prefix}{address}\r\n");
        for (client, status) in [
            ("192.0.2.1", "200"),
            ("192.0.2.2", "200"),
            ("192.0.2.1", "429"),
        ] {
            assert_eq!(
                ask(&forebay, PROXY, &named(client)).await,
                status,
                "{client}"
            );
        }
        // What the client itself has put there makes nobody else of it.
        let forged = format!(
            "{}{other}192.0.2.7\r\n{}",
            named("192.0.2.8"),
            named("192.0.2.2")
        );
        assert_eq!(ask(&forebay, PROXY, &forged).await, "429");
        assert_eq!(ask(&forebay, STRANGER, &named("192.0.2.3")).await, "200");
        assert_eq!(ask(&forebay, STRANGER, &named("192.0.2.4")).await, "429");
        // The proxy asks for itself, as often as it likes.
        for _ in 0..3 {
            assert_eq!(ask(&forebay, PROXY, "").await, "200");
        }
        let unnamed = forebay.metric("forebay_clients_unnamed_total", "").await;
        assert_eq!(unnamed.to_string(), "3");
        for client in [
            "\"192.0.2.1\"",
            "\"192.0.2.2\"",
            "\"127.0.0.2:",
            "\"127.0.0.9:",
        ] {
            let field = format!("\"client\":{client}");
            forebay
                .until_logged(&field, |log| log.contains(&field))
                .await;
        }
        assert!(!forebay.log().contains("192.0.2.7"), "{}", forebay.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_protocol_header_is_required_of_trusted_proxies_and_refused_from_others() {
    let forebay = once_each("proxy_protocol = true").await;
    let v1 = |client: &str| format!("PROXY TCP4 {client} 127.0.0.1 4000 5000\r\n").into_bytes();
    let v2 = |last| {
        let begin = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
        [
            &begin[..],
            &[192, 0, 2, last, 127, 0, 0, 1, 0x0f, 0xa0, 0, 80],
        ]
        .concat()
    };
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec();
    for (last, header, status) in [
        (PROXY, v1("192.0.2.1"), "200"),
        (PROXY, v2(2), "200"),
        (PROXY, v1("192.0.2.2"), "429"),
        (PROXY, v2(1), "429"),
        // It tests whether the mirror is alive.
        (PROXY, local.clone(), "200"),
        (PROXY, local, "200"),
        (PROXY, b"PROXY UNKNOWN\r\n".to_vec(), "200"),
        // Nothing is answered to what does not begin with a header, or with half of one.
        (PROXY, Vec::new(), ""),
        (PROXY, b"PROXY TCP4 192.0.2.9\r\n".to_vec(), ""),
        (STRANGER, v1("192.0.2.3"), "400"),
        (STRANGER, v2(3), "400"),
        (STRANGER, Vec::new(), "200"),
        (STRANGER, Vec::new(), "429"),
    ] {
        // Where a proxy speaks for itself, a header is somebody else's word: this client has asked before.
        let request = format!("{LAST}X-Forwarded-For: 192.0.2.1\r\n\r\n");
        let bytes = [&header[..], request.as_bytes()].concat();
        let answer = exchange(last, forebay.address, &bytes).await;
        let text = String::from_utf8_lossy(&header);
        assert_eq!(
            answer.get(9..12).unwrap_or_default(),
            status,
            "{last} {text:?}: {answer}"
        );
    }
    let closed = forebay
        .metric("forebay_connections_closed_total", "proxy_header")
        .await;
    assert_eq!(closed.to_string(), "2");
    let told =
        "the connection does not begin with a PROXY protocol header; have the proxy send one";
    for wanted in ["192.0.2.1:4000", "192.0.2.2:4000", told] {
        forebay
            .until_logged(wanted, |log| log.contains(wanted))
            .await;
    }
    assert!(!forebay.log().contains("192.0.2.3"), "{}", forebay.log());
}

/// The header of a connection says who connects to the proxy, which may be another proxy that names its client.
#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_before_a_proxy_before_the_mirror() {
    let forebay = once_each("proxy_protocol = true").await;
    for (client, status) in [
        ("192.0.2.1", "200"),
        ("192.0.2.2", "200"),
        ("192.0.2.1", "429"),
    ] {
        let message = format!(
            "PROXY TCP4 127.0.0.9 127.0.0.1 4000 5000\r\n{LAST}X-Forwarded-For: {client}\r\n\r\n"
        );
        let answer = exchange(PROXY, forebay.address, message.as_bytes()).await;
        assert_eq!(answer.get(9..12), Some(status), "{client}: {answer}");
    }
}
