//! How an answer and its connection end: what a client can tell from it.

use http::StatusCode;
use tokio::sync::mpsc;

use super::*;

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let server = Server::start(patient(), || ResponseBody::whole("hello"));
    let mut client = server.send(GET).await;
    let first = client.read_until("hello").await;
    assert!(
        first.starts_with("HTTP/1.1 200 OK\r\n") && first.contains("content-length: 5\r\n"),
        "{first}"
    );
    client.send(&format!("{GET}{GET}")).await;
    client.read_until("hello").await;
    client.read_until("hello").await;
}

#[tokio::test]
async fn a_cut_body_ends_with_fin_after_what_was_sent() {
    let server = Server::start(patient(), || {
        ResponseBody::stream(
            100,
            body(vec![Ok("first"), Ok("second"), Err(Aborted::Cut)]),
        )
    });
    let (text, end) = server.send(GET).await.read_to_end().await;
    assert!(
        text.contains("content-length: 100") && text.ends_with("firstsecond"),
        "{text}"
    );
    assert_eq!(end, Ok(()));
}

#[tokio::test]
async fn unread_requests_do_not_turn_fin_into_rst() {
    let server = Server::start(patient(), || {
        ResponseBody::stream(100, body(vec![Ok("first"), Err(Aborted::Cut)]))
    });
    // More than hyper reads ahead, so that some of it is still in the socket when it closes.
    let pipelined = GET.repeat(2_000);
    let (text, end) = server.send(&pipelined).await.read_to_end().await;
    assert!(text.ends_with("first"), "{text}");
    assert_eq!(end, Ok(()));
}

#[tokio::test]
async fn a_body_proven_wrong_ends_with_rst() {
    let (feed, mut first) = {
        let (feed, food) = mpsc::unbounded_channel::<Result<Bytes, Aborted>>();
        let chunks = stream::unfold(food, |mut food: mpsc::UnboundedReceiver<_>| async move {
            Some((food.recv().await?, food))
        });
        (feed, Some(ResponseBody::stream(100, chunks)))
    };
    let first = std::sync::Mutex::new(first.take());
    let server = Server::start(patient(), move || first.lock().unwrap().take().unwrap());
    let mut client = server.send(GET).await;
    feed.send(Ok(Bytes::from_static(b"first"))).unwrap();
    client.read_until("first").await;
    feed.send(Err(Aborted::Mismatch)).unwrap();
    let (rest, end) = client.read_to_end().await;
    assert_eq!((rest.as_str(), end), ("", Err(ErrorKind::ConnectionReset)));
}

/// The kernel kept it for the write-idle timeout, when the connection's place was somebody else's already: a client that asked
/// again and again, and read nothing, made it keep far more than there are connections.
#[tokio::test]
async fn what_is_left_of_an_ended_connection_is_kept_for_a_short_time() {
    let second = Duration::from_secs(1);
    for (patience, kept) in [(60 * second, 10 * second), (2 * second, 2 * second)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let stream = listener.accept().await.unwrap().0.into_std().unwrap();
        let same = stream.try_clone().unwrap();
        let settings = Settings {
            write_idle_timeout: patience,
            ..patient()
        };
        let stream = TcpStream::from_std(stream).unwrap();
        let socket = pace::Paced::new(stream, Arc::default(), &settings, Arc::default(), false);
        drop(client);
        socket.close().await;
        let told = socket2::SockRef::from(&same).tcp_user_timeout().unwrap();
        assert_eq!(told, Some(kept));
    }
}

#[tokio::test]
async fn a_client_that_ends_its_side_still_gets_its_answer() {
    let server = Server::start(patient(), || ResponseBody::whole("hello"));
    let mut client = server.send(GET).await;
    client.stream.shutdown().await.unwrap();
    let (text, end) = client.read_to_end().await;
    assert!(text.ends_with("hello"), "{text}");
    assert_eq!(end, Ok(()));
}

#[tokio::test]
async fn a_head_request_keeps_the_length_and_loses_the_body() {
    let server = Server::with_service(patient(), |_| {
        let mut response = Response::new(ResponseBody::empty());
        response
            .headers_mut()
            .insert(http::header::CONTENT_LENGTH, 12345.into());
        *response.status_mut() = StatusCode::OK;
        response
    });
    let mut client = server.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let head = client.read_until("\r\n\r\n").await;
    assert!(head.contains("content-length: 12345\r\n"), "{head}");
    client
        .send("HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .await;
    let (second, end) = client.read_to_end().await;
    assert!(
        second.starts_with("HTTP/1.1 200 OK") && second.ends_with("\r\n\r\n"),
        "{second}"
    );
    assert_eq!(end, Ok(()));
}
