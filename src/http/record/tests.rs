//! Lines of the log, read back.

//! The completion line: one a request, whatever becomes of it.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;

use super::*;
use crate::http::body::ResponseBody;
use crate::oci::{Algorithm, Digest};

/// Collects what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The one line that `test` logs.
    fn of(test: impl FnOnce()) -> Value {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, test);
        let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(logged.lines().count(), 1, "{logged}");
        serde_json::from_str(&logged).unwrap()
    }
}

fn record() -> Record {
    let request = Request::builder()
        .uri("/v2/x\u{7f}")
        .header("user-agent", "containerd/2.0 \u{1b}[31m")
        .header("range", "bytes=0-1");
    let request = request.body(()).unwrap_or_else(|_| Request::new(()));
    Record::for_tests(&request.into_parts().0)
}

fn of_blob() -> Record {
    of_upstream(None, Some(CacheStatus::Miss))
}

fn of_upstream(upstream: Option<&metrics::UpstreamName>, cache: Option<CacheStatus>) -> Record {
    let target = Target::for_tests(
        "docker.io/library/nginx",
        Action::Blob(Digest::of(Algorithm::Sha256, b"x")),
    );
    let mut record = record();
    record.target(&Arc::new(target), upstream);
    record.head(200, cache);
    record
}

#[test]
fn what_the_cache_gives_is_saved_upstream() {
    let upstream = metrics::UpstreamName::configured("docker.io");
    for (cache, bytes) in [
        (Some(CacheStatus::Miss), 1),
        (Some(CacheStatus::Hit), 2),
        (Some(CacheStatus::Collapsed), 4),
        // A range of a running fill may be what it was started for.
        (Some(CacheStatus::Unverified), 8),
        // An error's body is nothing of the upstream's.
        (None, 16),
    ] {
        let mut record = of_upstream(Some(&upstream), cache);
        record.sent(bytes);
    }
    let counts = upstream.counts();
    let of = |from: metrics::From| (counts.served(from), counts.served_bytes(from));
    assert_eq!(of(metrics::From::Cache), (2, 6));
    assert_eq!(of(metrics::From::Upstream), (2, 9));
    assert_eq!(counts.pulls(), 0, "no quota counts blobs");
}

fn read_all(body: ResponseBody) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _ = runtime.block_on(body.collect());
}

#[test]
fn a_whole_response_is_one_line_with_all_its_facts() {
    let line = Lines::of(|| {
        let mut body = ResponseBody::whole("hello");
        body.carry(Box::new(of_blob()));
        read_all(body);
    });
    assert_eq!(line["target"], "forebay::access");
    let fields = &line["fields"];
    assert_eq!(fields["message"], "blob");
    assert_eq!(fields["registry"], "docker.io");
    assert_eq!(fields["repository"], "library/nginx");
    assert!(fields["reference"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(
        (&fields["status"], &fields["bytes"]),
        (&200.into(), &5.into())
    );
    assert_eq!(fields["cache"], "miss");
    assert!(fields["duration_ms"].is_u64());
    assert!(fields.get("aborted").is_none() && fields.get("error").is_none());
}

#[test]
fn a_client_that_leaves_is_recorded_with_what_it_got() {
    let line = Lines::of(|| {
        let chunks = stream::iter([Ok(Bytes::from_static(b"abc"))]);
        let mut body =
            ResponseBody::stream(9, futures_util::StreamExt::chain(chunks, stream::pending()));
        body.carry(Box::new(of_blob()));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let frame = http_body::Body::poll_frame(std::pin::Pin::new(&mut body), &mut context);
        assert!(frame.is_ready());
        drop(body);
    });
    assert_eq!(line["fields"]["aborted"], "client");
    assert_eq!(line["fields"]["bytes"], 3);
}

#[test]
fn a_client_that_leaves_before_the_head_is_recorded_too() {
    let line = Lines::of(|| drop(record()));
    assert_eq!(line["fields"]["status"], 499);
    assert_eq!(line["fields"]["aborted"], "client");
}

#[test]
fn a_body_that_fails_says_how() {
    for (why, word) in [(Aborted::Cut, "cut"), (Aborted::Mismatch, "mismatch")] {
        let line = Lines::of(|| {
            let mut body = ResponseBody::stream(9, stream::iter([Err(why)]));
            body.carry(Box::new(of_blob()));
            read_all(body);
        });
        assert_eq!(line["fields"]["aborted"], word);
    }
}

#[test]
fn what_a_client_sends_is_escaped_and_capped() {
    assert_eq!(shown("a\nb\u{1b}[31m\0"), r"a\nb\u{1b}[31m\0");
    let long = shown(&"x".repeat(10_000));
    assert_eq!(long.len(), SHOWN + 3);
}
