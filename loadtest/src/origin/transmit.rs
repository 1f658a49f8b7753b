//! Puts a response on the wire, with the faults that it gets.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};

use super::connection::{Connection, Gone};
use super::faults::{Act, During, Ending, Event, Framing};
use super::gate::Pace;
use super::record::Ticket;
use super::reply::Reply;
use super::request::Outcome;

/// How much is offered to the socket at a time.
const STEP: usize = 64 << 10;

/// A response that is ready to go out.
pub(crate) struct Transmission {
    status: u16,
    head: Vec<u8>,
    body: Body,
    span: Option<Range<u64>>,
    chunked: bool,
    keep_alive: bool,
}

/// A body, and what happens while it goes out.
struct Body {
    /// Where in the content the next byte is.
    at: u64,
    /// What is left, in pieces that are not empty, so that a flipped bit copies nothing
    /// else.
    pieces: VecDeque<Bytes>,
    /// In the order in which the body gets to them.
    events: VecDeque<Event>,
    paces: Vec<Pace>,
}

impl Transmission {
    /// Applies `during` to `reply`. The body is left out for HEAD.
    pub(crate) fn new(mut reply: Reply, during: During, is_head: bool, keep_alive: bool) -> Self {
        let pieces = grown(&reply.body, during.grown);
        let length: usize = pieces.iter().map(Bytes::len).sum();
        frame(&mut reply, &during, length);
        let ends_with_body = during.claim_length != 0 || during.framing == Framing::UntilClose;
        let keep_alive = keep_alive && !ends_with_body;
        if !keep_alive {
            reply = reply.header(CONNECTION.as_str(), "close");
        }
        for (name, value) in &during.headers {
            match value {
                Some(value) => reply = reply.header(name, value),
                None => drop(reply.headers.remove(*name)),
            }
        }
        for (name, _) in &during.raw {
            reply.headers.remove(*name);
        }
        let mut events = during.events;
        events.sort_by_key(|event| (event.at, event.act.order()));
        Self {
            status: reply.status.as_u16(),
            head: head(reply.status, &reply.headers, &during.raw),
            body: Body {
                at: reply.part.as_ref().map_or(0, |part| part.span.start),
                pieces: if is_head { VecDeque::new() } else { pieces },
                events: events.into(),
                paces: during.paces,
            },
            span: reply.part.filter(|_| !is_head).map(|part| part.span),
            chunked: during.framing == Framing::Chunked && !is_head,
            keep_alive,
        }
    }

    /// Sends it all. Says whether the connection may be used again.
    pub(crate) async fn send(
        mut self,
        connection: &mut Connection,
        ticket: &Ticket,
    ) -> Result<bool, Gone> {
        ticket.answered(self.status, self.span.clone());
        connection.write(&self.head).await?;
        loop {
            if let Some(ending) = self.body.pass_events(connection).await? {
                ticket.ended(Outcome::Cut);
                match ending {
                    Ending::Fin => connection.close().await,
                    Ending::Reset => connection.reset(),
                }
                return Ok(false);
            }
            let Some(piece) = self.body.next_piece() else {
                break;
            };
            for pace in &self.body.paces {
                connection.while_there(pace.turn(piece.len())).await?;
            }
            self.send_piece(piece, connection, ticket).await?;
        }
        if self.chunked {
            connection.write(b"0\r\n\r\n").await?;
        }
        ticket.ended(Outcome::Sent);
        if !self.keep_alive {
            connection.close().await;
        }
        Ok(self.keep_alive)
    }

    async fn send_piece(
        &self,
        piece: Bytes,
        connection: &mut Connection,
        ticket: &Ticket,
    ) -> Result<(), Gone> {
        if self.chunked {
            connection
                .write(format!("{:x}\r\n", piece.len()).as_bytes())
                .await?;
        }
        connection.write_recorded(piece, ticket).await?;
        if self.chunked {
            connection.write(b"\r\n").await?;
        }
        Ok(())
    }
}

