//! When a hot tag is asked for ahead of its time, so that no pull of it waits for its upstream.
//!
//! Pure.

use std::time::{Duration, SystemTime};

use crate::config::TagPolicy;

/// How often a tag is asked for, since it was last confirmed, to be hot.
const HOT: u32 = 2;
/// How far ahead it is planned. A tag that is trusted for days may be hot no more when it is due; who asks for it then
/// has it planned.
const HORIZON: Duration = Duration::from_mins(10);

/// Whether a tag is hot that was served `asked` times since it was last confirmed.
pub fn is_hot(asked: u32) -> bool {
    asked >= HOT
}

/// How long to wait until a hot tag is asked for that was confirmed at `confirmed_at`; `None` where it is never due, or
/// where that is too far off.
///
/// It is asked for in the last fifth of `fresh_for`, where in its first half says `jitter`, from 0 to 1: tags that were
/// pulled together are not to be asked for together, and the other half is for the answer.
pub fn ahead(
    now: SystemTime,
    confirmed_at: SystemTime,
    policy: &TagPolicy,
    jitter: f64,
) -> Option<Duration> {
    if policy.immutable || policy.fresh_for.is_zero() {
        return None;
    }
    let fifth = policy.fresh_for / 5;
    let age = now.duration_since(confirmed_at).ok()?;
    let at = (fifth * 4).saturating_add((fifth / 2).mul_f64(jitter.clamp(0.0, 1.0)));
    let wait = at.saturating_sub(age);
    (wait <= HORIZON).then_some(wait)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{MINUTE, policy};
    use super::super::{Decision, decide};
    use super::*;

    const AT: SystemTime = SystemTime::UNIX_EPOCH;

    fn at_age(seconds: u64, jitter: f64) -> Option<u64> {
        let now = AT + Duration::from_secs(seconds);
        ahead(now, AT, &policy(), jitter).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_tag_that_is_asked_for_twice_is_asked_for_in_the_last_fifth_of_its_time() {
        assert!(!is_hot(1) && is_hot(2));
        assert_eq!(at_age(20, 0.0), Some(28));
        assert_eq!(at_age(20, 1.0), Some(34));
        assert_eq!(at_age(20, 0.5), Some(31));
        assert_eq!(at_age(59, 0.5), Some(0), "it is time");
    }

    #[test]
    fn what_is_never_due_or_always_or_in_days_is_not_planned() {
        let hot = |policy| ahead(AT + MINUTE, AT, &policy, 0.5);
        let immutable = TagPolicy {
            immutable: true,
            ..policy()
        };
        assert_eq!(hot(immutable), None);
        let with = |fresh_for| TagPolicy {
            fresh_for,
            ..policy()
        };
        assert_eq!(hot(with(Duration::ZERO)), None);
        assert_eq!(hot(with(Duration::from_hours(24))), None);
        assert_eq!(hot(with(Duration::MAX)), None);
        let week = with(Duration::from_hours(24 * 7));
        let near_its_end = AT + Duration::from_hours(24 * 7) * 4 / 5;
        let late = ahead(near_its_end, AT, &week, 0.0);
        assert_eq!(late, Some(Duration::ZERO));
        assert_eq!(
            ahead(AT, AT + MINUTE, &policy(), 0.5),
            None,
            "the clock was set back"
        );
    }

    proptest! {
        #[test]
        fn it_is_fresh_when_it_is_asked_for_unless_it_is_late_already(
            fresh in 1..600_000_u64, age in 0..600_000_u64, jitter in 0.0..1.0,
        ) {
            let policy = TagPolicy {
                fresh_for: Duration::from_millis(fresh),
                ..policy()
            };
            let now = AT + Duration::from_millis(age);
            if let Some(wait) = ahead(now, AT, &policy, jitter) {
                prop_assert_eq!(wait.is_zero() || decide(now + wait, AT, &policy) == Decision::Fresh, true);
                prop_assert!(Duration::from_millis(age) + wait >= policy.fresh_for / 5 * 4);
            }
        }
    }
}
