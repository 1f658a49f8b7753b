//! Connections as clients see them: raw sockets, bytes in and bytes out.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::http::Aborted;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
static ZEROES: [u8; 32 << 10] = [0; 32 << 10];
/// Longer than any test runs.
const NEVER: Duration = Duration::from_mins(10);
/// Short, for what a test waits for.
const SHORT: Duration = Duration::from_millis(100);
/// A test that waits longer than this has failed.
const LONG: Duration = Duration::from_secs(20);

fn patient() -> Settings {
    Settings {
        listener: metrics::Listener::Clients,
        header_timeout: NEVER,
        idle_timeout: NEVER,
        write_idle_timeout: NEVER,
        drain: NEVER,
        max_connections: 100,
    }
}

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    run: JoinHandle<Drained>,
}

impl Server {
    fn start(
        settings: Settings,
        respond: impl Fn() -> ResponseBody + Send + Sync + 'static,
    ) -> Self {
        Self::with_service(settings, move |_| Response::new(respond()))
    }

    fn with_service(
        settings: Settings,
        respond: impl Fn(&Request<Incoming>) -> Response<ResponseBody> + Send + Sync + 'static,
    ) -> Self {
        let listener = listen::bind("127.0.0.1:0".parse().unwrap(), "server.listen").unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let service: Service = Arc::new(move |request| {
            let response = respond(&request);
            Box::pin(async move { response })
        });
        let run = tokio::spawn(run(vec![listener], settings, service, shutdown.clone()));
        Self {
            address,
            shutdown,
            run,
        }
    }

    async fn connect(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.address).await.unwrap(),
            unread: Vec::new(),
        }
    }

    async fn send(&self, bytes: &str) -> Client {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client
    }
}

struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Reads up to and including `mark`.
    async fn read_until(&mut self, mark: &str) -> String {
        timeout(LONG, self.read_on(mark)).await.unwrap_or_else(|_| {
            panic!("no {mark:?} in {:?}", String::from_utf8_lossy(&self.unread))
        })
    }

    async fn read_on(&mut self, mark: &str) -> String {
        loop {
            if let Some(at) = find(&self.unread, mark.as_bytes()) {
                let rest = self.unread.split_off(at + mark.len());
                let read = std::mem::replace(&mut self.unread, rest);
                return String::from_utf8(read).unwrap();
            }
            let read = self.stream.read_buf(&mut self.unread).await.unwrap();
            assert_ne!(
                read,
                0,
                "closed before {mark:?}: {:?}",
                String::from_utf8_lossy(&self.unread)
            );
        }
    }

    /// Reads to the end of the connection: all that came, and how it ended.
    async fn read_to_end(mut self) -> (String, Result<(), ErrorKind>) {
        let end = timeout(LONG, self.read_all()).await;
        let text = String::from_utf8_lossy(&self.unread).into_owned();
        let end = end.unwrap_or_else(|_| panic!("the connection does not end after {text:?}"));
        (text, end.map_err(|error| error.kind()))
    }

    async fn read_all(&mut self) -> std::io::Result<()> {
        while self.stream.read_buf(&mut self.unread).await? > 0 {}
        Ok(())
    }
}

fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|window| window == mark)
}

fn body(parts: Vec<Result<&'static str, Aborted>>) -> impl Stream<Item = Result<Bytes, Aborted>> {
    stream::iter(parts).map(|part| part.map(Bytes::from))
}

/// A body that gives what is sent to it.
fn fed(length: u64) -> (mpsc::UnboundedSender<Bytes>, ResponseBody) {
    let (feed, food) = mpsc::unbounded_channel();
    let chunks = stream::unfold(
        food,
        |mut food: mpsc::UnboundedReceiver<Bytes>| async move {
            let chunk = food.recv().await?;
            Some((Ok(chunk), food))
        },
    );
    (feed, ResponseBody::stream(length, chunks))
}

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
    let mut client = server.send(GET).await;
    client.read_until("hello").await;
    let answered = std::time::Instant::now();
    assert_eq!(client.read_to_end().await, (String::new(), Ok(())));
    assert!(
        answered.elapsed() >= 2 * SHORT,
        "closed by the header timeout"
    );
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

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_a_place() {
    let calls = Arc::new(AtomicUsize::new(0));
    let (feed, first) = fed(5);
    let first = std::sync::Mutex::new(Some(first));
    let counted = Arc::clone(&calls);
    let server = Server::start(
        Settings {
            max_connections: 1,
            ..patient()
        },
        move || {
            counted.fetch_add(1, Ordering::SeqCst);
            first
                .lock()
                .unwrap()
                .take()
                .unwrap_or_else(|| ResponseBody::whole("second"))
        },
    );
    let mut holder = server.send(GET).await;
    let head = holder.read_until("\r\n\r\n").await;
    assert!(
        head.contains("connection: close"),
        "a full house keeps nobody alive: {head}"
    );
    let mut waiting = server.send(GET).await;
    let unanswered = timeout(SHORT, waiting.stream.readable()).await;
    assert!(unanswered.is_err() && calls.load(Ordering::SeqCst) == 1);
    feed.send(Bytes::from_static(b"first")).unwrap();
    holder.read_until("first").await;
    waiting.read_until("second").await;
}

