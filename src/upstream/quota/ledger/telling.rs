//! What a ledger tells: how it stands, why there is no pull, and when there is one again.

use std::time::{Duration, Instant};

use super::super::ceiling::by_share;
use super::super::ceilings::registry_of;
use super::{LONGEST_PAUSE, Ledger, Refusal, Spent, SpentBy, Standing};

/// When those under way have been heard of.
const SOON: Duration = Duration::from_secs(5);

impl Ledger {
    /// When a refusal may end by itself, or by a look.
    pub(crate) fn look_again_at(&self, now: Instant, refusal: Refusal) -> Option<Instant> {
        match refusal {
            Refusal::Alone { until } => Some(until),
            Refusal::Taken | Refusal::Spent(SpentBy::Busy) => None,
            Refusal::Spent(SpentBy::Closed) => self.closed_until,
            Refusal::Spent(SpentBy::Configured) => self.ceilings.back_at(now),
            Refusal::Unknown | Refusal::Spent(SpentBy::Reported) => {
                Some(self.reported.as_ref()?.look_at())
            }
        }
    }

    /// When there is a pull again at the latest, as far as that is known.
    pub(crate) fn renews_at(&self, now: Instant, by: SpentBy) -> Option<Instant> {
        match by {
            SpentBy::Closed => self.closed_until,
            SpentBy::Configured => self.ceilings.back_at(now),
            SpentBy::Busy => None,
            SpentBy::Reported => {
                let reported = self.reported.as_ref()?;
                let looked = reported.look_at();
                Some(
                    reported
                        .told_end()
                        .filter(|end| *end > now)
                        .unwrap_or(looked),
                )
            }
        }
    }

    /// What to tell of a refusal.
    pub(crate) fn spent(&self, now: Instant, by: SpentBy) -> Spent {
        let least = self.ceilings.least(now);
        let least = least.filter(|_| by == SpentBy::Configured);
        let (limit, window) = match (by, &least, &self.reported) {
            (_, Some((_, ceiling)), _) => {
                let quota = ceiling.quota();
                (Some(quota.pulls), Some(quota.window))
            }
            (SpentBy::Reported, _, Some(reported)) => (Some(reported.limit), reported.window),
            _ => (None, None),
        };
        let renews_at = self.renews_at(now, by);
        let unknown = if by == SpentBy::Busy {
            SOON
        } else {
            LONGEST_PAUSE
        };
        Spent {
            by,
            source: None,
            configured_for: least.map(|(owner, _)| registry_of(&owner).to_owned()),
            limit,
            window,
            wait: renews_at.map_or(unknown, |at| at.saturating_duration_since(now)),
            is_exact: renews_at.is_some(),
        }
    }

    /// How it stands, for whoever compares it with others: what was left of a window that is over is told of none, though
    /// nobody may have asked since, or ever will.
    pub(crate) fn shown(&self, now: Instant) -> Standing {
        let standing = self.standing(now);
        let reported = self.reported.as_ref();
        let is_over = standing.least == Some(SpentBy::Reported)
            && reported.is_some_and(|reported| reported.is_over(now));
        Standing {
            left: standing.left.filter(|_| !is_over),
            ..standing
        }
    }

    /// How it stands, by whichever has the smallest share left.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        let under_way = self.under_way.len();
        let configured = self.ceilings.least(now).map(|(_, ceiling)| {
            let quota = ceiling.quota();
            (
                ceiling.left(now),
                quota.pulls,
                Some(quota.window),
                SpentBy::Configured,
            )
        });
        let reported = self.reported.as_ref().map(|reported| {
            let left = reported.left(now, under_way);
            (left, reported.limit, reported.window, SpentBy::Reported)
        });
        // What was left of a window that is over says nothing of the next.
        let known = self.reported.as_ref();
        let is_over = known.is_some_and(|reported| reported.has_ended_in_vain(now));
        let known = reported.filter(|_| !is_over);
        let all = configured.into_iter().chain(known);
        let least = all.min_by(|one, other| by_share((one.0, one.1), (other.0, other.1)));
        let left = least.map(|of| of.0);
        let least = least.or(reported);
        let is_closed = self.is_closed(now);
        let by = if is_closed {
            Some(SpentBy::Closed)
        } else {
            least.map(|(_, _, _, by)| by)
        };
        let renews_at = by.and_then(|by| self.renews_at(now, by));
        Standing {
            source: None,
            limit: least.map(|(_, limit, _, _)| limit),
            window: least.and_then(|(_, _, window, _)| window),
            left,
            renews_within: renews_at.map(|at| at.saturating_duration_since(now)),
            is_closed,
            least: least.map(|(_, _, _, by)| by),
            under_way,
            waiting: 0,
        }
    }
}
