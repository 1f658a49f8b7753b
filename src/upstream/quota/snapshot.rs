//! A ledger as it is written down, to be taken up by the next process.
//!
//! Times are the wall clock's, which may have jumped meanwhile: nothing that is read lies further ahead than it can, and
//! what an upstream reported is asked for again before it is relied on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::ceiling::{Ceiling, Span};
use super::ledger::Ledger;
use super::report::LONGEST;
use super::reported::Reported;
use crate::config;

/// The longest that an upstream may have asked to be left alone.
const LONGEST_CLOSURE: Duration = Duration::from_hours(6);

/// What is worth knowing after a restart. Times are milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reported: Option<Account>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed_until: Option<u64>,
    /// Own pulls: when each comes back, and how many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spent: Vec<(u64, u64)>,
    /// The window that they were counted in.
    #[serde(default)]
    spent_in: u64,
    /// When this was written. Nothing lies further ahead of the next process than it did of that one.
    #[serde(default)]
    written_at: u64,
    /// Whom the upstream counts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
}

/// What an upstream reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    limit: u64,
    /// Less what was under way.
    left: i64,
    window: Option<u64>,
    ends_by: Option<u64>,
}

/// Both clocks at one moment.
#[derive(Clone, Copy)]
struct Clocks {
    now: Instant,
    wall: SystemTime,
}

impl Clocks {
    fn write(self, at: Instant) -> u64 {
        let wall = if at >= self.now {
            self.wall.checked_add(at - self.now)
        } else {
            self.wall.checked_sub(self.now - at)
        };
        let since = wall.and_then(|wall| wall.duration_since(UNIX_EPOCH).ok());
        millis(since.unwrap_or_default())
    }

    /// The moment, which is not before now, at most `ahead` after it, and no further than it was at `written_at`.
    fn read(self, at: u64, ahead: Duration, written_at: u64) -> Instant {
        let ahead = ahead.min(Duration::from_millis(at.saturating_sub(written_at)));
        let wall = UNIX_EPOCH.checked_add(Duration::from_millis(at));
        let wait = wall.and_then(|wall| wall.duration_since(self.wall).ok());
        self.now + wait.unwrap_or_default().min(ahead)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Snapshot {
    /// What `ledger` knows at `now`, which is `wall` by the wall clock.
    pub(crate) fn of(ledger: &Ledger, owner: &str, now: Instant, wall: SystemTime) -> Self {
        let clocks = Clocks { now, wall };
        let ceiling = ledger.ceilings.of(owner);
        let spans = ceiling.iter().flat_map(|ceiling| ceiling.current(now));
        Self {
            reported: ledger.reported.as_ref().map(|reported| Account {
                limit: reported.limit,
                left: reported.least_left(ledger.under_way()),
                window: reported.window.map(millis),
                ends_by: reported.ends_by().map(|end| clocks.write(end)),
            }),
            closed_until: ledger
                .closed_until
                .filter(|until| *until > now)
                .map(|until| clocks.write(until)),
            spent: spans
                .filter(|span| span.pulls > 0)
                .map(|span| (clocks.write(span.back_at), span.pulls))
                .collect(),
            spent_in: ceiling
                .as_ref()
                .map_or(0, |ceiling| millis(ceiling.quota().window)),
            written_at: clocks.write(now),
            source: None,
        }
    }

    /// The same, of a quota that the upstream counts for `source`.
    pub(crate) fn with_source(self, source: Option<String>) -> Self {
        Self { source, ..self }
    }

    /// Whether it says anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.reported.is_none() && self.closed_until.is_none() && self.spent.is_empty()
    }

    /// The slot's own pulls, under what is configured now.
    pub(crate) fn restore_ceiling(
        &self,
        quota: config::Quota,
        now: Instant,
        wall: SystemTime,
    ) -> Ceiling {
        let clocks = Clocks { now, wall };
        let mut ceiling = Ceiling::new(quota);
        // A pull of a longer window comes back sooner in a shorter one, and the other way round.
        let then = Duration::from_millis(self.spent_in).min(LONGEST);
        let spans = self.spent.iter().map(|(back_at, pulls)| Span {
            back_at: (clocks.read(*back_at, then * 2, self.written_at) + quota.window)
                .checked_sub(then)
                .unwrap_or(now),
            pulls: *pulls,
        });
        ceiling.add(spans);
        ceiling
    }

    /// The ledger of the quota that it was at.
    pub(crate) fn restore(&self, now: Instant, wall: SystemTime) -> Ledger {
        let clocks = Clocks { now, wall };
        let reported = self.reported.as_ref().map(|account| {
            let window = account.window.map(Duration::from_millis);
            let window = window.map(|window| window.min(LONGEST));
            let longest = window.unwrap_or(LONGEST);
            let ends_by = account.ends_by;
            let ends_by = ends_by.map(|end| clocks.read(end, longest, self.written_at));
            Reported::restored(account.limit, window, account.left, ends_by, now)
        });
        let closed_until = self.closed_until;
        let closed_until =
            closed_until.map(|until| clocks.read(until, LONGEST_CLOSURE, self.written_at));
        Ledger::restored(reported, closed_until, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// The clock was set back by an hour while nobody ran: a closure of a second closed for an hour, and what was spent came
    /// back a window too late.
    #[test]
    fn a_clock_that_is_set_back_makes_no_wait_longer_than_it_was() {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let quota = config::Quota {
            pulls: 2,
            window: HOUR,
        };
        let mut ceiling = Ceiling::new(quota);
        ceiling.spend(now);
        let back_at = ceiling.back_at(now).unwrap();
        let mut ledger = Ledger::restored(None, Some(now + SECOND), now);
        ledger.limit(super::super::ceilings::Owned::new(&"own".into(), ceiling));
        let later = now + Duration::from_mins(59);
        for (at, back_in, closed) in [(now, back_at - now, true), (later, back_at - later, false)] {
            let written = Snapshot::of(&ledger, "own", at, wall);
            for set_back in [Duration::ZERO, HOUR, 24 * HOUR] {
                let wall = wall - set_back;
                let ceiling = written.restore_ceiling(quota, now, wall);
                let back = ceiling.back_at(now).unwrap() - now;
                assert!(back <= back_in, "{back:?} {back_in:?}");
                assert!(back + SECOND > back_in, "{back:?} {back_in:?}");
                let restored = written.restore(now, wall);
                assert_eq!(restored.is_closed(now), closed);
                assert!(!restored.is_closed(now + SECOND));
            }
        }
    }
}
