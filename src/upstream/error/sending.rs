//! Failures of a request on its way: what the HTTP client says, as an error of ours.

use std::error::Error as StdError;
use std::fmt;

use super::{ErrorKind, TlsHint, Trouble, UpstreamError, printable, tls_hint};
use crate::upstream::address::Refused;

impl UpstreamError {
    /// A failure to get an answer at all.
    pub(crate) fn from_send(host: impl fmt::Display, error: reqwest::Error) -> Self {
        Self::from_send_with(host, error, tls_hint)
    }

    /// As [`UpstreamError::from_send`], with other advice about TLS.
    pub(crate) fn from_send_with(
        host: impl fmt::Display,
        error: reqwest::Error,
        hint: TlsHint,
    ) -> Self {
        // The URL may carry a signed query; the causes below it never do.
        let error = error.without_url();
        if let Some(refused) = cause::<Refused>(&error) {
            return Self::policy(host, refused.to_string(), Some(Refused::ALLOWED_BY));
        }
        let kind = if error.is_connect() {
            ErrorKind::Unavailable(Trouble::Connect)
        } else if error.is_timeout() {
            ErrorKind::Unavailable(Trouble::Timeout)
        } else if cause::<hyper::Error>(&error).is_some_and(hyper::Error::is_parse) {
            ErrorKind::Invalid
        } else {
            // Reset or closed before an answer: as good as no connection.
            ErrorKind::Unavailable(Trouble::Connect)
        };
        let mut message = root_message(&error);
        if let Some(hint) = cause::<rustls::Error>(&error).and_then(hint) {
            message.push_str("; ");
            message.push_str(hint);
        }
        Self::new(kind, host, message)
    }

    /// A failure in the middle of a body.
    pub(crate) fn from_body(host: impl fmt::Display, error: reqwest::Error) -> Self {
        Self::new(ErrorKind::Cut, host, root_message(&error.without_url()))
    }
}

fn chain<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // An I/O error hides what it wraps.
        let io = error.downcast_ref::<std::io::Error>();
        match io.and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

fn cause<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// The innermost cause that says something; the outer ones repeat "error sending request".
fn root_message(error: &(dyn StdError + 'static)) -> String {
    let innermost = chain(error)
        .map(ToString::to_string)
        .filter(|message| !message.is_empty())
        .last()
        .unwrap_or_default();
    printable(&innermost)
}