impl Body {
    /// Lets happen what happens here. Gives an ending if the body ends here.
    async fn pass_events(&mut self, connection: &mut Connection) -> Result<Option<Ending>, Gone> {
        while let Some(event) = self.events.pop_front_if(|event| event.at <= self.at) {
            if !event.claim.take() {
                continue;
            }
            match event.act {
                Act::Hold(gate) => connection.while_there(gate.pass()).await?,
                Act::End(ending) => return Ok(Some(ending)),
                Act::Flip => self.flip(),
            }
        }
        Ok(None)
    }

    /// Flips the lowest bit of the next byte.
    fn flip(&mut self) {
        if let Some(byte) = self.cut_off(1) {
            self.pieces
                .push_front(Bytes::copy_from_slice(&[byte[0] ^ 1]));
        }
    }

    /// What to send next: never across an event, and in small steps where a pace
    /// asks for them.
    fn next_piece(&mut self) -> Option<Bytes> {
        let mut limit = self.paces.iter().map(Pace::step).fold(STEP, usize::min);
        if let Some(event) = self.events.front() {
            limit = limit.min(usize::try_from(event.at - self.at).unwrap_or(usize::MAX));
        }
        let piece = self.cut_off(limit)?;
        self.at += piece.len() as u64;
        Some(piece)
    }

    /// Takes up to `limit` bytes off the front. No piece is ever empty.
    fn cut_off(&mut self, limit: usize) -> Option<Bytes> {
        let front = self.pieces.front_mut()?;
        if front.len() <= limit {
            return self.pieces.pop_front();
        }
        Some(front.split_to(limit))
    }
}

/// The body with its end moved by this many bytes.
fn grown(body: &Bytes, by: i64) -> VecDeque<Bytes> {
    let bytes = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
    let pieces = if by < 0 {
        [body.slice(..body.len().saturating_sub(bytes)), Bytes::new()]
    } else {
        [body.clone(), vec![b'+'; bytes].into()]
    };
    pieces
        .into_iter()
        .filter(|piece| !piece.is_empty())
        .collect()
}

/// Sets the headers that say how long the body is.
fn frame(reply: &mut Reply, during: &During, length: usize) {
    let mut set = |name: HeaderName, value: String| {
        reply
            .headers
            .insert(name, value.parse().expect("digits and letters"));
    };
    match during.framing {
        Framing::Length => {
            let claimed = (length as u64).saturating_add_signed(during.claim_length);
            set(CONTENT_LENGTH, claimed.to_string());
        }
        Framing::Chunked => set(TRANSFER_ENCODING, "chunked".to_owned()),
        Framing::UntilClose => {}
    }
    if let Some(part) = &reply.part
        && reply.status == StatusCode::PARTIAL_CONTENT
        && !reply.headers.contains_key(CONTENT_RANGE)
    {
        let total = part.total.saturating_add_signed(during.claim_total);
        let (first, last) = (part.span.start, part.span.end - 1);
        let value = format!("bytes {first}-{last}/{total}");
        reply
            .headers
            .insert(CONTENT_RANGE, value.parse().expect("digits and letters"));
    }
}

fn head(status: StatusCode, headers: &HeaderMap, raw: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or("Unknown");
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    let named = headers.iter();
    let named = named.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let raw = raw.iter().map(|(name, value)| (*name, value.as_slice()));
    for (name, value) in named.chain(raw) {
        head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &'static str) -> Body {
        Body {
            at: 0,
            pieces: grown(&Bytes::from_static(text.as_bytes()), 0),
            events: VecDeque::new(),
            paces: Vec::new(),
        }
    }

    #[test]
    fn neighbouring_bits_flip_and_leave_the_rest_alone() {
        let mut body = body("@@@");
        let mut sent = Vec::new();
        for at in 0..3 {
            if at < 2 {
                body.flip();
            }
            sent.extend(body.cut_off(1).unwrap());
        }
        assert_eq!(sent, b"AA@");
        body.flip();
        assert!(body.next_piece().is_none());
    }

    #[test]
    fn end_of_a_body_moves_either_way() {
        let concat = |by| {
            grown(&Bytes::from_static(b"@@@@"), by)
                .into_iter()
                .flatten()
                .collect::<Vec<u8>>()
        };
        assert_eq!(concat(0), b"@@@@");
        assert_eq!(concat(2), b"@@@@++");
        assert_eq!(concat(-1), b"@@@");
        assert_eq!(concat(-9), b"");
    }
}
