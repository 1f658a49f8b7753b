//! What an [`Origin`] says about the requests that it got, and waits for some.

use std::ops::Range;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::handle::Origin;
use super::record::{Counts, repeated};
use super::request::{Request, When};

/// How long the waits below last before they give up, in the belief that what
/// they wait for will not come.
const PATIENCE: Duration = Duration::from_secs(30);

impl Origin {
    /// Sums by kind, since the start or the last reset.
    pub fn counts(&self) -> Counts {
        self.state.log.counts()
    }

    /// Every request in order of arrival, since the start or the last reset.
    pub fn requests(&self) -> Vec<Request> {
        self.state.log.snapshot()
    }

    /// The requests that `when` selects.
    pub fn requests_for(&self, when: impl Into<When>) -> Vec<Request> {
        let when = when.into();
        let mut requests = self.requests();
        requests.retain(|request| when.matches(request));
        requests
    }

    /// Forgets the record. What still runs is not recorded further.
    pub fn reset(&self) {
        self.state.log.reset();
    }

    /// Bytes of this blob that sockets took, over all responses.
    pub fn body_bytes(&self, digest: impl AsRef<str>) -> u64 {
        let digest = digest.as_ref();
        self.state
            .log
            .sum(|request| u64::from(request.is_body_of(digest)) * request.body_bytes)
    }

    /// The parts of this blob that responses set out to send, in order.
    pub fn ranges_requested(&self, digest: impl AsRef<str>) -> Vec<Range<u64>> {
        let bodies = self.bodies(digest.as_ref());
        bodies
            .into_iter()
            .filter_map(|request| request.span)
            .collect()
    }

    /// The parts of this blob that sockets took, in order of request.
    pub fn ranges_sent(&self, digest: impl AsRef<str>) -> Vec<Range<u64>> {
        let bodies = self.bodies(digest.as_ref());
        let sent = |request: Request| {
            request
                .span
                .map(|span| span.start..span.start + request.body_bytes)
        };
        bodies.into_iter().filter_map(sent).collect()
    }

    /// How many bytes of this blob were asked for more than once.
    pub fn repeated_bytes_requested(&self, digest: impl AsRef<str>) -> u64 {
        repeated(&self.ranges_requested(digest))
    }

    /// How many bytes of this blob were sent more than once.
    pub fn repeated_bytes_sent(&self, digest: impl AsRef<str>) -> u64 {
        repeated(&self.ranges_sent(digest))
    }

    fn bodies(&self, digest: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.is_body_of(digest));
        requests
    }

    /// Returns once `count` requests that `when` selects have arrived since the
    /// start or the last reset.
    ///
    /// # Panics
    ///
    /// After 30 s, with a list of what did arrive.
    pub async fn arrived(&self, when: impl Into<When>, count: usize) {
        let when = when.into();
        let what = format!("{count} requests of {when:?}");
        let arrived = || {
            self.state
                .log
                .sum(|request| u64::from(when.matches(request)))
        };
        self.wait(&what, || arrived() >= count as u64).await;
    }

    /// Returns once sockets have taken `bytes` of this blob's body.
    ///
    /// # Panics
    ///
    /// After 30 s, with a list of what did happen.
    pub async fn sent(&self, digest: impl AsRef<str>, bytes: u64) {
        let digest = digest.as_ref();
        let what = format!("{bytes} bytes of {digest}");
        self.wait(&what, || self.body_bytes(digest) >= bytes).await;
    }

    /// Returns once `condition` holds for the record; it is asked after each
    /// change.
    ///
    /// # Panics
    ///
    /// After 30 s, with `what` was waited for and a list of what did happen.
    pub async fn until(&self, what: &str, condition: impl Fn(&[Request]) -> bool) {
        self.wait(what, || condition(&self.requests())).await;
    }

    async fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut news = self.state.log.subscribe();
        while !condition() {
            let changed = timeout_at(deadline, news.changed()).await;
            assert!(
                changed.is_ok(),
                "waited in vain for {what}; requests:\n{}",
                listed(&self.requests())
            );
        }
    }
}

fn listed(requests: &[Request]) -> String {
    let line = |request: &Request| {
        let Request {
            kind,
            method,
            target,
            range,
            status,
            body_bytes,
            outcome,
            ..
        } = request;
        format!(
            "  {kind:?} {method} {target} {range:?}: {status:?}, {body_bytes} bytes, {outcome:?}\n"
        )
    };
    requests.iter().map(line).collect()
}
