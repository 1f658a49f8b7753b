//! The record of one request: its line in the log and its share of the metrics, written when the
//! record goes, which is after the response's last byte, or when the client has left.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{HeaderValue, RANGE, USER_AGENT};
use http::request::Parts;
use http::{Method, Uri};
use tokio::time::Instant;

use super::body::Aborted;
use super::client::ClientAddr;
use super::headers::Headers;
use super::route::{Action, Target};
use crate::metrics;
use crate::mirror::CacheStatus;
use crate::oci::Reference;

/// The target of the lines that there is one of for each request.
pub const REQUESTS: &str = "forebay::access";
/// Status of a request whose client left before there was a response, as nginx writes it.
const LEFT: u16 = 499;
/// Longest text of a client that a log line takes.
const SHOWN: usize = 200;

/// What is known of a request so far. What its client wrote is kept as it came, and made fit for a line when there is one.
pub(super) struct Record {
    started: Instant,
    method: Method,
    client: ClientAddr,
    /// The name that the client has proven.
    name: Option<String>,
    uri: Uri,
    user_agent: Option<HeaderValue>,
    range: Option<HeaderValue>,
    target: Option<Arc<Target>>,
    upstream: Option<metrics::UpstreamName>,
    kind: metrics::RequestKind,
    status: Option<u16>,
    cache: Option<CacheStatus>,
    error: Option<String>,
    expected: u64,
    sent: u64,
    aborted: Option<Aborted>,
    _running: metrics::Up,
}

impl Record {
    /// Of a request of `client`, whose head was read at `started`.
    pub(super) fn new(
        request: &Parts,
        headers: Headers<'_>,
        client: ClientAddr,
        started: Instant,
    ) -> Self {
        Self {
            started,
            method: request.method.clone(),
            client,
            name: None,
            uri: request.uri.clone(),
            user_agent: headers.all.get(USER_AGENT).cloned(),
            range: headers.notable.get(RANGE).cloned(),
            target: None,
            upstream: None,
            kind: metrics::RequestKind::Other,
            status: None,
            cache: None,
            error: None,
            expected: 0,
            sent: 0,
            aborted: None,
            _running: metrics::request_running(),
        }
    }

    #[cfg(test)]
    pub(super) fn for_tests(request: &Parts) -> Self {
        let somewhere = std::net::SocketAddr::from(([192, 0, 2, 1], 1));
        let headers = Headers::of(&request.headers);
        Self::new(request, headers, somewhere.into(), Instant::now())
    }

    /// The client has proven to be called this.
    pub(super) fn named(&mut self, name: &str) {
        self.name = Some(shown(name));
    }

    /// The request is a ping.
    pub(super) fn ping(&mut self) {
        self.kind = metrics::RequestKind::Ping;
    }

    /// The request is for what is cached.
    pub(super) fn catalog(&mut self) {
        self.kind = metrics::RequestKind::Catalog;
    }

    /// The request is about a repository, of this upstream.
    pub(super) fn target(
        &mut self,
        target: &Arc<Target>,
        upstream: Option<&metrics::UpstreamName>,
    ) {
        self.kind = target.kind();
        self.target = Some(Arc::clone(target));
        self.upstream = upstream.cloned();
    }

    /// The response's head is known.
    pub(super) fn head(&mut self, status: u16, cache: Option<CacheStatus>) {
        self.status = Some(status);
        self.cache = cache;
        metrics::response_head(self.kind, label(cache), self.started.elapsed());
    }

    /// Why the response is an error.
    pub(super) fn error(&mut self, error: String) {
        self.error = Some(error);
    }

    pub(super) fn expect(&mut self, bytes: u64) {
        self.expected = bytes;
    }

    pub(super) fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    pub(super) fn aborted(&mut self, why: Aborted) {
        self.aborted = Some(why);
    }

