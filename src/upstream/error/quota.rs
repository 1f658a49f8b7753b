//! What an error says of a quota.

use std::fmt;

use super::{ErrorKind, Unsent, UpstreamError};
use crate::upstream::quota::{Spent, SpentBy};

impl UpstreamError {
    /// A quota has no pull left; nothing was asked.
    pub(crate) fn spent(host: impl fmt::Display, spent: Spent) -> Self {
        let message = match spent.by {
            SpentBy::Reported => "the quota has no pull left",
            SpentBy::Configured => "the configured quota has no pull left",
            SpentBy::Closed => "has asked to be left alone",
            SpentBy::Busy => "others are before it at the quota",
        };
        Self {
            unsent: Some(Unsent::Quota),
            retry_after: Some(spent.wait),
            quota: Some(Box::new(spent)),
            ..Self::new(ErrorKind::TooManyRequests, host, message)
        }
    }

    /// Whether the request certainly never went out.
    pub(crate) fn is_unsent(&self) -> bool {
        self.unsent.is_some() || self.kind == ErrorKind::Policy
    }

    /// The quota that has no pull left, where that is known.
    pub fn quota(&self) -> Option<&Spent> {
        self.quota.as_deref()
    }

    /// Adds which quota it is.
    #[must_use]
    pub(crate) fn with_quota(mut self, spent: Spent) -> Self {
        if self.retry_after.is_none() {
            self.retry_after = Some(spent.wait);
        }
        self.quota = Some(Box::new(spent));
        self
    }
}
