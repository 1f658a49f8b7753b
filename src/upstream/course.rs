//! Which of an upstream's endpoints a question goes to, in which order. Pure.
//!
//! The first endpoint is the registry itself; those after it may be mirrors that hold a part of it, and an older one at
//! that. So only the first says what a tag means and what does not exist. What is named by its digest is the same thing
//! at each of them, and may come from any while the first is in trouble.

use super::error::{ErrorKind, UpstreamError};

/// The way of one question through the endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    endpoints: Vec<Stop>,
    current: usize,
    /// Whether any endpoint can answer.
    anywhere: bool,
    /// Whether the current endpoint is asked again.
    again: bool,
}

/// In the order in which endpoints are preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    Unasked,
    /// Its quota had no pull when its turn came: it has not been asked.
    PassedOver,
    Asked,
    /// It has no such thing, or will not give it.
    Without,
}

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask an endpoint that was not asked before, at once.
    Another,
    /// Wait for the quota of one that was passed over, and ask it.
    PassedOver,
    /// Ask again after a pause, where that helps.
    Again,
    /// Give up: the others have been asked.
    Nobody,
}

impl Course {
    /// Begins at the first endpoint that may answer and is not left alone; at the first where all are. There is at least
    /// one.
    pub(crate) fn new(
        endpoints: usize,
        anywhere: bool,
        left_alone: impl Fn(usize) -> bool,
    ) -> Course {
        let current = (0..endpoints)
            .find(|&endpoint| anywhere && !left_alone(endpoint))
            .unwrap_or_default();
        let mut course = Course {
            endpoints: vec![Stop::Unasked; endpoints],
            current,
            anywhere,
            again: false,
        };
        course.endpoints[current] = Stop::Asked;
        course
    }

    /// The endpoint to ask.
    pub(crate) fn endpoint(&self) -> usize {
        self.current
    }

    /// Whether the current endpoint was asked before.
    pub(crate) fn is_second_round(&self) -> bool {
        self.again
    }

    /// How many endpoints have not been asked, can answer, and are not left alone.
    pub(crate) fn unasked(&self, left_alone: impl Fn(usize) -> bool) -> u32 {
        let unasked = self.next_unasked(left_alone).count();
        u32::try_from(unasked).unwrap_or(u32::MAX)
    }

    /// Passes over the current endpoint, whose quota allows nothing now. False where there is no other.
    pub(crate) fn skip(&mut self, left_alone: impl Fn(usize) -> bool) -> bool {
        let next = self.next_unasked(left_alone).next();
        if let Some(next) = next {
            if !self.again {
                self.endpoints[self.current] = Stop::PassedOver;
            }
            self.endpoints[next] = Stop::Asked;
            self.current = next;
            self.again = false;
        }
        next.is_some()
    }

    fn next_unasked(&self, left_alone: impl Fn(usize) -> bool) -> impl Iterator<Item = usize> {
        self.others()
            .filter(|&other| self.anywhere && self.endpoints[other] == Stop::Unasked)
            .filter(move |&other| !left_alone(other))
    }

    /// The endpoints but for the current one, in their order from there.
    fn others(&self) -> impl Iterator<Item = usize> {
        let (current, count) = (self.current, self.endpoints.len());
        (1..count).map(move |step| (current + step) % count)
    }

    /// Whether the current endpoint refuses what only the first can refuse.
    pub(crate) fn is_hearsay(&self, error: &UpstreamError) -> bool {
        error.is_refusal() && self.current > 0
    }

