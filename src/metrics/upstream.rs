//! A configured upstream, as a label and as what is counted of it beside the metrics, so that the process can tell itself
//! how things stand (`/api/status`): what it exports, it can't read back.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, SharedString};

use super::label::{
    Cache, From, QuotaLimit, RequestKind, StaleReason, TagOutcome, UpstreamKind, UpstreamOutcome,
};
use super::series::Series;

/// The label of one configured upstream: its name in the configuration (for a pattern, the pattern),
/// so that a family of registries stays one series. Clones share what is counted, and cost one reference: each request has
/// one.
#[derive(Clone)]
pub struct UpstreamName(Arc<Named>);

struct Named {
    name: Arc<str>,
    counts: Counts,
    served: Series<[Counter; 2], { From::ALL.len() * RequestKind::ALL.len() }>,
    tags: Series<Counter, { TagOutcome::ALL.len() }>,
}

impl UpstreamName {
    /// `name` is the key of the upstream's table in the configuration.
    pub fn configured(name: &str) -> Self {
        Self(Arc::new(Named {
            name: Arc::from(name),
            counts: Counts::default(),
            served: Series::new(),
            tags: Series::new(),
        }))
    }

    /// The configured name.
    pub fn as_str(&self) -> &str {
        &self.0.name
    }

    /// What was counted of it since the start.
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// The series of what clients were given: requests and bytes. Looked up when there are any.
    pub(super) fn served(
        &self,
        kind: RequestKind,
        from: From,
        look_up: impl FnOnce() -> [Counter; 2],
    ) -> &[Counter; 2] {
        let place = kind as usize * From::ALL.len() + from as usize;
        self.0.served.get(place, look_up)
    }

    /// The series of how requests for its tags were decided.
    pub(super) fn tags(&self, outcome: TagOutcome, look_up: impl FnOnce() -> Counter) -> &Counter {
        self.0.tags.get(outcome as usize, look_up)
    }

    pub(super) fn label(&self) -> SharedString {
        SharedString::from_shared(Arc::clone(&self.0.name))
    }
}

impl fmt::Debug for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UpstreamName").field(&self.as_str()).finish()
    }
}

impl PartialEq for UpstreamName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for UpstreamName {}

impl Hash for UpstreamName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// What of an upstream's a client was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// What it was.
    pub kind: RequestKind,
    /// How the cache took part in it.
    pub cache: Cache,
    /// Whether it was asked for by GET: for a manifest, what quotas count.
    pub is_get: bool,
    /// Bytes of its body.
    pub bytes: u64,
}

impl Given {
    pub(super) fn from(&self) -> From {
        match self.cache {
            Cache::Hit | Cache::Revalidated | Cache::Collapsed | Cache::Stale => From::Cache,
            // A range of a running fill may well be what it was started for.
            Cache::Unverified | Cache::Miss | Cache::Bypass | Cache::None => From::Upstream,
        }
    }
}

/// What was counted of an upstream since the start of the process.
#[derive(Debug, Default)]
pub struct Counts {
    asked: [Count; UpstreamKind::ALL.len()],
    outcomes: [Count; UpstreamOutcome::ALL.len()],
    bytes: Count,
    hot: Hot,
    stale: [Count; StaleReason::ALL.len()],
    refused: [Count; QuotaLimit::ALL.len()],
    waits: Count,
    waited_ms: Count,
}

/// What each request adds to, on cache lines of its own: fills count their bytes beside it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Hot {
    served: [Count; From::ALL.len()],
    served_bytes: [Count; From::ALL.len()],
    pulls: Count,
}

/// Goes up only.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counts {
    /// Requests of a kind that were sent to it, each attempt counted.
    pub fn asked(&self, kind: UpstreamKind) -> u64 {
        self.asked[kind as usize].get()
    }

    /// Requests to it that ended so.
    pub fn ended(&self, outcome: UpstreamOutcome) -> u64 {
        self.outcomes[outcome as usize].get()
    }

    /// Bytes of bodies that it sent.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Requests of clients for its manifests and blobs that were answered with them.
    pub fn served(&self, from: From) -> u64 {
        self.hot.served[from as usize].get()
    }

    /// Bytes of those that clients were sent.
    pub fn served_bytes(&self, from: From) -> u64 {
        self.hot.served_bytes[from as usize].get()
    }

    /// GETs of its manifests that were answered, which it would have counted.
    pub fn pulls(&self) -> u64 {
        self.hot.pulls.get()
    }

    /// Stale answers for a reason.
    pub fn stale(&self, reason: StaleReason) -> u64 {
        self.stale[reason as usize].get()
    }

    /// Pulls that were not made.
    pub fn refused(&self, limit: QuotaLimit) -> u64 {
        self.refused[limit as usize].get()
    }

    /// How many requests have waited for its quota, and for how long in all.
    pub fn waits(&self) -> (u64, Duration) {
        (
            self.waits.get(),
            Duration::from_millis(self.waited_ms.get()),
        )
    }

    pub(super) fn count_asked(&self, kind: UpstreamKind, outcome: UpstreamOutcome) {
        // What its breaker holds back never went out.
        if outcome != UpstreamOutcome::Breaker {
            self.asked[kind as usize].add(1);
        }
        self.outcomes[outcome as usize].add(1);
    }

    pub(super) fn count_bytes(&self, bytes: usize) {
        self.bytes.add(bytes as u64);
    }

    pub(super) fn count_served(&self, given: &Given) {
        let from = given.from();
        self.hot.served[from as usize].add(1);
        self.hot.served_bytes[from as usize].add(given.bytes);
        if given.is_get && given.kind == RequestKind::Manifest {
            self.hot.pulls.add(1);
        }
    }

    pub(super) fn count_stale(&self, reason: StaleReason) {
        self.stale[reason as usize].add(1);
    }

    pub(super) fn count_refused(&self, limit: QuotaLimit) {
        self.refused[limit as usize].add(1);
    }

    pub(super) fn count_wait(&self, waited: Duration) {
        self.waits.add(1);
        let millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.waited_ms.add(millis);
    }
}
