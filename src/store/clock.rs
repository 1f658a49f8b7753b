//! The clocks: one orders uses, also across restarts, the other tells how long ago something was.
//!
//! Stamps are milliseconds since 1970, made strictly increasing: a wall clock that steps back must
//! not make what is used now look older than what was used yesterday. How long ago something was
//! within this process is told by a clock that never steps, so that no jump of the wall clock, by an
//! hour or by ten years, makes anything last for ever or end at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A stamp this far ahead of the wall clock, in milliseconds, was given before that was set back:
/// it says nothing of how long ago that was.
const AHEAD: u64 = 3_600_000;

/// What [`Clock::elapsed`] begins with: an age that is taken off it stays above zero.
const BASE: u64 = 24 * 3_600_000;

/// Where the store takes the time from.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Manual>);

#[derive(Clone, Debug)]
struct Manual {
    wall: Arc<AtomicU64>,
    elapsed: Arc<AtomicU64>,
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at the given milliseconds until they are changed.
    pub fn manual(millis: Arc<AtomicU64>) -> Self {
        Self::jumping(Arc::clone(&millis), millis)
    }

    /// As [`Clock::manual`], with a wall clock that can be set without time passing: `elapsed` are
    /// the milliseconds that pass, from any number above a day's on.
    pub fn jumping(wall: Arc<AtomicU64>, elapsed: Arc<AtomicU64>) -> Self {
        Self(Some(Manual { wall, elapsed }))
    }

    /// Milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        match &self.0 {
            Some(manual) => manual.wall.load(Ordering::Relaxed),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .and_then(|since| u64::try_from(since.as_millis()).ok())
                .unwrap_or(0),
        }
    }

    /// Milliseconds that have passed since some moment, whatever was done to the wall clock.
    pub(crate) fn elapsed(&self) -> u64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match &self.0 {
            Some(manual) => manual.elapsed.load(Ordering::Relaxed),
            None => u64::try_from(START.elapsed().as_millis())
                .unwrap_or(u64::MAX)
                .saturating_add(BASE),
        }
    }
}

/// Gives out strictly increasing stamps.
#[derive(Debug)]
pub(crate) struct Stamps {
    clock: Clock,
    last: AtomicU64,
}

impl Stamps {
    /// `last` is the latest stamp that was ever given out.
    pub(crate) fn new(clock: Clock, last: u64) -> Self {
        Self {
            clock,
            last: AtomicU64::new(last),
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    pub(crate) fn elapsed(&self) -> u64 {
        self.clock.elapsed()
    }

    /// When a stamp was given out, in terms of [`Stamps::elapsed`]; 0 where the wall clock has been
    /// set back so far that it can't tell.
    pub(crate) fn elapsed_at(&self, stamp: u64) -> u64 {
        let now = self.clock.now();
        if stamp.saturating_sub(now) > AHEAD {
            return 0;
        }
        let age = now.saturating_sub(stamp);
        self.clock.elapsed().saturating_sub(age)
    }

    pub(crate) fn next(&self) -> u64 {
        let now = self.clock.now();
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let next = now.max(last + 1);
            match self
                .last
                .compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return next,
                Err(actual) => last = actual,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_grow_even_when_the_clock_steps_back() {
        let millis = Arc::new(AtomicU64::new(1000));
        let stamps = Stamps::new(Clock::manual(Arc::clone(&millis)), 0);
        let first = stamps.next();
        millis.store(10, Ordering::Relaxed);
        let second = stamps.next();
        millis.store(5000, Ordering::Relaxed);
        let third = stamps.next();
        assert_eq!((first, second, third), (1000, 1001, 5000));
    }

    #[test]
    fn a_stamps_age_is_told_as_well_as_the_wall_clock_allows() {
        const HOUR: u64 = 3_600_000;
        const YEARS: u64 = 10 * 365 * 24 * HOUR;
        let noon = 1_700_000_000_000;
        let wall = Arc::new(AtomicU64::new(noon));
        let elapsed = Arc::new(AtomicU64::new(30 * HOUR));
        let stamps = Stamps::new(Clock::jumping(Arc::clone(&wall), elapsed), 0);
        assert_eq!(stamps.elapsed_at(noon - HOUR), 29 * HOUR);
        assert_eq!(stamps.elapsed_at(noon - YEARS), 0);
        // Given out in the same millisecond as many others, or a little before a step back.
        assert_eq!(stamps.elapsed_at(noon + 5), 30 * HOUR);
        assert_eq!(stamps.elapsed_at(noon + HOUR), 30 * HOUR);
        assert_eq!(stamps.elapsed_at(noon + YEARS), 0);
    }
}
