//! How long a tag's move is put off as its upstream's quota shrinks.
//!
//! The question what a tag points at is a HEAD, which costs nothing where quotas are counted; the answer costs pulls when
//! the tag has moved. So the question is not what stretches: it is asked after `fresh_for` whatever the budget, since it
//! also tells what may not be served any longer. It is the following of a move that waits, up to eight times as long, and
//! until then the old answer stands. A tag that is pushed every few minutes takes an eighth of the pulls then. Where HEAD
//! tells nothing, each question costs a pull, and is put off all the same.
//!
//! Pure.

use std::time::{Duration, SystemTime};

use crate::config::TagPolicy;

/// In thousandths of the limit: while so much is left nothing is put off.
const PLENTY: u128 = 500;
/// In thousandths of the limit: from there down moves are put off longest.
const LITTLE: u128 = 100;
/// How many times as long as `fresh_for` an old answer stands then.
const MOST: u32 = 8;

/// What is left of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Pulls left; below zero where it is overdrawn.
    pub left: i64,
    /// Pulls in a window.
    pub limit: u64,
    /// The window, where it is known.
    pub window: Option<Duration>,
}

impl Budget {
    /// In thousandths of the limit.
    fn share(self) -> u128 {
        let left = u128::try_from(self.left).unwrap_or(0);
        left.saturating_mul(1000)
            .checked_div(u128::from(self.limit))
            .unwrap_or(0)
    }
}

/// How old a tag's old answer becomes before a move is followed. Never less than `fresh_for`; beyond it not past what
/// may be served stale. An upstream without a quota has no `budget`; one whose window is over before the tag is due again is
/// as good as none.
pub fn stretched(policy: &TagPolicy, budget: Option<Budget>) -> Duration {
    let budget = budget.filter(|budget| {
        let window = budget.window;
        window.is_none_or(|window| window > policy.fresh_for)
    });
    let share = budget.map_or(PLENTY, Budget::share).clamp(LITTLE, PLENTY);
    let span = u32::try_from(PLENTY - LITTLE).unwrap_or(u32::MAX);
    let missing = u32::try_from(PLENTY - share).unwrap_or(span);
    let times = policy.fresh_for.saturating_mul(span + (MOST - 1) * missing) / span;
    let longest = policy.fresh_for.saturating_add(policy.stale_for);
    times.min(longest).max(policy.fresh_for)
}

/// Whether a move is followed of a tag that was last confirmed at `confirmed_at`. Ahead of its time it is only where
/// nothing is put off. One from the future (the clock was set back) is, since nobody knows how old it is.
pub fn follows(
    now: SystemTime,
    confirmed_at: SystemTime,
    policy: &TagPolicy,
    budget: Option<Budget>,
) -> bool {
    let stretched = stretched(policy, budget);
    let age = now.duration_since(confirmed_at);
    stretched <= policy.fresh_for || age.map_or(true, |age| age >= stretched)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{MINUTE, policy};
    use super::*;

    fn of(left: i64, limit: u64) -> Duration {
        let policy = TagPolicy {
            stale_for: 60 * MINUTE,
            ..policy()
        };
        stretched(&policy, Some(budget(left, limit)))
    }

    fn budget(left: i64, limit: u64) -> Budget {
        Budget {
            left,
            limit,
            window: Some(360 * MINUTE),
        }
    }

    /// A ceiling for bursts, such as 50 a minute, or a gateway's 3 a second, put moves off for eight times as long, though
    /// all of it was back before the tag was due again.
    #[test]
    fn a_quota_that_is_back_before_the_tag_is_due_again_puts_nothing_off() {
        let of = |window| {
            let spent = Budget {
                window,
                ..budget(0, 50)
            };
            stretched(&policy(), Some(spent))
        };
        assert_eq!(of(Some(Duration::from_secs(1))), MINUTE);
        assert_eq!(of(Some(MINUTE)), MINUTE);
        assert_eq!(of(Some(2 * MINUTE)), 8 * MINUTE);
        assert_eq!(of(None), 8 * MINUTE);
    }

    #[test]
    fn moves_are_followed_later_the_less_is_left() {
        for (left, seconds) in [
            (100, 60),
            (50, 60),
            (40, 165),
            (30, 270),
            (20, 375),
            (10, 480),
            (1, 480),
            (0, 480),
            (-3, 480),
        ] {
            assert_eq!(of(left, 100), Duration::from_secs(seconds), "{left}");
        }
        assert_eq!(of(0, 0), 8 * MINUTE, "a quota of nothing");
        assert_eq!(stretched(&policy(), None), MINUTE, "no quota");
        assert!(of(i64::MAX, u64::MAX) < 2 * MINUTE);
    }

    #[test]
    fn an_old_answer_stands_no_longer_than_while_it_could_be_stale() {
        let spent = Some(Budget {
            window: None,
            ..budget(0, 100)
        });
        let with = |fresh_for, stale_for| {
            let policy = TagPolicy {
                fresh_for,
                stale_for,
                ..policy()
            };
            stretched(&policy, spent)
        };
        assert_eq!(with(MINUTE, 4 * MINUTE), 5 * MINUTE);
        assert_eq!(with(MINUTE, Duration::ZERO), MINUTE);
        assert_eq!(with(Duration::ZERO, 5 * MINUTE), Duration::ZERO);
        assert_eq!(with(Duration::MAX, Duration::MAX), Duration::MAX);
    }

    /// With little left, a move was not followed until a clock that was set back had caught up.
    #[test]
    fn a_tag_that_was_confirmed_in_the_future_follows_whatever_is_left() {
        let now = SystemTime::UNIX_EPOCH + MINUTE;
        let follows = |left| {
            let budget = budget(left, 100);
            follows(now, now + MINUTE, &policy(), Some(budget))
        };
        assert!(follows(50) && follows(10));
    }

    proptest! {
        #[test]
        fn less_budget_never_lets_a_move_be_followed_sooner(
            fresh in 0..500_u64, stale in 0..5_000_u64, limit in 1..1_000_u64,
            lefts in prop::array::uniform2(-10..1_000_i64),
        ) {
            let policy = TagPolicy {
                fresh_for: Duration::from_secs(fresh),
                stale_for: Duration::from_secs(stale),
                ..policy()
            };
            let mut lefts = lefts;
            lefts.sort_unstable();
            let [less, more] = lefts.map(|left| stretched(&policy, Some(budget(left, limit))));
            prop_assert!(less >= more);
            prop_assert!(more >= policy.fresh_for && less <= MOST * policy.fresh_for);
            prop_assert!(less <= policy.fresh_for + policy.stale_for);
        }
    }
}
