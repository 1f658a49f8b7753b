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
mod quota;
mod recorder;
mod requests;
mod running;
mod series;
mod store;
mod tls;
mod upstream;

use std::time::Duration;

use metrics::{counter, gauge, histogram};

pub use access::{access, access_file, password_check};
pub use clients::{clients_held, clients_limited, clients_refused};
pub use label::{
    Abort, AccessOutcome, Cache, ClientLimit, Closed, FillOutcome, From, Handshake, Listener,
    Loaded, LoginOutcome, QuotaLimit, ReadPath, RequestKind, RightsOutcome, StaleReason, StoreOp,
    Swept, TagOutcome, UpstreamKind, UpstreamOutcome, WaitOutcome,
};
pub use logins::{entitlement, login};
pub use quota::{Quota, QuotaWait, quota, quota_refusal, quota_wait};
pub use recorder::{InstallError, Recorder};
pub use requests::{client_bytes, request, request_running, response_aborted, response_head};
pub use running::{Tally, Up};
pub use store::{
    StoreUsage, eviction, guarded_eviction, no_room, store_fault, store_read, store_usage, swept,
};
pub use tls::{certificate, certificate_loaded, config_reloaded, handshake};
pub use upstream::{Counts, Given, UpstreamName};

// Requests and connections of clients.

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
    let series = upstream.tags(outcome, || {
        counter!("forebay_tags_total",
            "upstream" => upstream.label(), "outcome" => outcome.as_str())
    });
    series.increment(1);
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
