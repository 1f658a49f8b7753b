//! A connection's socket, with the timeouts that hyper does not have.
//!
//! hyper knows one limit for the wait for a head, idle time included, and none at all for writes. So
//! the clocks live here: a head must be complete within the header timeout of its first byte, a
//! connection may wait for that byte for the idle timeout, and a client that does not read is ended.
//!
//! The write clock counts only time in which a write is pending on the socket, so a body that waits
//! for its source is no fault of the client. The client starts with an allowance of the write-idle
//! timeout; pending time uses it up, and each byte taken restores it at [`MIN_RATE`], never beyond
//! the full allowance. That is a write-idle timeout and a minimum rate in one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::metrics;

/// Bytes a second that a client must take while writes to it are pending.
const MIN_RATE: f64 = 1024.0;
/// The first byte of a TLS record that carries a hello.
const TLS_HANDSHAKE: u8 = 0x16;
/// What a client may still send, and for how long, after we have ended our side: closing a socket
/// with unread bytes would turn FIN into RST, and RST takes from the client what it has not read yet.
const LINGER: (u64, Duration) = (256 << 10, Duration::from_secs(1));

/// Counts a connection's request heads and responses' ends, so odd while a request runs.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU32);

impl Turn {
    /// A request's head, or a response's end, was passed.
    pub(super) fn pass(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn now(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

/// A client's socket with its clocks.
#[derive(Debug)]
pub(super) struct Paced {
    stream: TcpStream,
    turn: Arc<Turn>,
    head: HeadClock,
    write: WriteClock,
    /// The client has ended its side, or we have given it up: nothing to linger for.
    over: bool,
}

impl Paced {
    pub(super) fn new(stream: TcpStream, turn: Arc<Turn>, limits: &super::Settings) -> Self {
        Self {
            stream,
            turn,
            head: HeadClock::new(limits.header_timeout, limits.idle_timeout),
            write: WriteClock::new(limits.write_idle_timeout),
            over: false,
        }
    }

    /// Ends the connection with RST: what was sent is not to be built upon.
    pub(super) fn reset(self) {
        if let Err(error) = self.stream.set_zero_linger() {
            tracing::debug!(%error, "cannot reset a connection");
        }
    }

    /// Ends the connection with FIN, and reads what the client still sends so that it stays a FIN.
    pub(super) async fn close(mut self) {
        if self.over || self.stream.shutdown().await.is_err() {
            return;
        }
        let mut rest = self.stream.take(LINGER.0);
        let mut nowhere = tokio::io::sink();
        let drained = tokio::io::copy(&mut rest, &mut nowhere);
        // Neither a timeout nor an error matters now.
        let _ = tokio::time::timeout(LINGER.1, drained).await;
    }

    fn give_up(&mut self, why: metrics::Closed) -> io::Error {
        self.over = true;
        metrics::connection_closed(why);
        io::ErrorKind::TimedOut.into()
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
                if read.is_empty() {
                    this.over = true;
                } else if this.head.arrived(turn) && turn == 0 && read[0] == TLS_HANDSHAKE {
                    // hyper answers 400 in plain text, which clients recognise as "not TLS".
                    metrics::connection_closed(metrics::Closed::TlsHello);
                }
                Poll::Ready(result)
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
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.write.progress(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => {
                self.over = true;
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                ready!(self.write.poll_late(cx));
                Poll::Ready(Err(self.give_up(metrics::Closed::WriteIdle)))
            }
        }
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Bounds the wait for a request's head.
#[derive(Debug)]
struct HeadClock {
    header: Duration,
    idle: Duration,
    /// The turn that the fields below are about.
    turn: u32,
    /// Bytes of this turn's head have come.
    begun: bool,
    /// The deadline is set for what is waited for now.
    armed: bool,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl HeadClock {
    fn new(header: Duration, idle: Duration) -> Self {
        Self {
            header,
            idle,
            turn: 0,
            begun: false,
            armed: false,
            deadline: None,
        }
    }

    fn enter(&mut self, turn: u32) {
        if self.turn != turn {
            self.turn = turn;
            self.begun = false;
            self.armed = false;
        }
    }

    /// Notes that bytes have come; true if they are the first of this turn.
    fn arrived(&mut self, turn: u32) -> bool {
        self.enter(turn);
        let first = !self.begun;
        self.begun = true;
        // A new connection's allowance runs from its start, not from its first byte.
        if first && turn != 0 {
            self.armed = false;
        }
        first
    }

    /// Ready when the head is late. While a request runs there is nothing to be late for.
    fn poll_late(&mut self, cx: &mut Context<'_>, turn: u32) -> Poll<()> {
        self.enter(turn);
        if turn % 2 == 1 {
            return Poll::Pending;
        }
        let wait = if self.begun || turn == 0 {
            self.header
        } else {
            self.idle
        };
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now())));
        if !self.armed {
            deadline.as_mut().reset(Instant::now() + wait);
            self.armed = true;
        }
        deadline.as_mut().poll(cx)
    }
}

/// Ends a client that does not take what is written to it.
#[derive(Debug)]
struct WriteClock {
    full: Duration,
    left: Duration,
    /// Since when a write has been pending.
    pending: Option<Instant>,
    /// Never later than the moment at which the allowance ends; set again only when it fires, so that
    /// a write that is pending for a moment costs no timer.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl WriteClock {
    fn new(full: Duration) -> Self {
        Self {
            full,
            left: full,
            pending: None,
            alarm: None,
        }
    }

    fn progress(&mut self, bytes: usize) {
        if let Some(since) = self.pending.take() {
            self.left = restored(self.full, self.left.saturating_sub(since.elapsed()), bytes);
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = *self.pending.get_or_insert_with(Instant::now) + self.left;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(end)));
        loop {
            ready!(alarm.as_mut().poll(cx));
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(end);
        }
    }
}

/// The allowance after `bytes` were taken.
fn restored(full: Duration, left: Duration, bytes: usize) -> Duration {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a write is far below 2^52 bytes"
    )]
    let earned = bytes as f64 / MIN_RATE;
    Duration::try_from_secs_f64(earned).map_or(full, |earned| full.min(left + earned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_above_the_minimum_rate_keeps_its_allowance() {
        let full = Duration::from_mins(1);
        assert_eq!(restored(full, Duration::from_secs(50), 20 * 1024), full);
        assert_eq!(restored(full, full, usize::MAX), full);
    }

    #[test]
    fn a_trickle_restores_only_what_it_is_worth() {
        let full = Duration::from_mins(1);
        let left = restored(full, Duration::from_secs(10), 1024);
        assert_eq!(left, Duration::from_secs(11));
    }
}
