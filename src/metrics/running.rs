//! What is held while it counts: a gauge that is raised, a counter of bytes.

use metrics::{Counter, Gauge};

use super::upstream::UpstreamName;

/// One running thing in a gauge, for as long as this value lives.
#[must_use = "dropping it lowers the gauge again"]
#[derive(Debug)]
pub struct Up(Gauge);

impl Up {
    pub(super) fn raise(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A counter of bytes, found once, so that each part of a body costs one addition and no look-up.
#[derive(Debug)]
pub struct Tally {
    counter: Counter,
    upstream: Option<UpstreamName>,
}

impl Tally {
    pub(super) fn new(counter: Counter) -> Self {
        Self {
            counter,
            upstream: None,
        }
    }

    /// Of bytes that an upstream sent.
    pub(super) fn of_upstream(counter: Counter, upstream: &UpstreamName) -> Self {
        Self {
            counter,
            upstream: Some(upstream.clone()),
        }
    }

    /// Counts more bytes.
    pub fn add(&self, bytes: usize) {
        self.counter.increment(bytes as u64);
        if let Some(upstream) = &self.upstream {
            upstream.counts().count_bytes(bytes);
        }
    }
}
