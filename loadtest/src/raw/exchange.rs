//! One request's answer, from the first byte to the last.

use std::io;

/// The most that an answer's head may take.
const HEAD_LIMIT: usize = 64 << 10;

/// How far an answer has come.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// What there is of a head that is not whole.
    head: Vec<u8>,
    /// What is to come of the body, once the head is whole.
    left: Option<u64>,
    /// Bytes of body that have come.
    pub(super) body: u64,
}

impl Exchange {
    /// What is to come of the body; none before the head is whole.
    pub(super) fn left(&self) -> Option<u64> {
        self.left
    }

    /// Whether all has come.
    pub(super) fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    /// Whether nothing has come.
    pub(super) fn is_untouched(&self) -> bool {
        self.head.is_empty() && self.left.is_none()
    }

    /// What has come, head or body.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.left.is_some() {
            return self.skip(bytes.len() as u64);
        }
        let whole = if self.head.is_empty() {
            parse(bytes)?
        } else {
            self.head.extend_from_slice(bytes);
            parse(&self.head)?
        };
        let Some(head) = whole else {
            if self.head.is_empty() {
                self.head.extend_from_slice(bytes);
            }
            if self.head.len() > HEAD_LIMIT {
                return Err(invalid("a head that does not end"));
            }
            return Ok(());
        };
        let come = self.head.len().max(bytes.len()) - head.size;
        self.head.clear();
        self.left = Some(head.body);
        self.skip(come as u64)
    }

    /// So many bytes of body have come.
    pub(super) fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let left = self.left.unwrap_or_default().checked_sub(bytes);
        self.left = Some(left.ok_or_else(|| invalid("more than was announced"))?);
        self.body += bytes;
        Ok(())
    }
}

struct Head {
    size: usize,
    body: u64,
}

/// A head, if all of it is there.
fn parse(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(bytes);
    let httparse::Status::Complete(size) = parsed.map_err(|error| invalid(&error.to_string()))?
    else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    if !(200..300).contains(&status) {
        return Err(invalid(&format!("the answer is {status}")));
    }
    let length = response
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| std::str::from_utf8(field.value).ok())
        .and_then(|length| length.trim().parse().ok());
    let body = length.ok_or_else(|| invalid("a body without a length"))?;
    Ok(Some(Head { size, body }))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\n\r\nhello";

    #[test]
    fn answer_is_over_with_its_last_byte_however_it_comes() {
        for step in 1..=ANSWER.len() {
            let mut exchange = Exchange::default();
            assert!(exchange.is_untouched());
            for piece in ANSWER.chunks(step) {
                assert!(!exchange.is_over());
                exchange.take(piece).unwrap();
                assert!(!exchange.is_untouched());
            }
            assert!(exchange.is_over(), "in steps of {step}");
            assert_eq!(exchange.body, 5);
        }
    }

    #[test]
    fn more_than_was_announced_and_what_is_no_success_are_errors() {
        let mut exchange = Exchange::default();
        exchange.take(ANSWER).unwrap();
        assert!(exchange.take(b"!").is_err());
        let refusals: [&[u8]; 4] = [
            b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
            b"SSH-2.0-x\r\n",
        ];
        for refusal in refusals {
            assert!(Exchange::default().take(refusal).is_err());
        }
    }
}
