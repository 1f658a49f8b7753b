//! One connection, at the level of bytes: request heads in, counted bytes out.
//!
//! Written by hand rather than with hyper, because the origin must say exactly
//! how many bytes the socket took, and must send what no correct server would.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::record::Ticket;

/// The most that a request's head may take.
const HEAD_LIMIT: usize = 64 << 10;

/// A request's head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    /// Path and query as sent.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    /// The body of a small POST, such as a form; empty for all else.
    body: Bytes,
    http11: bool,
}

impl Head {
    pub(crate) fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&self.target, |(path, _)| path)
    }

    /// The decoded pairs of the query.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect()
    }

    /// The decoded pairs of the query, and of the form that was sent.
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        let mut pairs = self.query();
        pairs.extend(url::form_urlencoded::parse(&self.body).into_owned());
        pairs
    }

    /// The bytes of a small POST's body that follow the head.
    fn small_body(&self) -> Option<usize> {
        let length = self.header(CONTENT_LENGTH)?.parse().ok()?;
        (self.method == Method::POST && length <= HEAD_LIMIT).then_some(length)
    }

    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether another request may follow on the connection. A body would have
    /// to be read first; only a form's is.
    pub(crate) fn keeps_alive(&self) -> bool {
        let close = self
            .header(CONNECTION)
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let empty = self
            .header(CONTENT_LENGTH)
            .is_none_or(|length| length == "0")
            || !self.body.is_empty();
        self.http11 && !close && empty && !self.headers.contains_key(TRANSFER_ENCODING)
    }
}

/// The client has left, or can't be understood.
#[derive(Debug)]
pub(crate) struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    received: BytesMut,
    pub(crate) client: SocketAddr,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, client: SocketAddr) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
            client,
        }
    }

    /// The next request's head.
    pub(crate) async fn head(&mut self) -> Result<Head, Gone> {
        loop {
            if let Some((mut head, length)) = parse(&self.received)? {
                let _ = self.received.split_to(length);
                if let Some(length) = head.small_body() {
                    head.body = self.body(length).await?;
                }
                return Ok(head);
            }
            if self.received.len() > HEAD_LIMIT
                || self.stream.read_buf(&mut self.received).await? == 0
            {
                return Err(Gone);
            }
        }
    }

    async fn body(&mut self, length: usize) -> Result<Bytes, Gone> {
        while self.received.len() < length {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(Gone);
            }
        }
        Ok(self.received.split_to(length).freeze())
    }

    /// Waits for `work`, but no longer than the client stays.
    pub(crate) async fn while_there<F: Future>(&mut self, work: F) -> Result<F::Output, Gone> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.gone() => Err(Gone),
        }
    }

    /// Returns when the client closes its end. What it sends ahead is kept.
    async fn gone(&mut self) {
        while self.received.len() <= HEAD_LIMIT {
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        std::future::pending::<()>().await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Writes `bytes`, recording each part in the moment in which the socket
    /// takes it.
    pub(crate) async fn write_recorded(
        &mut self,
        mut bytes: Bytes,
        ticket: &Ticket,
    ) -> Result<(), Gone> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match ticket.sending(|| self.stream.try_write(&bytes)) {
                Ok(0) => return Err(Gone),
                Ok(taken) => drop(bytes.split_to(taken)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    /// Ends the connection with FIN, after what was written.
    pub(crate) async fn close(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Has the connection end with RST when it is dropped.
    pub(crate) fn reset(&mut self) {
        let _ = self.stream.set_zero_linger();
    }
}

/// A head and its length, if `received` holds a whole one.
fn parse(received: &[u8]) -> Result<Option<(Head, usize)>, Gone> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(received) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Gone),
    };
    let mut headers = HeaderMap::new();
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Gone)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Gone)?;
        headers.append(name, value);
    }
    let head = Head {
        method: request
            .method
            .unwrap_or_default()
            .parse()
            .map_err(|_| Gone)?,
        target: request.path.unwrap_or_default().to_owned(),
        headers,
        body: Bytes::new(),
        http11: request.version == Some(1),
    };
    Ok(Some((head, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_parsed_once_it_is_whole_and_repeated_headers_are_kept() {
        let text = b"GET /v2/a/manifests/b?ns=c%20d HTTP/1.1\r\nAccept: x\r\nAccept: y\r\n\r\nGET";
        assert!(parse(&text[..40]).unwrap().is_none());
        let (head, length) = parse(text).unwrap().unwrap();
        assert_eq!(length, text.len() - 3);
        assert_eq!(head.path(), "/v2/a/manifests/b");
        assert_eq!(head.query(), [("ns".to_owned(), "c d".to_owned())]);
        assert_eq!(head.headers.get_all("accept").iter().count(), 2);
        assert!(head.keeps_alive());
    }

    #[test]
    fn connection_is_not_reused_after_a_body_or_when_asked_to_close() {
        for field in [
            "Connection: close",
            "Content-Length: 3",
            "Transfer-Encoding: chunked",
        ] {
            let text = format!("POST / HTTP/1.1\r\n{field}\r\n\r\n");
            assert!(
                !parse(text.as_bytes()).unwrap().unwrap().0.keeps_alive(),
                "{field}"
            );
        }
        assert!(
            !parse(b"GET / HTTP/1.0\r\n\r\n")
                .unwrap()
                .unwrap()
                .0
                .keeps_alive()
        );
        assert!(parse(b"\x16\x03\x01\x02\x00\x01").is_err());
    }
}
