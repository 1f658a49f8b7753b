//! One connection that is kept: a request, and its whole answer.
//!
//! Written by hand rather than with a client's library: thousands of these share a machine with what they measure.

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::way::{Stream, Way};

/// The most that an answer's head may take.
const HEAD_LIMIT: usize = 64 << 10;

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    received: BytesMut,
    host: SocketAddr,
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

impl Answer {
    /// A header's text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl Connection {
    /// Connects from an address of this machine, or from any.
    pub async fn open(from: Option<IpAddr>, way: &Way) -> io::Result<Self> {
        Ok(Self {
            stream: way.connect(from, None).await?,
            received: BytesMut::new(),
            host: way.address(),
            open: true,
            answered: false,
        })
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
        let answered = self.exchange(method, path).await;
        self.open &= answered.is_ok();
        answered
    }

    async fn exchange(&mut self, method: &Method, path: &str) -> io::Result<Answer> {
        self.answered = false;
        let host = self.host;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.flush().await?;
        let (status, headers) = self.head().await?;
        self.open = headers.get(CONNECTION).is_none_or(|value| value != "close");
        let body = match length(method, &headers)? {
            0 => Bytes::new(),
            length => self.body(length).await?,
        };
        Ok(Answer {
            status,
            headers,
            body,
        })
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

    async fn body(&mut self, length: usize) -> io::Result<Bytes> {
        self.received
            .reserve(length.saturating_sub(self.received.len()));
        while self.received.len() < length {
            self.receive().await?;
        }
        Ok(self.received.split_to(length).freeze())
    }

    async fn receive(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.answered = true;
        Ok(())
    }
}

/// How long the body is. Without a length it would end where the connection does, and could be cut unnoticed.
fn length(method: &Method, headers: &HeaderMap) -> io::Result<usize> {
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
