//! The quota that the configuration allows: so many pulls in any window of such a length.
//!
//! Pure; takes `now`. Counts forebay's own pulls, in spans of a sixtieth of the window so that its size does not depend
//! on the quota's; a pull comes back when the whole span that it was made in is a window old, never sooner.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Instant;

use crate::config;

/// Spans to a window.
const SPANS: u32 = 60;

/// Which of two has the smaller share of its limit left: 20 of 50 in a minute are more than 50 of 1,000 in a day.
pub(crate) fn by_share(one: (i64, u64), other: (i64, u64)) -> Ordering {
    let scaled = |left: i64, limit: u64| i128::from(left) * i128::from(limit.max(1));
    scaled(one.0, other.1).cmp(&scaled(other.0, one.1))
}

/// Own pulls against a configured quota.
#[derive(Debug, Clone)]
pub(crate) struct Ceiling {
    quota: config::Quota,
    /// In order of time.
    spans: VecDeque<Span>,
}

/// Pulls that come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) back_at: Instant,
    pub(crate) pulls: u64,
}

/// In which span a pull was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted(Instant);

impl Ceiling {
    pub(crate) fn new(quota: config::Quota) -> Self {
        Self {
            quota,
            spans: VecDeque::new(),
        }
    }

    pub(crate) fn quota(&self) -> config::Quota {
        self.quota
    }

    /// What is left, and of how many.
    pub(crate) fn share(&self, now: Instant) -> (i64, u64) {
        (self.left(now), self.quota.pulls)
    }

    /// Pulls left at `now`; below zero where the quota was made smaller.
    pub(crate) fn left(&self, now: Instant) -> i64 {
        let spent = self.current(now).map(|span| span.pulls).sum::<u64>();
        let limit = i64::try_from(self.quota.pulls).unwrap_or(i64::MAX);
        limit.saturating_sub_unsigned(spent)
    }

    /// When there is a pull again, or one more.
    pub(crate) fn back_at(&self, now: Instant) -> Option<Instant> {
        let mut left = self.left(now).min(0);
        let mut spans = self.current(now);
        let last = spans.find(|span| {
            left = left.saturating_add_unsigned(span.pulls);
            left > 0
        });
        last.map(|span| span.back_at)
    }

    pub(crate) fn current(&self, now: Instant) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(move |span| span.back_at > now)
    }

    /// Counts a pull.
    pub(crate) fn spend(&mut self, now: Instant) -> Counted {
        while self.spans.front().is_some_and(|span| span.back_at <= now) {
            self.spans.pop_front();
        }
        match self.spans.back_mut() {
            // Its span has not ended.
            Some(last) if last.back_at > now + self.quota.window => {
                last.pulls += 1;
                Counted(last.back_at)
            }
            _ => {
                let back_at = now + self.quota.window + self.quota.window / SPANS;
                self.spans.push_back(Span { back_at, pulls: 1 });
                Counted(back_at)
            }
        }
    }

    /// Takes a pull back that was none.
    pub(crate) fn refund(&mut self, counted: Counted) {
        let span = self.spans.iter_mut().find(|span| span.back_at == counted.0);
        if let Some(span) = span {
            span.pulls = span.pulls.saturating_sub(1);
        }
    }

    /// Counts what was spent elsewhere, too.
    pub(crate) fn add(&mut self, spans: impl IntoIterator<Item = Span>) {
        self.spans.extend(spans);
        self.spans
            .make_contiguous()
            .sort_unstable_by_key(|span| span.back_at);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn ceiling(pulls: u64, window: Duration) -> Ceiling {
        Ceiling::new(config::Quota { pulls, window })
    }

    #[test]
    fn a_pull_comes_back_a_window_after_it_was_made() {
        let hour = Duration::from_hours(1);
        let mut ceiling = ceiling(2, hour);
        let now = Instant::now();
        ceiling.spend(now);
        let half = ceiling.spend(now + hour / 2);
        assert_eq!(ceiling.left(now + hour / 2), 0);
        assert_eq!(ceiling.left(now + hour), 0, "its span is not a window old");
        let back = ceiling.back_at(now + hour).unwrap();
        assert_eq!(back, now + hour + hour / 60);
        assert_eq!(ceiling.left(back), 1);
        ceiling.refund(half);
        assert_eq!(ceiling.left(back), 2);
        assert_eq!(ceiling.back_at(back), None);
    }

    #[test]
    fn a_share_is_of_its_own_limit() {
        let is_less = |one, other| by_share(one, other) == Ordering::Less;
        assert!(is_less((50, 1_000), (20, 50)));
        assert!(is_less((0, 50), (1, 1_000)));
        assert!(is_less((-1, 50), (0, 1)));
        assert!(is_less((-3, u64::MAX), (i64::MAX, u64::MAX)));
        assert_eq!(by_share((1, 2), (50, 100)), Ordering::Equal);
        assert_eq!(by_share((0, 0), (0, 5)), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_pulls_than_allowed(
            pulls in 1u64..6, waits in prop::collection::vec(0u64..400, 1..200),
        ) {
            let window = Duration::from_secs(1);
            let mut ceiling = ceiling(pulls, window);
            let mut now = Instant::now();
            let mut made: Vec<Instant> = Vec::new();
            for wait in waits {
                now += Duration::from_millis(wait);
                if ceiling.left(now) > 0 {
                    ceiling.spend(now);
                    made.push(now);
                } else {
                    let back = ceiling.back_at(now).expect("something comes back");
                    prop_assert!(back > now && ceiling.left(back) > 0);
                }
                let recent = made.iter().filter(|at| **at + window > now).count();
                prop_assert!(recent as u64 <= pulls);
                prop_assert!(ceiling.spans.len() <= 1 + SPANS as usize + 1);
            }
        }
    }
}