/// Each listener kept a place in reserve, so at a low cap a quiet one took the last from the others.
#[tokio::test]
async fn a_quiet_listener_takes_no_place_from_another() {
    let settings = Settings {
        max_connections: 1,
        ..patient()
    };
    let bind = || listen::bind("127.0.0.1:0".parse().unwrap(), "server.listen").unwrap();
    let listeners = vec![bind(), bind()];
    let addresses = [0, 1].map(|at: usize| listeners[at].local_addr().unwrap());
    let service: Service =
        Arc::new(|_| Box::pin(async { Response::new(ResponseBody::whole("hello")) }));
    // Tied to the test's runtime.
    tokio::spawn(run(listeners, settings, service, CancellationToken::new()));
    for address in addresses {
        let mut client = Client {
            stream: TcpStream::connect(address).await.unwrap(),
            unread: Vec::new(),
        };
        client.send(GET).await;
        let (text, end) = client.read_to_end().await;
        assert!(text.ends_with("hello"), "{text}");
        assert_eq!(end, Ok(()));
    }
}

#[tokio::test]
async fn draining_refuses_new_work_and_finishes_what_runs() {
    let (feed, running) = fed(6);
    let running = std::sync::Mutex::new(Some(running));
    let server = Server::start(patient(), move || {
        running
            .lock()
            .unwrap()
            .take()
            .unwrap_or_else(|| ResponseBody::whole("hello"))
    });
    let mut transfer = server.send(GET).await;
    feed.send(Bytes::from_static(b"abc")).unwrap();
    transfer.read_until("abc").await;
    let mut idle = server.send(GET).await;
    idle.read_until("hello").await;
    server.shutdown.cancel();
    assert_eq!(idle.read_to_end().await, (String::new(), Ok(())));
    // The listener closed before the idle connection did, or does now.
    while let Ok(late) = TcpStream::connect(server.address).await {
        drop(late);
        tokio::task::yield_now().await;
    }
    feed.send(Bytes::from_static(b"def")).unwrap();
    assert_eq!(transfer.read_to_end().await, ("def".to_owned(), Ok(())));
    assert_eq!(server.run.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn a_response_that_begins_while_draining_says_close() {
    let (go, gate) = oneshot::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(Some(gate)));
    let listener = listen::bind("127.0.0.1:0".parse().unwrap(), "server.listen").unwrap();
    let address = listener.local_addr().unwrap();
    let (called, mut calls) = mpsc::unbounded_channel();
    let service: Service = Arc::new(move |_| {
        let gate = gate.lock().unwrap().take();
        called.send(()).unwrap();
        Box::pin(async move {
            gate.unwrap().await.unwrap();
            Response::new(ResponseBody::whole("hello"))
        })
    });
    let shutdown = CancellationToken::new();
    let run = tokio::spawn(run(vec![listener], patient(), service, shutdown.clone()));
    let mut client = Client {
        stream: TcpStream::connect(address).await.unwrap(),
        unread: Vec::new(),
    };
    client.send(GET).await;
    calls.recv().await.unwrap();
    shutdown.cancel();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    let (text, end) = client.read_to_end().await;
    assert!(
        text.contains("connection: close") && text.ends_with("hello"),
        "{text}"
    );
    assert_eq!((end, run.await.unwrap()), (Ok(()), Drained { cut: 0 }));
}

#[tokio::test]
async fn what_outlasts_the_drain_is_cut_with_fin() {
    let (feed, running) = fed(6);
    let running = std::sync::Mutex::new(Some(running));
    let server = Server::start(
        Settings {
            drain: SHORT,
            ..patient()
        },
        move || running.lock().unwrap().take().unwrap(),
    );
    let mut transfer = server.send(GET).await;
    feed.send(Bytes::from_static(b"abc")).unwrap();
    transfer.read_until("abc").await;
    server.shutdown.cancel();
    assert_eq!(transfer.read_to_end().await, (String::new(), Ok(())));
    assert_eq!(server.run.await.unwrap(), Drained { cut: 1 });
}

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