    /// Why the response did not end as it should, if so. A client that left looks like one that was cut
    /// off by a timeout or by the drain: its body is dropped.
    fn abort(&self) -> Option<metrics::Abort> {
        match self.aborted {
            Some(Aborted::Cut) => Some(metrics::Abort::Cut),
            Some(Aborted::Mismatch) => Some(metrics::Abort::Mismatch),
            None if self.status.is_none() || self.sent < self.expected => {
                Some(metrics::Abort::Client)
            }
            None => None,
        }
    }

    /// What the client was given of an upstream's, if anything.
    fn given(&self) -> Option<metrics::Given> {
        let is_content = matches!(
            self.kind,
            metrics::RequestKind::Manifest | metrics::RequestKind::Blob
        );
        // Only what was served has a cache status; a 304 is served as well.
        self.cache
            .filter(|_| is_content)
            .map(|cache| metrics::Given {
                kind: self.kind,
                cache: label(Some(cache)),
                is_get: self.method == Method::GET,
                bytes: self.sent,
            })
    }

    fn log(&self, status: u16, aborted: Option<metrics::Abort>) {
        let target = self.target.as_ref();
        tracing::info!(
            target: REQUESTS,
            message = self.kind.as_str(),
            client = %self.client.text(),
            name = self.name.as_deref(),
            method = self.method.as_str(),
            // The names say it all where there are any.
            path = target.is_none().then(|| shown(self.uri.path())),
            registry = target.map(|target| target.repository.registry.as_str()),
            repository = target.map(|target| target.repository.name.as_str()),
            reference = target.map(|target| wanted(&target.action)).as_deref(),
            range = self.range.as_ref().map(field),
            status,
            cache = self.cache.map(CacheStatus::as_str),
            bytes = self.sent,
            duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            aborted = aborted.map(metrics::Abort::as_str),
            error = self.error.as_deref(),
            user_agent = self.user_agent.as_ref().map(field),
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let status = self.status.unwrap_or(LEFT);
        let aborted = self.abort();
        let cache = label(self.cache);
        metrics::request(self.kind, status, cache);
        metrics::client_bytes(self.kind, cache, self.sent);
        if let (Some(upstream), Some(given)) = (&self.upstream, self.given()) {
            metrics::served(upstream, given);
        }
        if let Some(why) = aborted {
            metrics::response_aborted(self.kind, why);
        }
        self.log(status, aborted);
    }
}

/// The part of a route that tells one request to a repository from another.
fn wanted(action: &Action) -> Cow<'_, str> {
    match action {
        Action::Manifest(Reference::Tag(tag)) => Cow::Borrowed(tag.as_str()),
        Action::Manifest(Reference::Digest(digest))
        | Action::Blob(digest)
        | Action::Referrers { digest, .. } => Cow::Owned(digest.to_string()),
        Action::Tags(_) => Cow::Borrowed("tags"),
    }
}

fn field(value: &HeaderValue) -> String {
    shown(&String::from_utf8_lossy(value.as_bytes()))
}

/// Text of a client as a log line may hold it.
fn shown(text: &str) -> String {
    let head: String = text.chars().take(SHOWN).collect();
    let cut = if head.len() < text.len() { "..." } else { "" };
    format!("{}{cut}", head.escape_debug())
}

fn label(cache: Option<CacheStatus>) -> metrics::Cache {
    match cache {
        None => metrics::Cache::None,
        Some(CacheStatus::Hit) => metrics::Cache::Hit,
        Some(CacheStatus::Revalidated) => metrics::Cache::Revalidated,
        Some(CacheStatus::Miss | CacheStatus::MissAfterWait) => metrics::Cache::Miss,
        Some(CacheStatus::Collapsed) => metrics::Cache::Collapsed,
        Some(CacheStatus::Unverified) => metrics::Cache::Unverified,
        Some(CacheStatus::Bypass) => metrics::Cache::Bypass,
        Some(CacheStatus::Stale(_)) => metrics::Cache::Stale,
    }
}

#[cfg(test)]
mod tests;
