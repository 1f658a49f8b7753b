//! The clocks of one connection, which its socket asks when a read or a write is pending.
//!
//! The write clock counts only time in which a write is pending on the socket, so a body that waits
//! for its source is no fault of the client. The client starts with an allowance of the write-idle
//! timeout; pending time uses it up, and each byte taken restores it at [`MIN_RATE`], never beyond
//! the full allowance. That is a write-idle timeout and a minimum rate in one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::spare::Past;

/// Bytes a second that a client must take while writes to it are pending.
const MIN_RATE: f64 = 1024.0;

/// Bounds the wait for a request's head.
#[derive(Debug)]
pub(super) struct HeadClock {
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
    pub(super) fn new(header: Duration, idle: Duration) -> Self {
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
    pub(super) fn arrived(&mut self, turn: u32) -> bool {
        self.enter(turn);
        let first = !self.begun;
        self.begun = true;
        // A new connection's allowance runs from its start, not from its first byte.
        if first && turn != 0 {
            self.armed = false;
        }
        first
    }

    /// What the connection has done so far, where nothing is asked for on it now.
    pub(super) fn idle(&mut self, turn: u32) -> Option<Past> {
        self.enter(turn);
        match turn {
            _ if !turn.is_multiple_of(2) => None,
            _ if self.begun => Some(Past::Begun),
            0 => Some(Past::Silent),
            _ => Some(Past::Answered),
        }
    }

    /// Starts the wait anew at the next poll: what is being written comes before what is waited for.
    pub(super) fn hold(&mut self) {
        self.armed = false;
    }

    /// Ready when the head is late. While a request runs there is nothing to be late for.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>, turn: u32) -> Poll<()> {
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
pub(super) struct WriteClock {
    full: Duration,
    left: Duration,
    /// Since when a write has been pending.
    pending: Option<Instant>,
    /// Never later than the moment at which the allowance ends; set again only when it fires, so that
    /// a write that is pending for a moment costs no timer.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl WriteClock {
    pub(super) fn new(full: Duration) -> Self {
        Self {
            full,
            left: full,
            pending: None,
            alarm: None,
        }
    }

    /// The full allowance.
    pub(super) fn full(&self) -> Duration {
        self.full
    }

    /// Whether the last write is still pending on the socket.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn progress(&mut self, bytes: usize) {
        if let Some(since) = self.pending.take() {
            self.left = restored(self.full, self.left.saturating_sub(since.elapsed()), bytes);
        }
    }

    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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
