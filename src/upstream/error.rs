//! What can go wrong with an upstream: the kind, whose fault it was, whether asking again or serving
//! something stale can help.
//!
//! An error holds a host and a message made here or taken from the registry's own error body; never
//! a URL, so that no signed query, token or password can be printed.

mod hints;
mod quota;
mod sending;
mod words;

pub(crate) use hints::{TlsHint, machines_tls_hint, tls_hint};
#[cfg(feature = "aws")]
pub(crate) use words::causes;
pub(crate) use words::{printable, repeats};

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use http::HeaderValue;

use super::quota::Spent;
use crate::metrics::UpstreamOutcome;
use crate::oci::ErrorCode;

/// A failed request to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamError {
    kind: ErrorKind,
    host: String,
    message: String,
    /// What the operator alone is told.
    cause: Option<String>,
    retry_after: Option<Duration>,
    allowed_by: Option<&'static str>,
    beyond_redirect: bool,
    too_large: bool,
    unsent: Option<Unsent>,
    quota: Option<Box<Spent>>,
}

/// What kept a request from being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsent {
    /// Its host has kept failing.
    Breaker,
    /// A quota has no pull left.
    Quota,
}

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The registry says that there is no such thing. A true 404, worth remembering for seconds.
    NotFound {
        /// `NAME_UNKNOWN`, `MANIFEST_UNKNOWN` or `BLOB_UNKNOWN`.
        code: ErrorCode,
    },
    /// The registry, or its token service, asks for a login or refuses the configured one.
    Unauthorized,
    /// The registry knows who asks, and says no.
    Denied,
    /// A quota is spent, or abuse control has stepped in.
    TooManyRequests,
    /// Out of reach, too slow, or failing.
    Unavailable(Trouble),
    /// The body ended before its length.
    Cut,
    /// An answer that breaks the protocol or forebay's limits.
    Invalid,
    /// The answer led to where forebay does not go.
    Policy,
    /// The blob has no such bytes.
    RangeUnsatisfiable {
        /// The blob's size, where the registry said it.
        size: Option<u64>,
    },
    /// The registry does not do this (404 without a body's code for an API, 405, 501).
    Unsupported,
}

/// How an upstream is unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No connection: name, route, refusal, TLS.
    Connect,
    /// Connected, and no answer in time.
    Timeout,
    /// A status: 408 or 5xx.
    Status(u16),
    /// The login that it takes can't be had: a credential helper or a cloud fails.
    Login,
    /// The proxy on the way wants another login.
    Proxy,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The one who asked for it.
    Client,
    /// The one who configured forebay.
    Operator,
    /// The upstream, or the network on the way.
    Upstream,
}

impl UpstreamError {
    pub(crate) fn new(
        kind: ErrorKind,
        host: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        UpstreamError {
            kind,
            host: host.to_string(),
            message: message.into(),
            cause: None,
            retry_after: None,
            allowed_by: None,
            beyond_redirect: false,
            too_large: false,
            unsent: None,
            quota: None,
        }
    }

    /// An answer that breaks forebay's limits.
    pub(crate) fn too_large(host: impl fmt::Display, message: impl Into<String>) -> Self {
        Self {
            too_large: true,
            ..Self::invalid(host, message)
        }
    }

