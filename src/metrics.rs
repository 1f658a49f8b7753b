//! Every metric as a function: the one place that knows a metric's name.
//!
//! A leaf: it depends on nothing of this crate, and everything may call it. Labels are the enums of the `label` file and
//! [`UpstreamName`], which stands for a configured upstream; a repository, tag, digest or address is never a label, so the
//! configuration bounds the number of series.
//!
//! A gauge that counts running things is raised by a function that returns [`Up`]; dropping that value lowers it, so that
//! no path can forget to. A counter that bytes are added to bit by bit is looked up once, as a [`Tally`]; those that each
//! request for content adds to are looked up once for an upstream.
//!
//! What an upstream's name is given to is also counted beside the metrics, in its [`Counts`]; so is what clients are held
//! to, for [`clients_limited`], [`clients_held`] and [`clients_refused`].

mod access;
mod clients;
mod label;
mod logins;
mod recorder;
mod running;
mod tls;
mod upstream;

use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};

pub use access::{access, access_file, password_check};
pub use clients::{clients_held, clients_limited, clients_refused};
pub use label::{
    Abort, AccessOutcome, Cache, ClientLimit, Closed, FillOutcome, From, Handshake, Listener,
    Loaded, LoginOutcome, QuotaLimit, ReadPath, RequestKind, RightsOutcome, StaleReason, StoreOp,
    Swept, TagOutcome, UpstreamKind, UpstreamOutcome, WaitOutcome,
};
pub use logins::{entitlement, login};
pub use recorder::{InstallError, Recorder};
pub use running::{Tally, Up};
pub use tls::{certificate, certificate_loaded, config_reloaded, handshake};
pub use upstream::{Counts, Given, UpstreamName};

// Requests and connections of clients.

/// One request came to its end, whole or not.
pub fn request(kind: RequestKind, status: u16, cache: Cache) {
    counter!("forebay_requests_total",
        "kind" => kind.as_str(), "code" => code(status), "cache" => cache.as_str())
    .increment(1);
}

/// Body bytes handed to clients' connections by one request.
pub fn client_bytes(kind: RequestKind, cache: Cache, bytes: u64) {
    counter!("forebay_client_bytes_total", "kind" => kind.as_str(), "cache" => cache.as_str())
        .increment(bytes);
}

/// Time from a request's head to its response's head.
pub fn response_head(kind: RequestKind, cache: Cache, elapsed: Duration) {
    histogram!("forebay_response_head_seconds",
        "kind" => kind.as_str(), "cache" => cache.as_str())
    .record(elapsed);
}

/// A response ended before its last byte.
pub fn response_aborted(kind: RequestKind, why: Abort) {
    counter!("forebay_responses_aborted_total", "kind" => kind.as_str(), "by" => why.as_str())
        .increment(1);
}

/// A request from its head to its last byte.
pub fn request_running() -> Up {
    Up::raise(gauge!("forebay_requests_running"))
}

/// A request, or a body, was held for its client's limit.
pub fn client_delayed(limit: ClientLimit) {
    clients::held(limit);
    counter!("forebay_client_delays_total", "limit" => limit.as_str()).increment(1);
}

/// A request or a connection was refused for its client's limit.
pub fn client_refused(limit: ClientLimit) {
    clients::refused(limit);
    counter!("forebay_client_refusals_total", "limit" => limit.as_str()).increment(1);
}

/// A request that is held for its client's limits.
pub fn request_held() -> Up {
    Up::raise(gauge!("forebay_requests_held"))
}

/// How many clients are remembered for their limits.
pub fn limited_clients(clients: usize) {
    clients::limited(clients);
    gauge!("forebay_clients_limited").set(lossy(clients as u64));
}

/// A trusted proxy asked and named no client.
pub fn client_unnamed() {
    counter!("forebay_clients_unnamed_total").increment(1);
}

/// An accepted connection.
pub fn connection(listener: Listener) -> Up {
    counter!("forebay_connections_total", "listener" => listener.as_str()).increment(1);
    Up::raise(gauge!("forebay_connections", "listener" => listener.as_str()))
}

