//! How many connections a fill gets: more, as long as more bring more.
//!
//! Owns the number and what was measured of it. Pure: time and what has come are told. An upstream that holds each
//! connection to a rate is read with as many as there may be; where the line is what is full, one more connection only
//! takes from the others, brings pieces late that all have to wait for, and is given up again. What counts is what the
//! upstream sends to all fills together, so that fills don't outbid one another.

use std::time::Duration;

use tokio::time::Instant;

/// Connections of a fill in pieces, at least: one is on its way while the other's next request is.
const FEWEST: usize = 2;
/// For how long what comes is measured; longer where the upstream is far, since a connection is slow at first.
const WINDOW: Duration = Duration::from_millis(150);
const LONGEST_WINDOW: Duration = Duration::from_secs(2);
/// Twice the connections are worth it if they bring at least so much more, as a part of what this fill had.
const GAIN: f64 = 0.25;
/// When more are tried again, after they did not help; twice as long each time.
const AGAIN: Duration = Duration::from_secs(2);
const AGAIN_LAST: Duration = Duration::from_secs(30);

/// What has come so far, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// For this fill.
    pub own: u64,
    /// For all fills of its upstream.
    pub all: u64,
}

/// What comes, in bytes a second.
#[derive(Debug, Clone, Copy)]
struct Rate {
    own: f64,
    all: f64,
}

impl Rate {
    fn between(before: Flow, after: Flow, time: Duration) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let rate =
            |before: u64, after: u64| after.saturating_sub(before) as f64 / time.as_secs_f64();
        Self {
            own: rate(before.own, after.own),
            all: rate(before.all, after.all),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Until as many run as may.
    Opening,
    /// Until those get going.
    Starting {
        until: Instant,
    },
    Measuring {
        since: Instant,
        from: Flow,
    },
    /// No more are tried before then, if ever.
    Settled {
        until: Option<Instant>,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Ramp {
    most: usize,
    connections: usize,
    /// The number before this one, and what it brought.
    before: Option<(usize, Rate)>,
    phase: Phase,
    again: Duration,
    /// How long the upstream has taken for a response head.
    head: Duration,
}

impl Ramp {
    /// For a fill of at most `most` connections.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            connections: FEWEST.min(most),
            before: None,
            phase: Phase::Opening,
            again: AGAIN,
            head: Duration::ZERO,
        }
    }

    /// How many there may be.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// A response head has come `after` its request was sent.
    pub fn opened(&mut self, after: Duration) {
        self.head = after;
    }

    /// When to take the next turn, if not at the next event.
    pub fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Opening => None,
            Phase::Starting { until } => Some(until),
            Phase::Measuring { since, .. } => Some(since + self.window()),
            Phase::Settled { until } => until,
        }
    }

    /// `open` connections have answered and are being read, and so much has come. Says whether there may be another
    /// number from now on.
    pub fn turn(&mut self, now: Instant, open: usize, flow: Flow) -> bool {
        let connections = self.connections;
        match self.phase {
            Phase::Opening if open >= connections => {
                let until = now + self.head.saturating_mul(2).min(LONGEST_WINDOW);
                self.phase = Phase::Starting { until };
            }
            Phase::Starting { until } if now >= until => {
                self.phase = Phase::Measuring {
                    since: now,
                    from: flow,
                };
            }
            Phase::Measuring { since, from } if now >= since + self.window() => {
                let rate = Rate::between(from, flow, now - since);
                self.measured(now, rate);
            }
            Phase::Settled { until: Some(until) } if now >= until => {
                self.before = None;
                self.phase = Phase::Opening;
            }
            _ => {}
        }
        self.connections != connections
    }

    fn measured(&mut self, now: Instant, rate: Rate) {
        let in_vain = |before: &Rate| rate.all - before.all < before.own * GAIN;
        if let Some((fewer, _)) = self.before.filter(|(_, before)| in_vain(before)) {
            self.connections = fewer;
            self.phase = Phase::Settled {
                until: Some(now + self.again),
            };
            self.again = self.again.saturating_mul(2).min(AGAIN_LAST);
        } else if self.connections < self.most {
            self.before = Some((self.connections, rate));
            self.connections = self.connections.saturating_mul(2).min(self.most);
            self.phase = Phase::Opening;
        } else {
            self.phase = Phase::Settled { until: None };
        }
    }

    fn window(&self) -> Duration {
        self.head.saturating_mul(4).clamp(WINDOW, LONGEST_WINDOW)
    }
}

#[cfg(test)]
mod tests;