    pub(crate) fn invalid(host: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, host, message)
    }

    /// An answer that led to where forebay does not go; `key` of the upstream's table would have allowed it.
    pub(crate) fn policy(
        host: impl fmt::Display,
        message: impl Into<String>,
        key: Option<&'static str>,
    ) -> Self {
        Self {
            allowed_by: key,
            ..Self::new(ErrorKind::Policy, host, message)
        }
    }

    pub(crate) fn timeout(host: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable(Trouble::Timeout), host, message)
    }

    /// What lies behind it, which clients are not told.
    #[must_use]
    pub(crate) fn because(mut self, cause: String) -> Self {
        self.cause = Some(cause);
        self
    }

    /// As it is printed for the operator alone.
    pub fn for_operator(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{}: {cause}", self.host),
            None => self.to_string(),
        }
    }

    #[must_use]
    pub(crate) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// Puts what it means before what was said.
    #[must_use]
    pub(crate) fn explained(mut self, kind: ErrorKind, what: impl fmt::Display) -> Self {
        self.kind = kind;
        self.message = format!("{what} ({})", self.message);
        self
    }

    /// As [`UpstreamError::without`], for what was sent in a header.
    #[must_use]
    pub(crate) fn without_header(self, login: &HeaderValue) -> Self {
        let secret = login
            .to_str()
            .ok()
            .and_then(|login| login.split(' ').next_back());
        match secret {
            Some(secret) => self.without(secret),
            None => self,
        }
    }

    /// An upstream that repeats a login in its message is not repeated.
    #[must_use]
    pub(crate) fn without(mut self, secret: &str) -> Self {
        if repeats(&self.message, secret) {
            "its message is withheld, since it repeats the login".clone_into(&mut self.message);
        }
        self.cause = self.cause.filter(|cause| !repeats(cause, secret));
        self
    }

    /// Says it in other words.
    #[must_use]
    pub(crate) fn reworded(mut self, words: impl FnOnce(&str) -> String) -> Self {
        self.message = words(&self.message);
        self
    }

    /// The registry led elsewhere, and that place failed.
    #[must_use]
    pub(crate) fn at_redirect(mut self) -> Self {
        self.beyond_redirect = true;
        self
    }

    /// The key of the upstream's table that allows what [`ErrorKind::Policy`] refuses; `None` where nothing does.
    pub fn allowed_by(&self) -> Option<&'static str> {
        self.allowed_by
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The host that the failure is about.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whose fault it was.
    pub fn fault(&self) -> Fault {
        match self.kind {
            ErrorKind::NotFound { .. } | ErrorKind::RangeUnsatisfiable { .. } => Fault::Client,
            ErrorKind::Unauthorized
            | ErrorKind::Denied
            | ErrorKind::Policy
            | ErrorKind::Unavailable(Trouble::Login | Trouble::Proxy) => Fault::Operator,
            ErrorKind::TooManyRequests
            | ErrorKind::Unavailable(_)
            | ErrorKind::Cut
            | ErrorKind::Invalid
            | ErrorKind::Unsupported => Fault::Upstream,
        }
    }

    /// Whether the upstream is in trouble, so that a stale answer may be served: it can't be reached,
    /// is too slow, fails, or refuses for load. Never for 401, 403 or 404.
    pub fn is_trouble(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Unavailable(_) | ErrorKind::TooManyRequests | ErrorKind::Cut
        )
    }

    /// Whether the same request may succeed soon: 408, 429, 500, 502, 503, 504, and faults of the
    /// connection.
    pub fn may_retry(&self) -> bool {
        match self.kind {
            ErrorKind::Unavailable(Trouble::Status(status)) => {
                matches!(status, 408 | 500 | 502 | 503 | 504)
            }
            ErrorKind::Unavailable(Trouble::Login | Trouble::Proxy) => false,
            ErrorKind::Unavailable(_) | ErrorKind::TooManyRequests | ErrorKind::Cut => true,
            _ => false,
        }
    }

    /// What it counts as.
    pub(crate) fn outcome(&self) -> UpstreamOutcome {
        if self.is_not_asked() {
            return UpstreamOutcome::Breaker;
        }
        match self.kind {
            // What is not there: a blob's bytes beyond its end, an API, or the thing itself.
            ErrorKind::NotFound { .. }
            | ErrorKind::RangeUnsatisfiable { .. }
            | ErrorKind::Unsupported => UpstreamOutcome::NotFound,
            ErrorKind::Unauthorized
            | ErrorKind::Denied
            | ErrorKind::Unavailable(Trouble::Login) => UpstreamOutcome::Denied,
            ErrorKind::TooManyRequests => UpstreamOutcome::TooManyRequests,
            ErrorKind::Unavailable(Trouble::Connect | Trouble::Proxy) => UpstreamOutcome::Connect,
            ErrorKind::Unavailable(Trouble::Timeout) => UpstreamOutcome::Timeout,
            ErrorKind::Unavailable(Trouble::Status(_)) => UpstreamOutcome::ServerError,
            ErrorKind::Cut => UpstreamOutcome::Cut,
            ErrorKind::Invalid => UpstreamOutcome::Invalid,
            ErrorKind::Policy => UpstreamOutcome::Policy,
        }
    }

    /// How long the upstream asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether what failed is the place that the registry redirected to, such as a signed URL that
    /// has expired; the registry may then lead to a better one.
    pub fn is_beyond_redirect(&self) -> bool {
        self.beyond_redirect
    }

    /// Whether the registry itself says no: it has no such thing, or not for this login. Asking again
    /// changes nothing; asking another source may.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::NotFound { .. } | ErrorKind::Unauthorized | ErrorKind::Denied
        )
    }

    /// Whether the registry says no to the login, rather than to what was asked for.
    pub(crate) fn is_no_to_login(&self) -> bool {
        matches!(self.kind, ErrorKind::Unauthorized | ErrorKind::Denied) && !self.beyond_redirect
    }

    /// This failure, for one who was not sent to the host on account of it, and will not be for `wait`.
    #[must_use]
    pub(crate) fn not_asked(mut self, wait: Duration) -> Self {
        self.unsent = Some(Unsent::Breaker);
        self.retry_after = Some(wait);
        self
    }

    /// Whether nothing was asked, since the host has kept failing: the error is an earlier question's.
    pub(crate) fn is_not_asked(&self) -> bool {
        self.unsent == Some(Unsent::Breaker)
    }

    /// For how long its host is left alone, where nothing was asked on account of that.
    pub fn left_alone(&self) -> Option<Duration> {
        self.retry_after.filter(|_| self.is_not_asked())
    }

    /// Whether there is an answer, larger than it may be. Less of it may be asked for.
    pub fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// Whether the blob has no such bytes.
    pub fn is_range_refused(&self) -> bool {
        matches!(self.kind, ErrorKind::RangeUnsatisfiable { .. })
    }

    /// Whether the host itself is in trouble: out of reach, too slow, or failing by its own word. A refusal is none, and
    /// neither is a quota.
    pub(crate) fn is_failure_of_host(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Unavailable(Trouble::Connect | Trouble::Timeout | Trouble::Status(_))
        )
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.host, self.message)?;
        if let Some(wait) = self.retry_after.filter(|_| !self.is_not_asked()) {
            write!(f, " (asks to wait {} s)", wait.as_secs())?;
        }
        Ok(())
    }
}

impl StdError for UpstreamError {}

#[cfg(test)]
mod tests;