/// The server ended or refused a connection on its own account.
pub fn connection_closed(why: Closed) {
    counter!("forebay_connections_closed_total", "reason" => why.as_str()).increment(1);
}

/// `accept` failed, for want of descriptors or otherwise.
pub fn accept_error(listener: Listener) {
    counter!("forebay_accept_errors_total", "listener" => listener.as_str()).increment(1);
}

// Upstreams.

/// One request to an upstream was answered or failed; each attempt counts.
pub fn upstream_request(upstream: &UpstreamName, kind: UpstreamKind, outcome: UpstreamOutcome) {
    upstream.counts().count_asked(kind, outcome);
    counter!("forebay_upstream_requests_total",
        "upstream" => upstream.label(), "kind" => kind.as_str(), "outcome" => outcome.as_str())
    .increment(1);
}

/// Time from sending a request upstream to its response's head.
pub fn upstream_head(upstream: &UpstreamName, kind: UpstreamKind, elapsed: Duration) {
    histogram!("forebay_upstream_head_seconds",
        "upstream" => upstream.label(), "kind" => kind.as_str())
    .record(elapsed);
}

/// Body bytes received from an upstream.
pub fn upstream_bytes(upstream: &UpstreamName, kind: UpstreamKind) -> Tally {
    let counter = counter!("forebay_upstream_bytes_total",
        "upstream" => upstream.label(), "kind" => kind.as_str());
    Tally::of_upstream(counter, upstream)
}

/// A client was given a manifest or a blob of an upstream. What comes from the cache is what the upstream was saved.
pub fn served(upstream: &UpstreamName, given: Given) {
    let (kind, from) = (given.kind, given.from());
    upstream.counts().count_served(&given);
    let found = || {
        let requests = counter!("forebay_served_requests_total",
            "upstream" => upstream.label(), "kind" => kind.as_str(), "from" => from.as_str());
        let bytes = counter!("forebay_served_bytes_total",
            "upstream" => upstream.label(), "kind" => kind.as_str(), "from" => from.as_str());
        [requests, bytes]
    };
    let [requests, bytes] = upstream.served(kind, from, found);
    requests.increment(1);
    bytes.increment(given.bytes);
}

/// A request was sent again after a failure (a resume that made progress is not one).
pub fn upstream_retry(upstream: &UpstreamName, kind: UpstreamKind) {
    counter!("forebay_upstream_retries_total",
        "upstream" => upstream.label(), "kind" => kind.as_str())
    .increment(1);
}

/// A blob connection to an upstream in use.
pub fn upstream_connection(upstream: &UpstreamName) -> Up {
    Up::raise(gauge!("forebay_upstream_connections", "upstream" => upstream.label()))
}

/// A host of an upstream that is left alone, or being tried again, since it has kept failing.
pub fn breaker_open(upstream: &UpstreamName) -> Up {
    Up::raise(gauge!("forebay_upstream_breakers_open", "upstream" => upstream.label()))
}

/// A failed request was not sent again: too much was being sent again already.
pub fn upstream_retry_refused(upstream: &UpstreamName) {
    counter!("forebay_upstream_retries_refused_total", "upstream" => upstream.label()).increment(1);
}

/// A token was fetched, or not.
pub fn token_fetch(upstream: &UpstreamName, outcome: UpstreamOutcome) {
    counter!("forebay_token_fetches_total",
        "upstream" => upstream.label(), "outcome" => outcome.as_str())
    .increment(1);
}

/// An upstream sent bytes that do not hash to the digest asked for.
pub fn upstream_mismatch(upstream: &UpstreamName) {
    counter!("forebay_upstream_mismatches_total", "upstream" => upstream.label()).increment(1);
}

// Quotas.

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

// The mirror.

/// A fill that runs.
pub fn fill_running() -> Up {
    Up::raise(gauge!("forebay_fills_running"))
}

/// A fill ended.
pub fn fill_finished(outcome: FillOutcome) {
    counter!("forebay_fills_total", "outcome" => outcome.as_str()).increment(1);
}

