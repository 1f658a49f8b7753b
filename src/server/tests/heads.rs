//! Heads that are no request, or more than one: what is refused, and what becomes of the connection.

use super::*;

#[tokio::test]
async fn a_tls_hello_is_refused_at_once() {
    let server = Server::start(patient(), || ResponseBody::whole("hello"));
    let mut client = server.connect().await;
    client
        .stream
        .write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])
        .await
        .unwrap();
    let (text, end) = client.read_to_end().await;
    // Go's TLS client recognises these bytes and says that the server speaks plain HTTP.
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    assert_eq!(end, Ok(()));
}

#[tokio::test]
async fn heads_that_could_smuggle_are_refused_by_the_parser() {
    let server = Server::start(patient(), || ResponseBody::whole("hello"));
    for head in [
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/3.0\r\nHost: h\r\n\r\n",
    ] {
        let (text, end) = server
            .send(&format!("{head}GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"))
            .await
            .read_to_end()
            .await;
        assert!(
            text.starts_with("HTTP/1.1 400 ") || text.is_empty(),
            "{head:?}: {text}"
        );
        assert!(!text.contains("200 OK"), "{head:?}: {text}");
        assert_eq!(end, Ok(()), "{head:?}");
    }
}

#[tokio::test]
async fn both_lengths_end_the_connection_after_one_answer() {
    for lengths in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ] {
        let server = Server::start(patient(), || ResponseBody::whole("hello"));
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{lengths}\r\n0\r\n\r\n{GET}");
        let (text, end) = server.send(&request).await.read_to_end().await;
        assert_eq!(text.matches("hello").count(), 1, "{text}");
        assert_eq!(end, Ok(()));
    }
}

#[tokio::test]
async fn a_body_of_a_get_is_drained_or_ends_the_connection() {
    let server = Server::start(patient(), || ResponseBody::whole("hello"));
    let mut client = server
        .send(&format!(
            "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc{GET}"
        ))
        .await;
    client.read_until("hello").await;
    client.read_until("hello").await;
    // A long one is not waited for.
    let mut client = server.connect().await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n{}{GET}",
        "x".repeat(200_000)
    );
    client.send(&long).await;
    let (text, end) = client.read_to_end().await;
    assert_eq!(text.matches("hello").count(), 1, "{text}");
    assert_eq!(end, Ok(()));
}

#[tokio::test]
async fn a_head_has_a_bound() {
    let server = Server::start(patient(), || ResponseBody::whole("hello"));
    let head = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let (text, _) = server.send(&head).await.read_to_end().await;
    assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
}
