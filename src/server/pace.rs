//! A connection's socket, with the timeouts that hyper does not have.
//!
//! hyper knows one limit for the wait for a head, idle time included, and none at all for writes. So
//! the clocks are ours: a head must be complete within the header timeout of its first byte, a
//! connection may wait for that byte for the idle timeout, and a client that does not read is ended.
//! The wait for a head begins when the response before it has left: a slow reader is not idle. While nothing is asked for,
//! the connection can be spared for another.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::clocks::{HeadClock, WriteClock};
use super::lent::stands_in;
use super::spare::{Spare, Spares};
use super::tls::Length;
use super::turn::Turn;
use crate::http::Lost;
use crate::metrics;

/// The first byte of a TLS record that carries a hello.
pub(super) const TLS_HANDSHAKE: u8 = 0x16;
/// What a client may still send, and for how long, after we have ended our side: closing a socket
/// with unread bytes would turn FIN into RST, and RST takes from the client what it has not read yet.
const LINGER: (u64, Duration) = (256 << 10, Duration::from_secs(1));

/// How long the kernel keeps, for a client that takes nothing of it, what is left of a connection that has ended: nothing
/// else bounds those.
const LEFT: Duration = Duration::from_secs(10);

/// Bytes that the kernel takes of a response beyond what is on its way already. It would take megabytes, for each reader
/// that does not read.
const UNSENT: u32 = 128 << 10;

/// A response as small as this, of a manifest mostly, is written as one piece: copying it costs less than having the kernel
/// take it in two.
const PIECE: usize = 4 << 10;

/// A client's socket with its clocks.
#[derive(Debug)]
pub(super) struct Paced {
    stream: TcpStream,
    turn: Arc<Turn>,
    head: HeadClock,
    write: WriteClock,
    spares: Arc<Spares>,
    /// Its place among those that can be spared, while nothing is asked for on it.
    spare: Option<Spare>,
    /// A read waits without a deadline, until what is being written is flushed.
    held: bool,
    /// TLS is spoken above.
    under_tls: bool,
    over: Over,
    /// How much may still come of the handshake that is going on.
    length: Option<Box<Length>>,
}

/// Why nothing more is read from a connection, or written to it. The greater is the graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Over {
    /// It goes on.
    No,
    /// We have waited long enough for a request, and all that was said before has gone.
    Idle,
    /// The client has ended its side: nothing to linger for.
    Heard,
    /// The client does not take what is written, or is gone.
    Stuck,
}

impl Paced {
    pub(super) fn new(
        stream: TcpStream,
        turn: Arc<Turn>,
        limits: &super::Settings,
        spares: Arc<Spares>,
        under_tls: bool,
    ) -> Self {
        let socket = SockRef::from(&stream);
        let set = socket.set_tcp_nodelay(true);
        if let Err(error) = set.and_then(|()| socket.set_tcp_notsent_lowat(UNSENT)) {
            tracing::debug!(%error, "cannot set up a connection's socket");
        }
        Self {
            stream,
            turn,
            head: HeadClock::new(limits.header_timeout, limits.idle_timeout),
            write: WriteClock::new(limits.write_idle_timeout),
            spares,
            spare: None,
            held: false,
            under_tls,
            over: Over::No,
            length: None,
        }
    }

    /// Whether it was given up while nothing was asked for on it.
    pub(super) fn is_idle(&self) -> bool {
        self.over == Over::Idle
    }

    /// Whether nothing can be written to it any more.
    pub(super) fn is_stuck(&self) -> bool {
        self.over == Over::Stuck
    }

    /// Bounds what comes, until told otherwise.
    pub(super) fn bound(&mut self, length: Option<Length>) {
        self.length = length.map(Box::new);
    }

