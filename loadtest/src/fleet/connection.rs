//! One connection that is kept: a request, and its answer, whole or as it comes.
//!
//! Written by hand rather than with a client's library: thousands of these share a machine with what they measure.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::way::{Stream, Way};

/// The most that an answer's head may take.
const HEAD_LIMIT: usize = 64 << 10;
/// How much of a body is read at a time.
const READ: usize = 32 << 10;

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    received: BytesMut,
    host: String,
    /// How long it waits for the next bytes, if not for ever.
    patience: Option<Duration>,
    /// Whether the last answer was read to its end, and another request may follow.
    open: bool,
    /// Whether anything has come since the last request.
    answered: bool,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; empty for a HEAD.
    pub body: Bytes,
}

/// The head of an answer, whose body is still to be read.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    length: u64,
    keeps: bool,
}

impl Answer {
    /// A header's text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }
}

impl Head {
    /// A header's text; empty where there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }

    /// How long the body is; 0 for a HEAD's.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

impl Connection {
    /// Connects from an address of this machine, or from any.
    pub async fn open(from: Option<IpAddr>, way: &Way) -> io::Result<Self> {
        Ok(Self {
            stream: way.connect(from, None).await?,
            received: BytesMut::new(),
            host: way.host().to_owned(),
            patience: None,
            open: true,
            answered: false,
        })
    }

    /// The same, which gives up where nothing comes for so long.
    #[must_use]
    pub(super) fn patient(self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }

    /// Whether another request may be sent.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether nothing came after the last request: the server had ended the connection before, most likely.
    pub fn was_over(&self) -> bool {
        !self.answered
    }

    /// One request and its whole answer.
    pub async fn ask(&mut self, method: &Method, path: &str) -> io::Result<Answer> {
        let host = &self.host;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
        let head = self.begin(method, &request).await?;
        let mut body = Vec::new();
        self.rest(&head, |bytes| body.extend_from_slice(bytes))
            .await?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.into(),
        })
    }

    /// Sends a request as it is, and reads the head of its answer.
    pub(super) async fn begin(&mut self, method: &Method, request: &str) -> io::Result<Head> {
        (self.answered, self.open) = (false, false);
        self.stream.write_all(request.as_bytes()).await?;
        self.stream.flush().await?;
        let (status, headers) = self.head().await?;
        let length = length(method, &headers)?;
        let keeps = headers.get(CONNECTION).is_none_or(|value| value != "close");
        self.open = keeps && length == 0;
        Ok(Head {
            status,
            headers,
            length,
            keeps,
        })
    }

    /// Reads the body of the answer that has begun.
    pub(super) async fn rest(
        &mut self,
        head: &Head,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut left = head.length;
        while left > 0 {
            if self.received.is_empty() {
                self.received.reserve(READ);
                self.receive().await?;
            }
            let whole = usize::try_from(left).unwrap_or(usize::MAX);
            let count = self.received.len().min(whole);
            each(&self.received[..count]);
            self.received.advance(count);
            left -= count as u64;
        }
        self.open = head.keeps;
        Ok(())
    }

    async fn head(&mut self) -> io::Result<(u16, HeaderMap)> {
        loop {
            if let Some((status, headers, length)) = parse(&self.received)? {
                self.received.advance(length);
                return Ok((status, headers));
            }
            if self.received.len() > HEAD_LIMIT {
                return Err(invalid("a head that does not end"));
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> io::Result<()> {
        let read = self.stream.read_buf(&mut self.received);
        let count = match self.patience {
            Some(patience) => timeout(patience, read)
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "nothing more came"))?,
            None => read.await,
        }?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.answered = true;
        Ok(())
    }
}

/// How long the body is. Without a length it would end where the connection does, and could be cut unnoticed.
fn length(method: &Method, headers: &HeaderMap) -> io::Result<u64> {
    if method == Method::HEAD {
        return Ok(0);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(invalid("a body in chunks"));
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    let length = length.and_then(|length| length.parse().ok());
    length.ok_or_else(|| invalid("a body without a length"))
}

/// A head and its length, if `received` holds a whole one.
fn parse(received: &[u8]) -> io::Result<Option<(u16, HeaderMap, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(received);
    let length = match parsed.map_err(|error| invalid(&error.to_string()))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let mut headers = HeaderMap::new();
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(io::Error::other)?;
        let value = HeaderValue::from_bytes(field.value).map_err(io::Error::other)?;
        headers.append(name, value);
    }
    Ok(Some((response.code.unwrap_or_default(), headers, length)))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nabc";
        assert!(parse(&text[..40]).unwrap().is_none());
        let (status, headers, end) = parse(text).unwrap().unwrap();
        assert_eq!((status, end), (206, text.len() - 3));
        assert_eq!(length(&Method::GET, &headers).unwrap(), 3);
        assert_eq!(length(&Method::HEAD, &headers).unwrap(), 0);
        assert!(length(&Method::GET, &HeaderMap::new()).is_err());
        assert!(parse(b"SSH-2.0-x\r\n").is_err());
    }
}
