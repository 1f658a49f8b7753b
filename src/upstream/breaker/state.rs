//! When a host is left alone, and how it is tried again. Pure: takes the time and the roll of the dice.

use std::time::{Duration, Instant};

/// Failures in a row after which a host is left alone. More than one question's attempts, so that one
/// that is bound to fail closes the door to nobody.
pub(super) const FAILURES: u32 = 5;
/// For how long, at first. It doubles with each failure to come back.
const FIRST: Duration = Duration::from_millis(500);
/// And at last. A host that is back is noticed within this; one request a while is no burden to one
/// that is not.
const LAST: Duration = Duration::from_secs(5);
/// Requests at once with which a host that is back is taken to carry everyone.
const ENOUGH: u32 = 32;

/// What is known of a host.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: State,
    /// How often it has opened: what was admitted before says nothing of after.
    era: u64,
}

#[derive(Debug)]
enum State {
    /// Everyone may pass.
    Closed {
        /// In a row.
        failures: u32,
    },
    /// Nobody may.
    Open {
        until: Instant,
        /// How often it has opened since it was last closed.
        times: u32,
    },
    /// Some may, to see whether it is back.
    Trying {
        running: u32,
        most: u32,
        times: u32,
        /// Whether the last one who came had to wait. Those who wait come again with each change, so this is the case while
        /// anyone does.
        is_awaited: bool,
    },
}

impl Default for State {
    fn default() -> Self {
        State::Closed { failures: 0 }
    }
}

/// Whether a host is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostState {
    /// It is.
    Closed,
    /// It has kept failing, and is left alone for a while.
    Open {
        /// For how long; not at all where that is over, and nobody has asked since.
        next_attempt: Duration,
    },
    /// Some requests try whether it is back.
    Trying,
    /// It has answered again, and is asked by a few at a time.
    Recovering,
}

/// A request that was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    era: u64,
    /// Whether it counts among those that try.
    tries: bool,
}

/// Whether a request may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Go(Ticket),
    /// Others are trying; their answers decide.
    Wait {
        /// One has been answered.
        is_back: bool,
    },
    /// Not before this much time has passed.
    LeftAlone(Duration),
}

impl Breaker {
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        if let State::Open { until, times } = self.state {
            if now < until {
                return Admission::LeftAlone(until - now);
            }
            self.state = State::Trying {
                running: 0,
                most: 1,
                times,
                is_awaited: false,
            };
        }
        let era = self.era;
        match &mut self.state {
            State::Trying {
                running,
                most,
                is_awaited,
                ..
            } => {
                *is_awaited = *running >= *most;
                if *is_awaited {
                    return Admission::Wait { is_back: *most > 1 };
                }
                *running += 1;
                Admission::Go(Ticket { era, tries: true })
            }
            State::Closed { .. } | State::Open { .. } => {
                Admission::Go(Ticket { era, tries: false })
            }
        }
    }

    pub(super) fn answered(&mut self, ticket: Ticket) {
        let current = self.leave(ticket);
        match &mut self.state {
            State::Closed { failures } => *failures = 0,
            // Doubled: one more for each that is answered. With nobody to hold back there is nothing more to find out.
            State::Trying {
                running,
                most,
                is_awaited,
                ..
            } if current => {
                *most += 1;
                let is_quiet = *running == 0 && !*is_awaited;
                if is_quiet || *most > ENOUGH {
                    self.state = State::default();
                }
            }
            // A late answer to what was asked before is no reason to send everyone.
            State::Trying { .. } | State::Open { .. } => {}
        }
    }

    /// `roll` is uniform in `0.0..1.0`, so that several mirrors do not come back together.
    pub(super) fn failed(&mut self, ticket: Ticket, now: Instant, roll: f64) {
        let current = self.leave(ticket);
        match &mut self.state {
            State::Closed { failures } if current => {
                *failures += 1;
                if *failures >= FAILURES {
                    self.open(now, roll, 1);
                }
            }
            State::Trying { times, .. } if current => {
                let times = *times + 1;
                self.open(now, roll, times);
            }
            _ => {}
        }
    }

    /// Nobody waits for the answer any more.
    pub(super) fn abandoned(&mut self, ticket: Ticket) {
        self.leave(ticket);
    }

    /// Whether [`Breaker::admit`] would let a request through.
    pub(super) fn admits(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until, .. } => now >= until,
            State::Trying { running, most, .. } => running < most,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    pub(super) fn standing(&self, now: Instant) -> HostState {
        match self.state {
            State::Closed { .. } => HostState::Closed,
            State::Trying { most, .. } if most > 1 => HostState::Recovering,
            // Whoever looked has gone before there was an answer.
            State::Trying { running: 0, .. } => HostState::Open {
                next_attempt: Duration::ZERO,
            },
            State::Trying { .. } => HostState::Trying,
            State::Open { until, .. } => HostState::Open {
                next_attempt: until.saturating_duration_since(now),
            },
        }
    }

    /// Gives a place back. Whether the ticket is of this era.
    fn leave(&mut self, ticket: Ticket) -> bool {
        let current = ticket.era == self.era;
        if let State::Trying { running, .. } = &mut self.state
            && current
            && ticket.tries
        {
            *running -= 1;
        }
        current
    }

    fn open(&mut self, now: Instant, roll: f64, times: u32) {
        let bound = FIRST.saturating_mul(1 << (times - 1).min(16)).min(LAST);
        self.era += 1;
        self.state = State::Open {
            // At least half of it, or some would come back at once.
            until: now + bound.mul_f64(0.5 + roll / 2.0),
            times,
        };
    }

    /// As if its time were over.
    #[cfg(test)]
    pub(super) fn rested(&mut self) {
        if let State::Open { until, .. } = &mut self.state {
            *until = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests;