    /// The first byte of all, which stays where it is; `None` if the client ends its side without one.
    pub(super) async fn first_byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let peeked = poll_fn(|cx| {
            let mut buffer = ReadBuf::new(&mut byte);
            if let Poll::Ready(peeked) = self.stream.poll_peek(cx, &mut buffer) {
                return Poll::Ready(peeked);
            }
            if self.poll_spared(cx, 0).is_ready() {
                return Poll::Ready(Err(self.give_up(metrics::Closed::Spared)));
            }
            ready!(self.head.poll_late(cx, 0));
            Poll::Ready(Err(self.give_up(metrics::Closed::HeaderTimeout)))
        });
        let peeked = peeked.await?;
        Ok((peeked > 0).then_some(byte[0]))
    }

    /// Ends the connection with RST: what was sent is not to be built upon.
    pub(super) fn reset(self) {
        if let Err(error) = self.stream.set_zero_linger() {
            tracing::debug!(%error, "cannot reset a connection");
        }
    }

    /// Ends the connection with FIN, and reads what the client still sends so that it stays a FIN.
    pub(super) async fn close(mut self) {
        // The kernel keeps what is not taken yet, and would for as long as the client answers its probes.
        let keep = self.write.full().min(LEFT);
        if let Err(error) = SockRef::from(&self.stream).set_tcp_user_timeout(Some(keep)) {
            tracing::debug!(%error, "cannot bound what is left of a connection");
        }
        let is_over = matches!(self.over, Over::Heard | Over::Stuck);
        if is_over || self.stream.shutdown().await.is_err() {
            return;
        }
        if self.is_idle() && self.turn.now() == 0 {
            // It has not asked for anything, and its place may be waited for.
            return;
        }
        let mut rest = self.stream.take(LINGER.0);
        let mut nowhere = tokio::io::sink();
        let drained = tokio::io::copy(&mut rest, &mut nowhere);
        // Neither a timeout nor an error matters now.
        let _ = tokio::time::timeout(LINGER.1, drained).await;
    }

    fn give_up(&mut self, why: metrics::Closed) -> io::Error {
        let over = match why {
            metrics::Closed::WriteIdle => Over::Stuck,
            _ => Over::Idle,
        };
        // What comes after the first reason is only its consequence.
        if !matches!(self.over, Over::Idle | Over::Stuck) {
            metrics::connection_closed(why);
        }
        self.over = self.over.max(over);
        io::ErrorKind::TimedOut.into()
    }

    /// Ready when nothing is asked for, and another connection is to have this one's place.
    fn poll_spared(&mut self, cx: &mut Context<'_>, turn: u32) -> Poll<()> {
        let Some(past) = self.head.idle(turn) else {
            self.spare = None;
            return Poll::Pending;
        };
        // A byte now and then is no reason to come last again.
        let spare = self.spare.take().filter(|spare| spare.stays(past, turn));
        let enter = || self.spares.enter(past, cx.waker(), &self.turn);
        let spare = spare.unwrap_or_else(enter);
        self.spare.insert(spare).poll_taken(cx)
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let turn = this.turn.now();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(result) => {
                let read = &buffer.filled()[before..];
                if let Some(length) = &mut this.length
                    && !length.take(read.len())
                {
                    let message =
                        "it is longer than a handshake is, or many long ones are going on";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
                }
                if read.is_empty() {
                    this.over = this.over.max(Over::Heard);
                } else if this.head.arrived(turn)
                    && turn == 0
                    && !this.under_tls
                    && read[0] == TLS_HANDSHAKE
                {
                    // hyper answers 400 in plain text, which clients recognise as "not TLS".
                    metrics::connection_closed(metrics::Closed::TlsHello);
                }
                Poll::Ready(result)
            }
            Poll::Pending if this.write.is_pending() => {
                // hyper drops a body once its end is buffered, so the turn is over before the client
                // has it all. The write clock alone bounds this.
                this.head.hold();
                this.held = true;
                Poll::Pending
            }
            Poll::Pending if this.poll_spared(cx, turn).is_ready() => {
                Poll::Ready(Err(this.give_up(metrics::Closed::Spared)))
            }
            Poll::Pending => {
                ready!(this.head.poll_late(cx, turn));
                Poll::Ready(Err(this.give_up(metrics::Closed::HeaderTimeout)))
            }
        }
    }
}

impl Paced {
    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.turn.fill(result.is_pending());
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.write.progress(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => {
                if !Lost::caused(&error) {
                    self.over = Over::Stuck;
                }
                Poll::Ready(Err(error))
            }
            // No fault of the client's; a part knows itself how long it waits.
            Poll::Pending if self.turn.lent.is_fetched() => Poll::Pending,
            Poll::Pending => {
                self.turn.lent.rest();
                ready!(self.write.poll_late(cx));
                Poll::Ready(Err(self.give_up(metrics::Closed::WriteIdle)))
            }
        }
    }

    fn poll_write_bytes(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        match slices {
            [only] => stream.poll_write(cx, only),
            _ if length <= PIECE => JOINED.with_borrow_mut(|piece| {
                join(slices, piece);
                stream.poll_write(cx, piece)
            }),
            _ => stream.poll_write_vectored(cx, slices),
        }
    }

    /// Sends what comes `before` a part of a file, and of the part that `stand_in` stands for what the socket takes.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        before: &[IoSlice<'_>],
        stand_in: &[u8],
    ) -> Poll<io::Result<usize>> {
        let length: usize = before.iter().map(|slice| slice.len()).sum();
        if length > PIECE {
            return self.poll_write_bytes(cx, before);
        }
        let (lent, stream) = (&self.turn.lent, &self.stream);
        JOINED.with_borrow_mut(|piece| {
            join(before, piece);
            lent.poll_send(cx, stream, piece, stand_in)
        })
    }
}

thread_local! {
    /// A piece, for as long as it takes to write it.
    static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Makes `piece` all of `slices`.
fn join(slices: &[IoSlice<'_>], piece: &mut Vec<u8>) {
    piece.clear();
    for slice in slices {
        piece.extend_from_slice(slice);
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // What stands for a part of a file is known there.
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = match slices.iter().position(|slice| stands_in(slice)) {
            None => this.poll_write_bytes(cx, slices),
            Some(first) => {
                let (before, from) = slices.split_at(first);
                this.poll_send(cx, before, &from[0])
            }
        };
        this.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // hyper flushes once all is written. Then it reads again only if woken, and only a read starts
        // the head's clock.
        if std::mem::take(&mut this.held) {
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_responses_are_joined_in_their_order_to_the_last_byte() {
        let parts: [&[u8]; 4] = [b"head", b"", b"bo", b"dy"];
        let mut piece = b"of another connection".to_vec();
        join(&parts.map(IoSlice::new), &mut piece);
        assert_eq!(piece, b"headbody");
    }
}
