//! Puts a response on the wire, with the faults that it gets.

use std::collections::VecDeque;
use std::fmt::Write as _;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, HeaderName, TRANSFER_ENCODING};

use super::connection::{Connection, Gone};
use super::faults::{During, Ending, Framing};
use super::gate::{Gate, Pace};
use super::record::Ticket;
use super::reply::Reply;
use super::request::Outcome;

/// How much is offered to the socket at a time.
const STEP: usize = 64 << 10;

/// A response that is ready to go out.
pub(crate) struct Transmission {
    status: u16,
    head: String,
    /// The body in pieces, so that a flipped byte copies nothing else.
    pieces: VecDeque<Bytes>,
    /// Where in the content the body starts.
    start: u64,
    span: Option<std::ops::Range<u64>>,
    chunked: bool,
    paces: Vec<Pace>,
    holds: Vec<(u64, Gate)>,
    end: Option<(u64, Ending)>,
    keep_alive: bool,
}

impl Transmission {
    /// Applies `during` to `reply`. The body is left out for HEAD.
    pub(crate) fn new(
        mut reply: Reply,
        mut during: During,
        is_head: bool,
        keep_alive: bool,
    ) -> Self {
        let start = reply.part.as_ref().map_or(0, |part| part.span.start);
        let pieces = bent(&reply.body, start, &during);
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let lies = during.claim_length != 0 || during.framing == Framing::UntilClose;
        let keep_alive = keep_alive && !(lies || during.end.is_some());
        frame(&mut reply, &during, length);
        if !keep_alive {
            reply = reply.header(CONNECTION.as_str(), "close");
        }
        for (name, value) in &during.headers {
            match value {
                Some(value) => reply = reply.header(name, value),
                None => drop(reply.headers.remove(*name)),
            }
        }
        during.holds.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Self {
            status: reply.status.as_u16(),
            head: head(reply.status.as_str(), &reply.headers),
            pieces: if is_head {
                VecDeque::new()
            } else {
                pieces.into()
            },
            start,
            span: reply.part.filter(|_| !is_head).map(|part| part.span),
            chunked: during.framing == Framing::Chunked && !is_head,
            paces: during.paces,
            holds: during.holds,
            end: during.end,
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
        connection.write(self.head.as_bytes()).await?;
        let mut at = self.start;
        loop {
            self.pass_gates(at, connection).await?;
            if let Some((end, how)) = self.end
                && at >= end
            {
                ticket.ended(Outcome::Cut);
                match how {
                    Ending::Fin => connection.close().await,
                    Ending::Reset => connection.reset(),
                }
                return Ok(false);
            }
            let Some(piece) = self.next_piece(at) else {
                break;
            };
            for pace in &self.paces {
                connection.while_there(pace.turn(piece.len())).await?;
            }
            at += piece.len() as u64;
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

    async fn pass_gates(&mut self, at: u64, connection: &mut Connection) -> Result<(), Gone> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        while let Some((_, gate)) = self.holds.pop_if(|(position, _)| *position <= at) {
            connection.while_there(gate.pass()).await?;
        }
        Ok(())
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

    /// What to send next: never across a gate or the end, and in small steps
    /// where a pace asks for them.
    fn next_piece(&mut self, at: u64) -> Option<Bytes> {
        let mut limit = self.paces.iter().map(Pace::step).fold(STEP, usize::min);
        let stops = self.holds.last().map(|(hold, _)| *hold).into_iter();
        for stop in stops.chain(self.end.map(|(end, _)| end)) {
            limit = limit.min(usize::try_from(stop - at).unwrap_or(usize::MAX));
        }
        let front = self.pieces.front_mut()?;
        if front.len() <= limit {
            return self.pieces.pop_front();
        }
        Some(front.split_to(limit))
    }
}

/// The body, with bits flipped and its end changed.
fn bent(body: &Bytes, start: u64, during: &During) -> Vec<Bytes> {
    let mut flips: Vec<usize> = during
        .flips
        .iter()
        .filter_map(|at| usize::try_from(at - start).ok())
        .collect();
    flips.sort_unstable();
    flips.dedup();
    let missing = usize::try_from(during.grown.min(0).unsigned_abs()).unwrap_or(usize::MAX);
    let mut rest = body.slice(..body.len().saturating_sub(missing));
    let mut taken = 0;
    let mut pieces = Vec::new();
    for flip in flips
        .into_iter()
        .filter(|flip| *flip < rest.len() + taken)
        .collect::<Vec<_>>()
    {
        pieces.push(rest.split_to(flip - taken));
        let byte = rest.split_to(1);
        pieces.push(Bytes::copy_from_slice(&[byte[0] ^ 1]));
        taken = flip + 1;
    }
    pieces.push(rest);
    let added = usize::try_from(during.grown.max(0)).unwrap_or(usize::MAX);
    pieces.push(vec![b'+'; added].into());
    pieces.retain(|piece| !piece.is_empty());
    pieces
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
        && reply.status == http::StatusCode::PARTIAL_CONTENT
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

fn head(status: &str, headers: &HeaderMap) -> String {
    let reason = status
        .parse()
        .ok()
        .and_then(|status: http::StatusCode| status.canonical_reason())
        .unwrap_or("Unknown");
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
    for (name, value) in headers {
        let value = value.to_str().unwrap_or_default();
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bend(flips: &[u64], grown: i64, start: u64) -> String {
        let during = During {
            flips: flips.to_vec(),
            grown,
            ..During::default()
        };
        let body = Bytes::from_static(b"@@@@@@@@");
        let pieces = bent(&body, start, &during).concat();
        String::from_utf8(pieces).unwrap()
    }

    #[test]
    fn body_is_bent_where_the_content_says() {
        assert_eq!(bend(&[], 0, 0), "@@@@@@@@");
        assert_eq!(bend(&[0, 7], 0, 0), "A@@@@@@A");
        assert_eq!(bend(&[12, 11], 0, 10), "@AA@@@@@");
        assert_eq!(bend(&[7], -1, 0), "@@@@@@@");
        assert_eq!(bend(&[1], 2, 0), "@A@@@@@@++");
        assert_eq!(bend(&[], -100, 0), "");
    }
}