/// A fill asked again for what a cut or a restart had left.
pub fn fill_resumed() {
    counter!("forebay_fill_resumes_total").increment(1);
}

/// A request that reads a fill started by another; counts it and holds the gauge.
pub fn follower() -> Up {
    counter!("forebay_followers_total").increment(1);
    Up::raise(gauge!("forebay_followers"))
}

/// A reader went on alone from the upstream, since the store could not take or give the bytes.
pub fn solo() -> Up {
    counter!("forebay_solo_total").increment(1);
    Up::raise(gauge!("forebay_solo_running"))
}

/// A request for a tag was decided.
pub fn tag(upstream: &UpstreamName, outcome: TagOutcome) {
    counter!("forebay_tags_total",
        "upstream" => upstream.label(), "outcome" => outcome.as_str())
    .increment(1);
}

/// A stale tag was served.
pub fn stale_served(upstream: &UpstreamName, reason: StaleReason) {
    upstream.counts().count_stale(reason);
    counter!("forebay_stale_served_total",
        "upstream" => upstream.label(), "reason" => reason.as_str())
    .increment(1);
}

/// A repository's right to a private blob was checked upstream.
pub fn rights_check(upstream: &UpstreamName, outcome: RightsOutcome) {
    counter!("forebay_rights_checks_total",
        "upstream" => upstream.label(), "outcome" => outcome.as_str())
    .increment(1);
}

// The store.

/// What the cache holds and may hold, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// Committed blobs.
    pub committed: u64,
    /// Partial files and reservations.
    pub partial: u64,
    /// The index.
    pub index: u64,
    /// The configured limit.
    pub limit: u64,
    /// The part of the committed blobs that eviction spares: what manifests of the last hour need.
    pub guarded: u64,
    /// The number of committed blobs.
    pub blobs: u64,
}

/// The store's present usage.
pub fn store_usage(usage: StoreUsage) {
    for (state, bytes) in [
        ("committed", usage.committed),
        ("partial", usage.partial),
        ("index", usage.index),
    ] {
        gauge!("forebay_store_bytes", "state" => state).set(lossy(bytes));
    }
    gauge!("forebay_store_limit_bytes").set(lossy(usage.limit));
    gauge!("forebay_store_guarded_bytes").set(lossy(usage.guarded));
    gauge!("forebay_store_blobs").set(lossy(usage.blobs));
}

/// A blob was evicted.
pub fn eviction(bytes: u64) {
    counter!("forebay_evictions_total").increment(1);
    counter!("forebay_evicted_bytes_total").increment(bytes);
}

/// A blob was evicted that a manifest of the last hour needs: nothing else made the room.
pub fn guarded_eviction() {
    counter!("forebay_guarded_evictions_total").increment(1);
}

/// A reservation found no room, even after eviction.
pub fn no_room() {
    counter!("forebay_store_no_room_total").increment(1);
}

/// The store met a fault of the disk or the index.
pub fn store_fault(op: StoreOp) {
    counter!("forebay_store_faults_total", "op" => op.as_str()).increment(1);
}

/// The sweep dealt with a file that the index did not know.
pub fn swept(what: Swept) {
    counter!("forebay_store_swept_total", "outcome" => what.as_str()).increment(1);
}

/// Bytes of stored bodies that were read.
pub fn store_read(path: ReadPath) -> Tally {
    Tally::new(counter!("forebay_store_read_bytes_total", "path" => path.as_str()))
}

/// Says which version runs, as a constant series.
pub fn build_info(version: &'static str) {
    gauge!("forebay_build_info", "version" => version).set(1.0);
}

/// Gauges are floating point; above 2^53 bytes the last digits are of no interest.
#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge needs no exact bytes above 8 PiB"
)]
fn lossy(value: u64) -> f64 {
    value as f64
}

/// The statuses that this server sends, so that the label stays an enumeration.
fn code(status: u16) -> &'static str {
    match status {
        200 => "200",
        206 => "206",
        304 => "304",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        413 => "413",
        416 => "416",
        429 => "429",
        499 => "499",
        500 => "500",
        502 => "502",
        503 => "503",
        504 => "504",
        _ => "other",
    }
}
