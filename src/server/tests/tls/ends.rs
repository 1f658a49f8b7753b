//! How a connection ends on both layers, and who is ended.

use std::sync::Mutex;

use super::*;

#[tokio::test]
async fn a_finished_connection_says_so_on_both_layers() {
    let secure = Secure::start(patient(), None, hello);
    let (text, end) = read_to_end(secure.send(CLOSE).await).await;
    assert!(text.ends_with("hello"), "{text}");
    // Without `close_notify`, the end would be an unexpected one.
    assert_eq!(end, Ok(()));
}

#[tokio::test]
async fn a_cut_body_is_seen_as_cut_after_what_was_sent() {
    let secure = Secure::start(patient(), None, |_| {
        let parts = body(vec![Ok("first"), Ok("second"), Err(Aborted::Cut)]);
        Response::new(ResponseBody::stream(100, parts))
    });
    let (text, end) = read_to_end(secure.send(GET).await).await;
    assert!(
        text.contains("content-length: 100") && text.ends_with("firstsecond"),
        "{text}"
    );
    assert_eq!(end, Err(ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn a_body_proven_wrong_ends_with_rst_under_tls() {
    let (feed, food) = tokio::sync::mpsc::unbounded_channel::<Result<Bytes, Aborted>>();
    let food = Mutex::new(Some(food));
    let secure = Secure::start(patient(), None, move |_| {
        let food = food.lock().unwrap().take().unwrap();
        let chunks = stream::unfold(
            food,
            |mut food| async move { Some((food.recv().await?, food)) },
        );
        Response::new(ResponseBody::stream(100, chunks))
    });
    let mut stream = secure.send(GET).await;
    feed.send(Ok(Bytes::from_static(b"first"))).unwrap();
    let mut read = Vec::new();
    while find(&read, b"first").is_none() {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
    feed.send(Err(Aborted::Mismatch)).unwrap();
    let (rest, end) = read_to_end(stream).await;
    assert_eq!((rest.as_str(), end), ("", Err(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_ended_under_tls() {
    static ZEROES: [u8; 32 << 10] = [0; 32 << 10];
    let (gone, ended) = tokio::sync::oneshot::channel::<()>();
    let gone = Mutex::new(Some(gone));
    let settings = Settings {
        write_idle_timeout: SHORT,
        ..patient()
    };
    let secure = Secure::start(settings, None, move |_| {
        let gone = gone.lock().unwrap().take();
        let chunks = stream::repeat_with(move || {
            let _rides_along = &gone;
            Ok(Bytes::from_static(&ZEROES))
        });
        Response::new(ResponseBody::stream(1 << 40, chunks))
    });
    let _client = secure.send(GET).await;
    assert!(timeout(LONG, ended).await.unwrap().is_err());
}

#[tokio::test]
async fn an_idle_connection_is_closed_under_tls_after_the_idle_timeout() {
    let settings = Settings {
        idle_timeout: SHORT,
        ..patient()
    };
    let secure = Secure::start(settings, None, hello);
    let mut stream = secure.send(GET).await;
    let mut read = Vec::new();
    while find(&read, b"hello").is_none() {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
    // Said on both layers: nothing was cut.
    assert_eq!(read_to_end(stream).await, (String::new(), Ok(())));
}

/// Read in small parts, late: all of it is there, and the idle timeout does not count before its last byte.
#[tokio::test]
async fn a_slow_reader_gets_every_byte_under_tls() {
    const LENGTH: usize = 16 << 20;
    let settings = Settings {
        idle_timeout: SHORT,
        ..patient()
    };
    let secure = Secure::start(settings, None, |_| {
        Response::new(ResponseBody::whole(vec![b'x'; LENGTH]))
    });
    let mut stream = secure.send(GET).await;
    let mut read = Vec::new();
    while find(&read, b"\r\n\r\n").is_none() {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
    let head = find(&read, b"\r\n\r\n").unwrap() + 4;
    tokio::time::sleep(4 * SHORT).await;
    let (rest, _) = read_to_end(stream).await;
    assert_eq!(read.len() - head + rest.len(), LENGTH);
}

#[tokio::test]
async fn a_connection_that_makes_room_says_so_on_both_layers() {
    let settings = Settings {
        max_connections: 1,
        ..patient()
    };
    let secure = Secure::start(settings, None, hello);
    let mut first = secure.send(GET).await;
    let mut read = Vec::new();
    while find(&read, b"hello").is_none() {
        assert_ne!(first.read_buf(&mut read).await.unwrap(), 0);
    }
    let second = secure.send(CLOSE);
    let (rest, second) = tokio::join!(read_to_end(first), second);
    assert_eq!(rest, (String::new(), Ok(())));
    assert!(read_to_end(second).await.0.ends_with("hello"));
}

/// It kept what TLS held, and waited for the client to take it.
#[tokio::test]
async fn a_client_that_does_not_read_is_not_waited_for_when_it_is_cut() {
    static ZEROES: [u8; 32 << 10] = [0; 32 << 10];
    let (gone, over) = tokio::sync::oneshot::channel::<()>();
    let settings = Settings {
        drain: SHORT,
        ..patient()
    };
    let secure = Secure::start(settings, None, move |_| {
        // There for as long as a connection is.
        let _gone = &gone;
        let chunks = stream::repeat(Ok(Bytes::from_static(&ZEROES)));
        Response::new(ResponseBody::stream(1 << 40, chunks))
    });
    let mut client = secure.send(GET).await;
    let mut read = Vec::new();
    assert_ne!(client.read_buf(&mut read).await.unwrap(), 0);
    secure.server.shutdown.cancel();
    assert_eq!(secure.server.run.await.unwrap(), Drained { cut: 1 });
    assert!(timeout(LONG, over).await.expect("it is over").is_err());
}
