//! When a tag record may be served, and when and how long its upstream has to be asked first.
//!
//! Pure: takes `now`, reads no clock, owns no state. Expiry is a value computed from the record, so that a change of
//! configuration acts on what is cached already.

mod ahead;
mod stretch;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant, SystemTime};

use crate::config::TagPolicy;
use crate::store::TagRecord;

pub use ahead::{ahead, is_hot};
pub use stretch::{Budget, follows, stretched};

/// For how long at most an old answer stands without a question where what it would be replaced by is put off.
const HELD: Duration = Duration::from_mins(1);
/// For how long an upstream that was in trouble is not waited for where a stale answer will do.
const TROUBLE: Duration = Duration::from_secs(5);

/// What to do with a tag record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Serve it; the upstream confirmed it recently.
    Fresh,
    /// Serve it, and ask the upstream meanwhile (`stale_while_revalidate`).
    ServeAndRefresh,
    /// Ask the upstream first. Where it is in trouble, the record may be served.
    ConfirmOrStale,
    /// Ask the upstream first. The record may not be served whatever happens: it is too old, or was refused.
    ConfirmOnly,
}

/// The decision for a record that was last confirmed at `confirmed_at`. One of a tag that never changes is fresh forever.
///
/// Its trust and its staleness follow each other, so that a tag that is trusted for long is stale for as long as another
/// before it can't be served any more.
///
/// A record from the future (the clock was set back) is due at once, and counts as confirmed now for the rest.
pub fn decide(now: SystemTime, confirmed_at: SystemTime, policy: &TagPolicy) -> Decision {
    if policy.immutable {
        return Decision::Fresh;
    }
    let Ok(age) = now.duration_since(confirmed_at) else {
        return Decision::ConfirmOrStale;
    };
    let due = age.checked_sub(policy.fresh_for);
    let Some(due) = due else {
        return Decision::Fresh;
    };
    if due < policy.stale_while_revalidate {
        Decision::ServeAndRefresh
    } else if due < policy.stale_for {
        Decision::ConfirmOrStale
    } else {
        Decision::ConfirmOnly
    }
}

/// The decision for a record as it stands: its upstream may have refused it since.
pub fn decide_on(now: SystemTime, record: &TagRecord, policy: &TagPolicy) -> Decision {
    if record.refused {
        Decision::ConfirmOnly
    } else {
        decide(now, record.confirmed_at, policy)
    }
}

/// Whether a record may be served although its upstream now says that there is no such tag. It is as good as one that its
/// upstream can't tell of, and for as long; one that was refused has no other claim than the upstream's word.
pub fn outlives_deletion(now: SystemTime, record: &TagRecord, policy: &TagPolicy) -> bool {
    policy.keep_deleted
        && !record.refused
        && decide(now, record.confirmed_at, policy) != Decision::ConfirmOnly
}

/// For how long the old answer of a tag stands before its upstream is asked again, when it has moved and that can't be
/// followed for want of quota: it would be another HEAD for each pull. Short enough to see a new window begin.
pub fn held_for(policy: &TagPolicy) -> Duration {
    policy.fresh_for.min(HELD)
}

/// For how long a record has been stale at `now`.
pub fn stale_age(now: SystemTime, confirmed_at: SystemTime) -> Duration {
    now.duration_since(confirmed_at).unwrap_or_default()
}

/// Whether an upstream that was last seen in trouble at `seen` is still taken to be so.
pub fn in_trouble(now: Instant, seen: Instant) -> bool {
    now.saturating_duration_since(seen) < TROUBLE
}
