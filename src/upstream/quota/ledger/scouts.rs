//! Who finds out how things stand where nothing is known: one pull, before the others. After a closure too, so that those
//! who waited for its end do not all come at once.
//!
//! Pure; takes `now`. One that takes long is followed by another, and no more. What is answered and not counted has
//! learned nothing of a quota, and cost none: where most of what is asked for is not there, as with signatures, the others
//! would go one by one for ever, so that each such answer lets one more go at a time, up to a bound. A failure of the host
//! sends the next at once, whoever else is out: how long that is left alone is for its breaker to say, which has to see
//! failures for that.

use std::time::{Duration, Instant};

use super::PullId;

/// How long those that went are waited for before others go.
pub(super) const ALONE: Duration = Duration::from_secs(2);
/// How many go at a time, at most: so many are one too many each, should there turn out to be a quota with nothing left.
pub(super) const MOST: usize = 32;

#[derive(Debug)]
pub(super) struct Scouts {
    is_back: bool,
    /// How many may go at a time.
    most: usize,
    /// In order of time.
    out: Vec<(PullId, Instant)>,
}

impl Scouts {
    /// Nothing is known.
    pub(super) fn wanted() -> Self {
        Self {
            is_back: false,
            most: 1,
            out: Vec::new(),
        }
    }

    /// Until when a pull has to wait for those that are out.
    pub(super) fn waits_until(&self, now: Instant) -> Option<Instant> {
        let mut recent = self.out.iter().rev().map(|(_, since)| *since + ALONE);
        recent.nth(self.most - 1).filter(|until| *until > now)
    }

    pub(super) fn sent(&mut self, id: PullId, now: Instant) {
        if !self.is_back {
            self.out.push((id, now));
        }
    }

    /// The next one goes at once, if this one has learned nothing.
    pub(super) fn ended(&mut self, id: PullId) {
        self.out.retain(|(scout, _)| *scout != id);
    }

    /// One was answered, and not counted.
    pub(super) fn learned_nothing(&mut self) {
        self.most = (self.most + 1).min(MOST);
    }

    /// The host has failed one. Those that are out go on, and nobody waits for them.
    pub(super) fn failed(&mut self) {
        self.out.clear();
    }

    /// It is known how things stand.
    pub(super) fn back(&mut self) {
        self.is_back = true;
        self.out.clear();
    }
}
