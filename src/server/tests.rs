//! Connections as clients see them: raw sockets, bytes in and bytes out.

mod ends;
mod heads;
mod parts;
mod patience;
mod places;
mod tls;

use std::io::ErrorKind;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::http::{Aborted, ResponseBody};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

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
        place_wait: NEVER,
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
        respond: impl Fn(&Remote) -> Response<ResponseBody> + Send + Sync + 'static,
    ) -> Self {
        Self::listening(settings, None, respond)
    }

    fn listening(
        settings: Settings,
        tls: Option<Tls>,
        respond: impl Fn(&Remote) -> Response<ResponseBody> + Send + Sync + 'static,
    ) -> Self {
        let listener = listen::bind("127.0.0.1:0".parse().unwrap(), "server.listen").unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let service: Service = Arc::new(move |_, remote| Answering::now(respond(&remote)));
        let run = tokio::spawn(run(
            vec![listener],
            settings,
            Clients::unlimited(),
            tls,
            service,
            shutdown.clone(),
        ));
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
