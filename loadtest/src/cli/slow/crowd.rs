//! Clients that are slow on purpose, each on a connection of its own.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use forebay_loadtest::fleet::{Connection, Stream, Way};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::modest::connect;

/// Between two bytes.
const BETWEEN: Duration = Duration::from_secs(1);
/// Who is sent nothing for so long was let go. The end itself may never come: the kernel drops what is left for a client
/// that does not read without a word, and answers only what that client sends next.
const SILENCE: Duration = Duration::from_secs(30);
/// What the kernel keeps for a reader that does not read: as little as it may.
const RECEIVED: u32 = 4096;
/// A head that is begun.
const BEGUN: &[u8] = b"GET /v2/ HTTP/1.1\r\nHost: mirror\r\nX-Slow: ";

/// All of them.
pub(super) struct Crowd {
    way: Way,
    stopped: watch::Receiver<bool>,
    tasks: JoinSet<io::Result<Shed>>,
    idle: Vec<Connection>,
    opened: u8,
}

/// How many of them were let go.
#[derive(Debug, Default)]
pub(super) struct Shed {
    /// A head that is begun anew counts each time.
    pub(super) heads: usize,
    pub(super) readers: usize,
}

impl Crowd {
    /// Nobody yet; they go on until they are stopped.
    pub(super) fn of(way: Way, stopped: watch::Receiver<bool>) -> Self {
        Self {
            way,
            stopped,
            tasks: JoinSet::new(),
            idle: Vec::new(),
            opened: 0,
        }
    }

    /// Connections that have asked once.
    pub(super) async fn idle(&mut self, count: usize, path: &str) -> io::Result<()> {
        for _ in 0..count {
            let from = self.address();
            let mut connection = connect(&self.way, from).await?;
            connection.ask(&Method::GET, path).await?;
            self.idle.push(connection);
        }
        Ok(())
    }

    /// Connections that read a byte a second of an answer.
    pub(super) async fn readers(&mut self, count: usize, path: &str) -> io::Result<()> {
        for _ in 0..count {
            let from = self.address().into();
            let mut stream = self.way.connect(Some(from), Some(RECEIVED)).await?;
            let head = format!("GET {path} HTTP/1.1\r\nHost: mirror\r\n\r\n");
            send(&mut stream, head.as_bytes()).await?;
            let length = body_length(&mut stream).await?;
            self.tasks
                .spawn(read_slowly(stream, length, self.stopped.clone()));
        }
        Ok(())
    }

    /// Connections whose head does not end.
    pub(super) async fn heads(&mut self, count: usize) -> io::Result<()> {
        for _ in 0..count {
            let (from, way) = (self.address(), self.way.clone());
            let stream = begin(from, &way).await?;
            self.tasks
                .spawn(write_slowly(stream, from, way, self.stopped.clone()));
        }
        Ok(())
    }

    /// Waits until all have seen that they are to stop.
    pub(super) async fn end(mut self) -> io::Result<Shed> {
        let mut all = Shed::default();
        while let Some(shed) = self.tasks.join_next().await {
            let shed = shed.map_err(io::Error::other)??;
            all.heads += shed.heads;
            all.readers += shed.readers;
        }
        Ok(all)
    }

    /// One after the other, so that no address runs out of ports.
    fn address(&mut self) -> Ipv4Addr {
        self.opened = self.opened.wrapping_add(1);
        Ipv4Addr::new(127, 0, 2, self.opened)
    }
}

/// Sends a head a byte a second, on a new connection whenever one is ended.
async fn write_slowly(
    mut stream: Stream,
    from: Ipv4Addr,
    way: Way,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<Shed> {
    let mut shed = Shed::default();
    loop {
        drip(&mut stream).await;
        shed.heads += 1;
        if *stopped.borrow() {
            return Ok(shed);
        }
        tokio::select! {
            again = begin(from, &way) => stream = again?,
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(shed),
        }
    }
}

async fn begin(from: Ipv4Addr, way: &Way) -> io::Result<Stream> {
    let mut stream = way.connect(Some(from.into()), None).await?;
    send(&mut stream, BEGUN).await?;
    Ok(stream)
}

/// Under TLS, what is written is on its way only once it is flushed.
async fn send(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Until the connection is ended.
async fn drip(stream: &mut Stream) {
    loop {
        tokio::select! {
            // An answer, an end or an error: it is not waited for any more.
            _ = stream.read_u8() => return,
            () = tokio::time::sleep(BETWEEN) => {}
        }
        if send(stream, b"x").await.is_err() {
            return;
        }
    }
}

/// Reads a byte a second until it is stopped, then all that is left: whether that is the whole answer.
async fn read_slowly(
    mut stream: Stream,
    length: u64,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<Shed> {
    let mut read = 0;
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            byte = after(BETWEEN, stream.read_u8()) => match byte {
                Ok(_) => read += 1,
                Err(_) => break,
            },
        }
    }
    // However it ends.
    let mut buffer = vec![0; 16 << 10];
    while read < length {
        match timeout(SILENCE, stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => read += count as u64,
            _ => break,
        }
    }
    Ok(Shed {
        heads: 0,
        readers: usize::from(read < length),
    })
}

async fn after<T>(pause: Duration, then: impl Future<Output = T>) -> T {
    tokio::time::sleep(pause).await;
    then.await
}

/// Reads an answer's head: how long its body is.
async fn body_length(stream: &mut Stream) -> io::Result<u64> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse().ok());
    length.ok_or_else(|| io::Error::other(format!("no blob: {head}")))
}
