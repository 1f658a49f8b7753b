//! The retry budget of an upstream: however many requests fail, what is sent again stays a small part of
//! what is sent.
//!
//! Retries help where one request in many fails. Where all fail they only add to the load, and the
//! budget is what keeps them from it.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Retries that are allowed however few requests are under way.
const FLOOR: usize = 3;
/// One retry for this many requests under way.
const SHARE: usize = 5;

/// Counts what is under way.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    requests: AtomicUsize,
    retries: AtomicUsize,
}

impl RetryBudget {
    /// A question, from its first attempt to its answer.
    pub(crate) fn request(&self) -> Counted<'_> {
        Counted::add(&self.requests)
    }

    /// The right to send it again: to be held through the pause and the attempt. `None` where too much is being sent
    /// again already.
    pub(crate) fn retry(&self) -> Option<Counted<'_>> {
        let retry = Counted::add(&self.retries);
        let most = FLOOR.max(self.requests.load(Ordering::Relaxed) / SHARE);
        // Counted before it is compared, so that two who ask at once do not both take the last place.
        (self.retries.load(Ordering::Relaxed) <= most).then_some(retry)
    }
}

/// Counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn add(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_retries_are_allowed_however_little_is_under_way() {
        let budget = RetryBudget::default();
        let _request = budget.request();
        let held: Vec<_> = (0..FLOOR).map(|_| budget.retry().unwrap()).collect();
        assert!(budget.retry().is_none());
        drop(held);
        assert!(budget.retry().is_some());
    }

    #[test]
    fn beyond_those_they_are_a_fifth_of_what_is_under_way() {
        let budget = RetryBudget::default();
        let requests: Vec<_> = (0..100).map(|_| budget.request()).collect();
        let retries: Vec<_> = std::iter::from_fn(|| budget.retry()).collect();
        assert_eq!(retries.len(), 20);
        drop((requests, retries));
        assert_eq!(budget.retries.load(Ordering::Relaxed), 0);
        assert_eq!(budget.requests.load(Ordering::Relaxed), 0);
    }
}
