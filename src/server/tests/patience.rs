//! How long a client is waited for, and what is no fault of its own.

use tokio::sync::oneshot;

use super::*;

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let server = Server::start(
        Settings {
            header_timeout: SHORT,
            ..patient()
        },
        || ResponseBody::whole("hello"),
    );
    for begun in ["", "G", "GET / HTTP/1.1\r\nHost: h\r\n"] {
        let (text, _) = server.send(begun).await.read_to_end().await;
        assert_eq!(text, "", "{begun:?}");
    }
}

#[tokio::test]
async fn a_head_that_trickles_is_not_waited_for() {
    let server = Server::start(
        Settings {
            header_timeout: SHORT,
            ..patient()
        },
        || ResponseBody::whole("hello"),
    );
    let mut client = server.send(GET).await;
    client.read_until("hello").await;
    let mut client = client.stream;
    // The connection's next head: each byte is progress, but the head as a whole is late.
    let ended = loop {
        if let Err(error) = client.write_all(b"G").await {
            break error.kind();
        }
        tokio::time::sleep(SHORT / 10).await;
    };
    assert!(
        matches!(ended, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
        "{ended}"
    );
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_idle_timeout_only() {
    let settings = Settings {
        header_timeout: SHORT,
        idle_timeout: 3 * SHORT,
        ..patient()
    };
    let server = Server::start(settings, || ResponseBody::whole("hello"));
    let asked = std::time::Instant::now();
    let mut client = server.send(GET).await;
    client.read_until("hello").await;
    assert_eq!(client.read_to_end().await, (String::new(), Ok(())));
    assert!(asked.elapsed() >= 2 * SHORT, "closed by the header timeout");
}

/// A chunk is asked for only once the one before it was taken: who asks for it then is hyper, and nobody would if it did not.
#[tokio::test]
async fn a_slow_reader_gets_every_chunk() {
    const CHUNK: usize = 60 << 10;
    const CHUNKS: usize = 300;
    let server = Server::start(patient(), || {
        let chunks = (0..CHUNKS).map(|_| Ok(Bytes::from(vec![b'x'; CHUNK])));
        ResponseBody::stream((CHUNKS * CHUNK) as u64, stream::iter(chunks))
    });
    let mut client = server.send(GET).await;
    client.read_until("\r\n\r\n").await;
    for _ in 0..4 {
        tokio::time::sleep(SHORT / 10).await;
        client.stream.read_buf(&mut client.unread).await.unwrap();
    }
    client.stream.shutdown().await.unwrap();
    let (text, end) = client.read_to_end().await;
    assert_eq!((text.len(), end), (CHUNKS * CHUNK, Ok(())));
}

/// hyper drops a body once its end is buffered: for the idle timeout that must not be the end of it.
#[tokio::test]
async fn a_slow_reader_gets_every_byte_and_is_idle_only_after_the_last() {
    const LENGTH: usize = 16 << 20;
    const WITH_BODY: &str = "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    let settings = Settings {
        idle_timeout: SHORT,
        ..patient()
    };
    let server = Server::start(settings, || ResponseBody::whole(vec![b'x'; LENGTH]));
    for request in [GET, WITH_BODY] {
        let mut client = server.send(request).await;
        client.read_until("\r\n\r\n").await;
        tokio::time::sleep(4 * SHORT).await;
        let (text, end) = client.read_to_end().await;
        assert_eq!((text.len(), end), (LENGTH, Ok(())), "{request:?}");
    }
}

static ZEROES: [u8; 32 << 10] = [0; 32 << 10];

#[tokio::test]
async fn a_client_that_does_not_read_is_ended() {
    let (gone, ended) = oneshot::channel::<()>();
    let gone = std::sync::Mutex::new(Some(gone));
    let server = Server::start(
        Settings {
            write_idle_timeout: SHORT,
            ..patient()
        },
        move || {
            let gone = gone.lock().unwrap().take();
            let chunks = stream::repeat_with(move || {
                let _rides_along = &gone;
                Ok(Bytes::from_static(&ZEROES))
            });
            ResponseBody::stream(1 << 40, chunks)
        },
    );
    let _client = server.send(GET).await;
    // The sender goes with the body, which goes with the connection.
    assert!(ended.await.is_err());
}

/// A client that takes nothing, and answers the kernel's probes, kept what was sent to it in the kernel's memory for ever.
#[tokio::test]
async fn what_a_client_does_not_take_is_not_kept_for_it() {
    let settings = Settings {
        write_idle_timeout: SHORT,
        ..patient()
    };
    let server = Server::start(settings, || {
        let chunks = stream::repeat_with(|| Ok(Bytes::from_static(&ZEROES)));
        ResponseBody::stream(1 << 40, chunks)
    });
    let client = server.send(GET).await;
    let port = client.stream.local_addr().unwrap().port();
    let ends = [server.address.port(), port].map(|port| format!("{port:04X}"));
    let gone = async {
        while is_known(&ends) {
            tokio::time::sleep(SHORT).await;
        }
    };
    timeout(3 * LONG, gone).await.expect("the kernel lets go");
}

/// Whether the kernel has a connection between these ports on the loopback, seen from the first.
fn is_known([near, far]: &[String; 2]) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.contains(&format!(" 0100007F:{near} 0100007F:{far} "))
}

#[tokio::test]
async fn a_slow_source_is_no_fault_of_the_client() {
    let server = Server::start(
        Settings {
            write_idle_timeout: SHORT,
            ..patient()
        },
        || {
            let late = stream::once(async {
                tokio::time::sleep(3 * SHORT).await;
                Ok(Bytes::from_static(b"late"))
            });
            ResponseBody::stream(9, body(vec![Ok("early")]).chain(late))
        },
    );
    server.send(GET).await.read_until("earlylate").await;
}
