//! What each request of a client counts.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::label::{Abort, Cache, RequestKind};
use super::running::Up;
use super::series::Series;

const KINDS: usize = RequestKind::ALL.len();
const CACHES: usize = Cache::ALL.len();
const CODES: usize = SENT.len() + 1;

/// The statuses that this server sends, so that the label stays an enumeration.
const SENT: [(u16, &str); 16] = [
    (200, "200"),
    (206, "206"),
    (304, "304"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (413, "413"),
    (416, "416"),
    (429, "429"),
    (499, "499"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
];

static REQUESTS: Series<Counter, { KINDS * CACHES * CODES }> = Series::new();
static BYTES: Series<Counter, { KINDS * CACHES }> = Series::new();
static HEADS: Series<Histogram, { KINDS * CACHES }> = Series::new();
static RUNNING: Series<Gauge, 1> = Series::new();

/// One request came to its end, whole or not.
pub fn request(kind: RequestKind, status: u16, cache: Cache) {
    let code = SENT.iter().position(|(sent, _)| *sent == status);
    let code = code.unwrap_or(SENT.len());
    let place = place(kind, cache) * CODES + code;
    let series = REQUESTS.get(place, || {
        let code = SENT.get(code).map_or("other", |(_, text)| text);
        counter!("forebay_requests_total",
            "kind" => kind.as_str(), "code" => code, "cache" => cache.as_str())
    });
    series.increment(1);
}

/// Body bytes handed to clients' connections by one request.
pub fn client_bytes(kind: RequestKind, cache: Cache, bytes: u64) {
    let series = BYTES.get(place(kind, cache), || {
        counter!("forebay_client_bytes_total", "kind" => kind.as_str(), "cache" => cache.as_str())
    });
    series.increment(bytes);
}

/// Time from a request's head to its response's head.
pub fn response_head(kind: RequestKind, cache: Cache, elapsed: Duration) {
    let series = HEADS.get(place(kind, cache), || {
        histogram!("forebay_response_head_seconds",
            "kind" => kind.as_str(), "cache" => cache.as_str())
    });
    series.record(elapsed);
}

/// A response ended before its last byte.
pub fn response_aborted(kind: RequestKind, why: Abort) {
    counter!("forebay_responses_aborted_total", "kind" => kind.as_str(), "by" => why.as_str())
        .increment(1);
}

/// A request from its head to its last byte.
pub fn request_running() -> Up {
    Up::raise(
        RUNNING
            .get(0, || gauge!("forebay_requests_running"))
            .clone(),
    )
}

fn place(kind: RequestKind, cache: Cache) -> usize {
    kind as usize * CACHES + cache as usize
}
