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
    Trying { running: u32, most: u32, times: u32 },
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
            };
        }
        let era = self.era;
        match &mut self.state {
            State::Trying { running, most, .. } if *running < *most => {
                *running += 1;
                Admission::Go(Ticket { era, tries: true })
            }
            State::Trying { most, .. } => Admission::Wait { is_back: *most > 1 },
            State::Closed { .. } | State::Open { .. } => {
                Admission::Go(Ticket { era, tries: false })
            }
        }
    }

    pub(super) fn answered(&mut self, ticket: Ticket) {
        let current = self.leave(ticket);
        match &mut self.state {
            State::Closed { failures } => *failures = 0,
            // Doubled: one more for each that is answered.
            State::Trying { most, .. } if current => {
                *most += 1;
                if *most > ENOUGH {
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
mod tests {
    use super::*;

    fn go(breaker: &mut Breaker, now: Instant) -> Ticket {
        match breaker.admit(now) {
            Admission::Go(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn fail(breaker: &mut Breaker, now: Instant) {
        let ticket = go(breaker, now);
        breaker.failed(ticket, now, 1.0);
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            fail(&mut breaker, now);
        }
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 1..FAILURES {
                fail(&mut breaker, now);
            }
            let ticket = go(&mut breaker, now);
            breaker.answered(ticket);
        }
        assert!(breaker.is_closed());
        for _ in 0..FAILURES {
            fail(&mut breaker, now);
        }
        assert_eq!(breaker.admit(now), Admission::LeftAlone(FIRST));
    }

    #[test]
    fn it_is_left_alone_for_longer_each_time_up_to_a_bound() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let Admission::LeftAlone(wait) = breaker.admit(now) else {
                panic!("{breaker:?}");
            };
            waits.push(wait.as_millis());
            now += wait;
            fail(&mut breaker, now);
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
    }

    #[test]
    fn requests_at_once_double_as_answers_come() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let now = now + FIRST;
        let mut rounds = Vec::new();
        while !breaker.is_closed() {
            let mut tickets = Vec::new();
            while let Admission::Go(ticket) = breaker.admit(now) {
                tickets.push(ticket);
            }
            rounds.push(tickets.len());
            for ticket in tickets {
                breaker.answered(ticket);
            }
        }
        assert_eq!(rounds, [1, 2, 4, 8, 16, 32]);
    }

    #[test]
    fn what_was_sent_before_it_opened_decides_nothing_after() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        let (late_answer, late_failure) = (go(&mut breaker, now), go(&mut breaker, now));
        for _ in 0..FAILURES {
            fail(&mut breaker, now);
        }
        breaker.answered(late_answer);
        assert!(!breaker.admits(now));
        let trial = go(&mut breaker, now + FIRST);
        breaker.failed(late_failure, now + FIRST, 1.0);
        assert_eq!(
            breaker.admit(now + FIRST),
            Admission::Wait { is_back: false }
        );
        breaker.answered(trial);
        assert!(matches!(breaker.admit(now + FIRST), Admission::Go(_)));
    }

    #[test]
    fn one_that_nobody_waits_for_gives_its_place_to_the_next() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let now = now + FIRST;
        let ticket = go(&mut breaker, now);
        assert_eq!(breaker.admit(now), Admission::Wait { is_back: false });
        breaker.abandoned(ticket);
        assert!(matches!(breaker.admit(now), Admission::Go(_)));
    }

    proptest::proptest! {
        /// Whatever happens in whatever order: never more at once than allowed, nobody waits for nobody, and once the host
        /// answers everything, it is closed again.
        #[test]
        fn it_neither_floods_nor_locks_up(steps in proptest::collection::vec((0u8..5, 0usize..8, 0u64..3_000), 0..200)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::default();
            let mut out: Vec<Ticket> = Vec::new();
            for (step, which, wait) in steps {
                now += Duration::from_millis(wait);
                match step {
                    0 | 1 => match breaker.admit(now) {
                        Admission::Go(ticket) => out.push(ticket),
                        Admission::LeftAlone(wait) => proptest::prop_assert!(wait <= LAST),
                        Admission::Wait { .. } => {
                            let trying = out.iter().filter(|ticket| ticket.tries && ticket.era == breaker.era);
                            proptest::prop_assert!(trying.count() > 0, "someone to wait for");
                        }
                    },
                    _ if out.is_empty() => {}
                    2 => { let ticket = out.swap_remove(which % out.len()); breaker.answered(ticket); }
                    3 => { let ticket = out.swap_remove(which % out.len()); breaker.failed(ticket, now, 0.5); }
                    _ => { let ticket = out.swap_remove(which % out.len()); breaker.abandoned(ticket); }
                }
                if let State::Trying { running, most, .. } = breaker.state {
                    proptest::prop_assert!(running <= most && most <= ENOUGH);
                }
            }
            for ticket in out.drain(..) {
                breaker.abandoned(ticket);
            }
            for _ in 0..=ENOUGH {
                now += LAST;
                let ticket = go(&mut breaker, now);
                breaker.answered(ticket);
            }
            proptest::prop_assert!(breaker.is_closed());
        }
    }
}
