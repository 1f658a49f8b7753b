//! A response as the origin decides on it, before faults are applied and before
//! it is put on the wire.

use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

/// A response. Tests make one to script an answer, see [`super::Fault::Answer`].
#[derive(Clone, Debug)]
pub struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) part: Option<Part>,
}

/// Which part of some content a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) span: Range<u64>,
    pub(crate) total: u64,
}

impl Reply {
    /// An empty response.
    ///
    /// # Panics
    ///
    /// If `status` is not between 100 and 999.
    pub fn status(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("the status has three digits"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            part: None,
        }
    }

    /// Sets a header, in place of what it was.
    ///
    /// # Panics
    ///
    /// If name or value can't be a header's.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let name: HeaderName = name.parse().expect("the header's name is valid");
        let value = HeaderValue::from_str(value.as_ref()).expect("the header's value is valid");
        self.headers.insert(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a JSON body with its type.
    #[must_use]
    pub fn json(self, value: &Value) -> Self {
        self.header(CONTENT_TYPE.as_str(), "application/json")
            .body(value.to_string())
    }

    /// An error as the distribution specification writes it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::status(status).json(&json!({"errors": [{"code": code, "message": message}]}))
    }

    /// Docker Hub's 429 when the quota is spent.
    pub fn quota_spent() -> Self {
        Self::error(
            429,
            "TOOMANYREQUESTS",
            "You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit",
        )
    }

    /// Docker Hub's 429 by abuse control: plain text.
    pub fn abuse_limit() -> Self {
        Self::status(429)
            .header(CONTENT_TYPE.as_str(), "text/plain; charset=utf-8")
            .body("Too Many Requests (HAP429).\n")
    }

    /// An object store's XML error.
    pub fn xml_error(status: u16, code: &str) -> Self {
        Self::status(status)
            .header(CONTENT_TYPE.as_str(), "application/xml")
            .body(format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code></Error>"
            ))
    }

    /// Makes it carry `part` of some content.
    pub(crate) fn part(mut self, part: Part) -> Self {
        self.part = Some(part);
        self
    }
}
