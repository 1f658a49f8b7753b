//! What a ledger is told, and what it answers with.

use std::time::{Duration, Instant};

use super::super::ceiling::by_share;
use super::super::report::QuotaReport;
use crate::metrics;

/// How a pull ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    /// It was answered, and counted.
    Answered(Option<&'a QuotaReport>),
    /// It was answered, and not counted: there is no such thing, or not for this login.
    Uncounted(Option<&'a QuotaReport>),
    /// The upstream wants to be left alone.
    Refused(Closing<'a>),
    /// It was not answered, or with a failure; it may have been counted.
    Lost(Option<&'a QuotaReport>),
    /// It never went out, since something failed before.
    Unsent,
    /// It was never meant to go out: nobody wants it any more, or it was another ledger's.
    Withdrawn,
    /// It was counted, and by another quota.
    Elsewhere,
}

impl<'a> Outcome<'a> {
    /// What it is to the other quotas that may have counted the pull. `is_told` says that the report tells which one has.
    pub(crate) fn to_others(self, is_told: bool) -> Outcome<'static> {
        match self {
            Self::Uncounted(_) | Self::Refused(_) | Self::Unsent | Self::Withdrawn => {
                Outcome::Withdrawn
            }
            Self::Answered(_) | Self::Lost(_) if !is_told => Outcome::Lost(None),
            Self::Answered(_) | Self::Lost(_) | Self::Elsewhere => Outcome::Elsewhere,
        }
    }

    pub(crate) fn report(self) -> Option<&'a QuotaReport> {
        match self {
            Self::Answered(report) | Self::Uncounted(report) | Self::Lost(report) => report,
            Self::Refused(closing) => closing.report,
            Self::Unsent | Self::Withdrawn | Self::Elsewhere => None,
        }
    }
}

/// A 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closing<'a> {
    pub(crate) report: Option<&'a QuotaReport>,
    /// For how long.
    pub(crate) wait: Option<Duration>,
}

/// Why there is no pull now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// One is under way that has to be heard of first, in a moment.
    Alone { until: Instant },
    /// All that is left is under way; their answers may change that.
    Taken,
    /// The upstream is to be asked for free first.
    Unknown,
    /// There is none.
    Spent(SpentBy),
}

impl Refusal {
    /// What it is told as.
    pub(crate) fn by(self) -> SpentBy {
        match self {
            Self::Spent(by) => by,
            Self::Alone { .. } | Self::Taken | Self::Unknown => SpentBy::Busy,
        }
    }
}

/// What keeps a pull from being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpentBy {
    /// The quota that the upstream reports.
    Reported,
    /// The quota that is configured.
    Configured,
    /// The upstream has asked to be left alone.
    Closed,
    /// What there is, as far as is known, is under way or waited for by others.
    Busy,
}

/// A quota that has no pull left, for whoever has to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// What keeps it from being made.
    pub by: SpentBy,
    /// Whom the upstream counts for, where it says so. It goes out to clients: an operator has to know which of the mirror's
    /// addresses or accounts it is, and it opens nothing to anyone else.
    pub source: Option<String>,
    /// The registry in whose table a configured quota stands: that of another upstream may hold where both are counted as
    /// one.
    pub configured_for: Option<String>,
    /// How many pulls in a window.
    pub limit: Option<u64>,
    /// The window.
    pub window: Option<Duration>,
    /// How long until there is another one, at the latest.
    pub wait: Duration,
    /// Whether that is the end of it: a lesser quota, a reserve, may take longer.
    pub is_exact: bool,
}

/// How a quota stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whom the upstream counts for, where it says so.
    pub source: Option<String>,
    /// Pulls in a window, and the window; `None` where none is known.
    pub limit: Option<u64>,
    /// The window.
    pub window: Option<Duration>,
    /// Pulls left, those under way taken off; `None` where that was of a window that is over.
    pub left: Option<i64>,
    /// How long until the window has ended at the latest, or the upstream may be asked again.
    pub renews_within: Option<Duration>,
    /// Whether the upstream has asked to be left alone.
    pub is_closed: bool,
    /// What has the smallest share left.
    pub least: Option<SpentBy>,
    /// Pulls under way.
    pub under_way: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

impl Standing {
    /// Of several, the one with the smallest share left: what is not known any more comes last, and what never was is none.
    pub(crate) fn least(of: impl IntoIterator<Item = Standing>) -> Option<Standing> {
        let limited = of.into_iter().filter(|standing| standing.limit.is_some());
        limited.min_by(|one, other| match (one.share(), other.share()) {
            (Some(one), Some(other)) => by_share(one, other),
            (one, other) => one.is_none().cmp(&other.is_none()),
        })
    }

    fn share(&self) -> Option<(i64, u64)> {
        self.left.zip(self.limit)
    }
}

impl From<SpentBy> for metrics::QuotaLimit {
    fn from(by: SpentBy) -> Self {
        match by {
            SpentBy::Reported => Self::Reported,
            SpentBy::Configured => Self::Configured,
            SpentBy::Closed => Self::Closed,
            SpentBy::Busy => Self::Busy,
        }
    }
}

impl From<Standing> for metrics::Quota {
    fn from(standing: Standing) -> Self {
        Self {
            limit: standing.limit,
            left: standing.left,
            renews_within: standing.renews_within,
        }
    }
}
