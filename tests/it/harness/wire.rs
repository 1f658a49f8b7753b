//! One connection of a client, byte by byte: what goes out is what the test wrote, and what comes back is kept as it
//! was spelled.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::process::Forebay;

/// How long the next bytes may take on a busy machine. Less than what the mirror gives a client to finish a head in
/// would be a wait for that time; more would hide one.
const PATIENCE: Duration = Duration::from_mins(1);

/// A response's head: its status line and its header lines, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) lines: Vec<String>,
}

/// How the mirror ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

/// A request, as a client writes it.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: mirror\r\n\r\n")
}

/// A connection to the mirror.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub(crate) async fn open(forebay: &Forebay) -> Self {
        let stream = TcpStream::connect(forebay.address).await;
        let stream = stream.expect("the mirror accepts");
        stream.set_nodelay(true).expect("an open socket");
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Sends all of `bytes`.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.stream.write_all(bytes.as_ref()).await;
        sent.expect("the mirror reads");
    }

    /// Sends `bytes` as far as the mirror takes them: it may refuse before the end, and close.
    pub(crate) async fn push(&mut self, bytes: impl AsRef<[u8]>) {
        // What it says to them is for the reading side.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// The next response's head.
    pub(crate) async fn head(&mut self) -> Head {
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.unread.split_off(end + 4);
                let head = std::mem::replace(&mut self.unread, rest);
                let head = String::from_utf8(head).expect("a head is text");
                let lines = head.trim_end_matches("\r\n").split("\r\n");
                return Head {
                    lines: lines.map(str::to_owned).collect(),
                };
            }
            assert!(
                self.fill().await == Ok(true),
                "no head came, only {:?}",
                String::from_utf8_lossy(&self.unread)
            );
        }
    }

    /// The next `length` bytes of a body.
    pub(crate) async fn body(&mut self, length: usize) -> Bytes {
        self.unread
            .reserve(length.saturating_sub(self.unread.len()));
        while self.unread.len() < length {
            let more = self.fill().await;
            assert!(
                more == Ok(true),
                "{} of {length} bytes came, then {more:?}",
                self.unread.len()
            );
        }
        let rest = self.unread.split_off(length);
        std::mem::replace(&mut self.unread, rest).into()
    }

    /// All that still comes, and how it ends.
    pub(crate) async fn rest(mut self) -> (Bytes, End) {
        let end = loop {
            match self.fill().await {
                Ok(true) => {}
                Ok(false) => break End::Fin,
                Err(ErrorKind::ConnectionReset) => break End::Reset,
                Err(other) => panic!("the connection failed: {other}"),
            }
        };
        (self.unread.into(), end)
    }

    /// Says that no more will be sent.
    pub(crate) async fn finish(&mut self) {
        let finished = self.stream.shutdown().await;
        finished.expect("an open socket");
    }

    /// Leaves at once, with RST, as a client does that has read enough.
    pub(crate) fn reset(self) {
        let linger = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        linger.expect("an open socket");
    }

    /// Reads once; whether anything came.
    async fn fill(&mut self) -> Result<bool, ErrorKind> {
        self.unread.reserve(64 << 10);
        let read = self.stream.read_buf(&mut self.unread);
        let read = tokio::time::timeout(PATIENCE, read).await;
        let read = read.expect("the mirror answers or closes, and does not leave a client waiting");
        read.map(|read| read > 0).map_err(|error| error.kind())
    }
}

impl Head {
    /// The three digits of its status.
    pub(crate) fn status(&self) -> &str {
        self.lines[0].get(9..12).unwrap_or_default()
    }

    /// A header's value, by its name in lower case; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let field = |line: &&String| {
            line.split_once(':')
                .is_some_and(|(field, _)| field.eq_ignore_ascii_case(name))
        };
        let line = self.lines[1..].iter().find(field);
        line.map_or("", |line| line[name.len() + 1..].trim())
    }

    /// `Content-Length`.
    pub(crate) fn length(&self) -> usize {
        self.header("content-length")
            .parse()
            .expect("a length was sent")
    }

    /// The head as text, one line each, with the only part that no test can know taken out.
    pub(crate) fn text(&self) -> String {
        let lines = self
            .lines
            .iter()
            .map(|line| match line.strip_prefix("date: ") {
                Some(date) if httpdate_like(date) => "date: {date}",
                _ => line,
            });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Whether it is a date as RFC 9110, section 5.6.7, prefers it: `Sat, 21 Nov 2026 09:28:44 GMT`.
fn httpdate_like(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| match c {
            '0'..='9' => '0',
            'A'..='Z' => 'A',
            'a'..='z' => 'a',
            other => other,
        })
        .collect();
    shape == "Aaa, 00 Aaa 0000 00:00:00 AAA"
}