    /// Goes on after a failure of the current endpoint.
    pub(crate) fn after(
        &mut self,
        error: &UpstreamError,
        left_alone: impl Fn(usize) -> bool,
    ) -> Next {
        let refused = self.is_hearsay(error);
        let cannot = error.is_failure_of_host() || error.kind() == ErrorKind::TooManyRequests;
        let in_trouble = cannot && !error.is_beyond_redirect();
        if !self.anywhere || !(refused || in_trouble) {
            self.again = true;
            return Next::Again;
        }
        if refused {
            self.endpoints[self.current] = Stop::Without;
        }
        let rank = |other: &usize| (left_alone(*other), self.endpoints[*other]);
        let others = self.others();
        let others = others.filter(|&other| self.endpoints[other] != Stop::Without);
        let Some(next) = others.min_by_key(rank) else {
            self.again = true;
            return if refused { Next::Nobody } else { Next::Again };
        };
        let before = self.endpoints[next];
        if refused && before == Stop::Asked {
            return Next::Nobody;
        }
        self.endpoints[next] = Stop::Asked;
        self.current = next;
        self.again = before == Stop::Asked;
        match before {
            Stop::Unasked => Next::Another,
            Stop::PassedOver => Next::PassedOver,
            Stop::Asked | Stop::Without => Next::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Trouble;
    use super::*;
    use crate::oci::ErrorCode;

    const DOWN: ErrorKind = ErrorKind::Unavailable(Trouble::Connect);
    const ABSENT: ErrorKind = ErrorKind::NotFound {
        code: ErrorCode::ManifestUnknown,
    };

    fn error(kind: ErrorKind) -> UpstreamError {
        UpstreamError::new(kind, "a.io", "x")
    }

    fn none(_: usize) -> bool {
        false
    }

    #[test]
    fn each_is_asked_in_order_before_any_is_asked_again() {
        let mut course = Course::new(3, true, none);
        let mut way = Vec::new();
        for _ in 0..4 {
            let next = course.after(&error(DOWN), none);
            way.push((course.endpoint(), next));
        }
        let expected = [
            (1, Next::Another),
            (2, Next::Another),
            (0, Next::Again),
            (1, Next::Again),
        ];
        assert_eq!(way, expected);
    }

    #[test]
    fn those_that_are_left_alone_come_last() {
        let first = |endpoint| endpoint == 0;
        let mut course = Course::new(3, true, first);
        assert_eq!(course.endpoint(), 1);
        assert_eq!(course.after(&error(DOWN), first), Next::Another);
        assert_eq!(course.endpoint(), 2);
        assert_eq!(Course::new(2, true, |_| true).endpoint(), 0);
    }

    #[test]
    fn a_tag_is_the_first_ones_to_tell() {
        let mut course = Course::new(2, false, |endpoint| endpoint == 0);
        for kind in [DOWN, ABSENT] {
            assert_eq!(course.after(&error(kind), none), Next::Again, "{kind:?}");
            assert_eq!(course.endpoint(), 0);
        }
    }

    #[test]
    fn what_another_lacks_or_refuses_proves_nothing() {
        for kind in [ABSENT, ErrorKind::Unauthorized, ErrorKind::Denied] {
            let mut course = Course::new(3, true, none);
            assert_eq!(course.after(&error(DOWN), none), Next::Another);
            assert_eq!(course.after(&error(kind), none), Next::Another, "{kind:?}");
            assert_eq!(course.endpoint(), 2);
            assert_eq!(course.after(&error(kind), none), Next::Nobody, "{kind:?}");
            // The first one's own word stands.
            let mut course = Course::new(3, true, none);
            assert_eq!(course.after(&error(kind), none), Next::Again, "{kind:?}");
            assert_eq!(course.endpoint(), 0);
        }
    }

    #[test]
    fn one_whose_quota_is_spent_is_passed_over_where_another_may_answer() {
        for kind in [ErrorKind::TooManyRequests, DOWN] {
            let mut course = Course::new(3, true, none);
            assert_eq!(course.unasked(none), 2);
            assert_eq!(course.after(&error(kind), none), Next::Another, "{kind:?}");
            assert!(course.skip(|endpoint| endpoint == 0));
            assert_eq!((course.endpoint(), course.unasked(none)), (2, 0));
            assert!(!course.skip(none), "none is left");
            assert!(!course.is_second_round());
        }
        let mut course = Course::new(2, true, none);
        assert!(course.skip(none));
        for kind in [ABSENT, DOWN] {
            let mut course = course.clone();
            let next = course.after(&error(kind), none);
            assert_eq!((course.endpoint(), next), (0, Next::PassedOver), "{kind:?}");
            assert!(!course.is_second_round());
            assert_eq!(course.after(&error(DOWN), none), Next::Again, "{kind:?}");
        }
        let mut tag = Course::new(3, false, none);
        assert_eq!(tag.unasked(none), 0);
        assert!(!tag.skip(none));
        assert_eq!(Course::new(3, true, none).unasked(|other| other == 1), 1);
    }

    #[test]
    fn trouble_beyond_a_redirect_is_not_the_endpoints_own() {
        let mut course = Course::new(2, true, none);
        assert_eq!(course.after(&error(DOWN).at_redirect(), none), Next::Again);
        assert_eq!(course.endpoint(), 0);
    }
}
