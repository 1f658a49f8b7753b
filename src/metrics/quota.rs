//! Quotas of upstreams: how they stand, who waits for them, and what they refuse.

use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};

use super::label::{QuotaLimit, WaitOutcome};
use super::lossy;
use super::running::Up;
use super::upstream::UpstreamName;

/// How a quota stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Pulls in a window; `None` where no limit is known.
    pub limit: Option<u64>,
    /// How many of them are left; `None` where that was of a window that is over.
    pub left: Option<i64>,
    /// When there is a pull again at the latest.
    pub renews_within: Option<Duration>,
}

/// An upstream's quota as it stands now: of the members of a family, and the accounts and endpoints of an upstream, which
/// share the series, the one with the smallest share left.
pub fn quota(upstream: &UpstreamName, quota: &Quota) {
    if let Some(limit) = quota.limit {
        gauge!("forebay_quota_limit", "upstream" => upstream.label()).set(lossy(limit));
        let left = quota.left.map(|left| u64::try_from(left).unwrap_or(0));
        // Not a number: no alert compares true to it.
        gauge!("forebay_quota_left", "upstream" => upstream.label())
            .set(left.map_or(f64::NAN, lossy));
        let renews = quota.renews_within.unwrap_or_default();
        gauge!("forebay_quota_renews_seconds", "upstream" => upstream.label())
            .set(renews.as_secs_f64());
    }
}

/// A request that waits for a pull that a quota does not have now.
#[derive(Debug)]
pub struct QuotaWait {
    upstream: UpstreamName,
    since: Instant,
    _waiting: Up,
}

/// A request begins to wait for a quota.
pub fn quota_wait(upstream: &UpstreamName) -> QuotaWait {
    QuotaWait {
        upstream: upstream.clone(),
        since: Instant::now(),
        _waiting: Up::raise(gauge!("forebay_quota_waiting", "upstream" => upstream.label())),
    }
}

impl QuotaWait {
    /// It has waited.
    pub fn end(self, outcome: WaitOutcome) {
        let waited = self.since.elapsed();
        self.upstream.counts().count_wait(waited);
        histogram!("forebay_quota_wait_seconds",
            "upstream" => self.upstream.label(), "outcome" => outcome.as_str())
        .record(waited);
    }
}

/// A pull was not made, since there was none left.
pub fn quota_refusal(upstream: &UpstreamName, limit: QuotaLimit) {
    upstream.counts().count_refused(limit);
    counter!("forebay_quota_refusals_total",
        "upstream" => upstream.label(), "limit" => limit.as_str())
    .increment(1);
}
