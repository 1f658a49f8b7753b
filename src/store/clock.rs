//! The clock that orders uses.
//!
//! Stamps are milliseconds since 1970, made strictly increasing: a wall clock that steps back must
//! not make what is used now look older than what was used yesterday.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the store takes the time from.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The wall clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at the given milliseconds until they are changed.
    pub fn manual(millis: Arc<AtomicU64>) -> Self {
        Self(Some(millis))
    }

    /// Milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        match &self.0 {
            Some(millis) => millis.load(Ordering::Relaxed),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .and_then(|since| u64::try_from(since.as_millis()).ok())
                .unwrap_or(0),
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
}
