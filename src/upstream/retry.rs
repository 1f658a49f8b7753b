//! When a failed request is tried again. Pure: the caller measures the time and rolls the dice.

use std::time::Duration;

use super::error::{ErrorKind, UpstreamError};

/// How often and how long one request is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    /// Requests in all.
    pub(crate) attempts: u32,
    /// The longest first pause; it doubles from there.
    pub(crate) base: Duration,
    /// The longest pause.
    pub(crate) cap: Duration,
    /// No further attempt begins later than this after the first began.
    pub(crate) last_start: Duration,
    /// With an error in hand, no further attempt is waited for beyond this: a client's miss gets its
    /// error while its own patience lasts.
    pub(crate) give_up: Duration,
    /// A first attempt that is merely slow is waited for until here.
    pub(crate) patience: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts: 3,
            base: Duration::from_millis(200),
            cap: Duration::from_secs(2),
            last_start: Duration::from_secs(7),
            give_up: Duration::from_millis(9500),
            patience: Duration::from_secs(22),
        }
    }
}

impl RetryPolicy {
    /// The default, with an attempt for each endpoint at least.
    pub(crate) fn for_endpoints(endpoints: usize) -> RetryPolicy {
        let default = RetryPolicy::default();
        let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX);
        RetryPolicy {
            attempts: default.attempts.max(endpoints),
            ..default
        }
    }

    /// Of the time for a question, what an attempt may take while there are as many endpoints to ask.
    pub(crate) fn share(&self, endpoints: usize) -> Duration {
        self.patience / u32::try_from(endpoints).unwrap_or(u32::MAX).max(1)
    }

    /// The pause before the next attempt, after `made` of them within `elapsed`; `None` to give up.
    /// `roll` is uniform in `0.0..1.0` (full jitter: pauses anywhere between nothing and the bound, so
    /// that clients that failed together do not come back together).
    ///
    /// What all questions together may ask again is [`super::budget`]'s.
    pub(crate) fn pause(
        &self,
        made: u32,
        elapsed: Duration,
        error: &UpstreamError,
        roll: f64,
    ) -> Option<Duration> {
        // An expired or forbidden target: the registry is asked for another one, once. One that tells the blob's size in a
        // 416 has it, and another would say the same.
        let tells_size = matches!(
            error.kind(),
            ErrorKind::RangeUnsatisfiable { size: Some(_) }
        );
        let another_target = error.is_beyond_redirect() && made == 1 && !tells_size;
        if made >= self.attempts || !(error.may_retry() || another_target) {
            return None;
        }
        // Unless the upstream says that it is a matter of moments, a refusal for load stands.
        if error.kind() == ErrorKind::TooManyRequests && error.retry_after().is_none() {
            return None;
        }
        let bound = self
            .base
            .saturating_mul(1 << (made - 1).min(16))
            .min(self.cap);
        let pause = match error.retry_after() {
            Some(wait) if wait > self.cap => return None,
            Some(wait) => wait + bound.mul_f64(roll) / 4,
            None => bound.mul_f64(roll),
        };
        (elapsed + pause <= self.last_start).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Trouble;
    use super::*;
    use crate::oci::ErrorCode;

    const CONNECT: ErrorKind = ErrorKind::Unavailable(Trouble::Connect);
    const NOT_FOUND: ErrorKind = ErrorKind::NotFound {
        code: ErrorCode::BlobUnknown,
    };

    fn pause(made: u32, elapsed_ms: u64, kind: ErrorKind, wait: Option<u64>) -> Option<u128> {
        let error =
            UpstreamError::new(kind, "a.io", "x").with_retry_after(wait.map(Duration::from_secs));
        RetryPolicy::default()
            .pause(made, Duration::from_millis(elapsed_ms), &error, 0.5)
            .map(|pause| pause.as_millis())
    }

    #[test]
    fn pauses_grow_and_attempts_are_bounded() {
        assert_eq!(pause(1, 0, CONNECT, None), Some(100));
        assert_eq!(pause(2, 0, CONNECT, None), Some(200));
        assert_eq!(pause(3, 0, CONNECT, None), None);
        assert_eq!(
            pause(1, 6950, CONNECT, None),
            None,
            "too late to begin again"
        );
    }

    #[test]
    fn what_cannot_get_better_is_not_tried_again() {
        for kind in [
            NOT_FOUND,
            ErrorKind::Unauthorized,
            ErrorKind::Denied,
            ErrorKind::Invalid,
        ] {
            assert_eq!(pause(1, 0, kind, None), None, "{kind:?}");
        }
        assert_eq!(
            pause(1, 0, ErrorKind::Unavailable(Trouble::Status(501)), None),
            None
        );
    }

    #[test]
    fn retry_after_is_honoured_when_short_and_obeyed_by_giving_up_when_long() {
        let busy = ErrorKind::Unavailable(Trouble::Status(503));
        assert_eq!(pause(1, 0, busy, Some(1)), Some(1025));
        assert_eq!(pause(1, 0, busy, Some(60)), None);
        assert_eq!(pause(1, 0, ErrorKind::TooManyRequests, Some(1)), Some(1025));
        assert_eq!(pause(1, 0, ErrorKind::TooManyRequests, Some(60)), None);
        assert_eq!(pause(1, 0, ErrorKind::TooManyRequests, None), None);
    }

    #[test]
    fn a_failed_redirect_target_is_asked_for_once_more() {
        let error = UpstreamError::new(ErrorKind::Invalid, "cdn.io", "403").at_redirect();
        let policy = RetryPolicy::default();
        assert!(policy.pause(1, Duration::ZERO, &error, 0.5).is_some());
        assert!(policy.pause(2, Duration::ZERO, &error, 0.5).is_none());
        for (size, again) in [(None, true), (Some(5), false)] {
            let kind = ErrorKind::RangeUnsatisfiable { size };
            let error = UpstreamError::new(kind, "cdn.io", "416").at_redirect();
            let pause = policy.pause(1, Duration::ZERO, &error, 0.5);
            assert_eq!(pause.is_some(), again, "{size:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_pause_leads_beyond_the_bounds(
            made in 1u32..10, elapsed in 0u64..20_000, wait in proptest::option::of(0u64..100),
        ) {
            for kind in [CONNECT, ErrorKind::TooManyRequests, ErrorKind::Cut] {
                if let Some(pause) = pause(made, elapsed, kind, wait) {
                    proptest::prop_assert!(made < 3);
                    proptest::prop_assert!(u128::from(elapsed) + pause <= 7_000);
                }
            }
        }
    }
}
