//! From what the mirror returned to a response: every header is built from a typed value, none is
//! passed on.

use std::fmt::Display;

use http::header::{
    ACCEPT_RANGES, AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Response, StatusCode};

use super::body::ResponseBody;
use super::record::Record;
use super::route::{Action, Target};
use crate::mirror::{Body, CacheStatus, Fields, Served, StaleReason, etag};
use crate::oci::{Digest, Registry};

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const VERSION: HeaderValue = HeaderValue::from_static("registry/2.0");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
pub(super) const NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Of a 429: it would have taken a pull.
pub(super) const NO_PULL: &str = "forebay; fwd=miss; detail=upstream-quota";

/// Of a 503 or 504: its upstream would have had to be asked, and fails.
pub(super) const NO_ANSWER: &str = "forebay; fwd=miss; detail=upstream-unavailable";

/// Of a 503: its upstream was not asked, since it has kept failing.
pub(super) const LEFT_ALONE: &str = "forebay; fwd=miss; detail=upstream-breaker";

/// A response in the making, and what its record is to say.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: ResponseBody,
    pub(super) cache: Option<CacheStatus>,
    pub(super) error: Option<String>,
    /// Whether the headers have the length of the content among them, and all that comes before it.
    has_length: bool,
}

impl Answer {
    pub(super) fn new(status: StatusCode, body: ResponseBody) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body,
            cache: None,
            error: None,
            has_length: false,
        }
    }

    /// The answer to `GET /v2/`.
    pub(super) fn ping() -> Self {
        let mut answer = Self::new(StatusCode::OK, ResponseBody::whole("{}"));
        answer.set(CONTENT_TYPE, "application/json");
        answer
    }

    /// What the mirror served for `target`. `conditions` are the request's headers.
    pub(super) fn served(served: Served, target: &Target, conditions: &HeaderMap) -> Self {
        let status = if served.slice.is_some() {
            StatusCode::PARTIAL_CONTENT
        } else {
            StatusCode::OK
        };
        let mut answer = Self::new(status, ResponseBody::empty());
        answer.cache = Some(served.cache_status);
        if served.digest.is_some_and(|digest| has(conditions, &digest)) {
            answer.describe(&served, target);
            answer.status = StatusCode::NOT_MODIFIED;
            answer.headers.remove(CONTENT_RANGE);
            return answer;
        }
        let length = served
            .slice
            .as_ref()
            .map_or(served.size, |slice| slice.end - slice.start);
        let is_plain = is_plain_hit(&served) && matches!(target.action, Action::Manifest(_));
        match served.fields.as_ref().filter(|_| is_plain) {
            Some(fields) => {
                let make = || {
                    let mut answer = Self::new(status, ResponseBody::empty());
                    answer.describe(&served, target);
                    answer.complete(length);
                    answer.headers
                };
                answer.headers = fields.of_hit(&target.repository.registry, make);
                answer.has_length = true;
            }
            None => answer.describe(&served, target),
        }
        answer.body = match served.body {
            // A HEAD; its Content-Length is the body's that a GET would have had.
            Body::Empty => ResponseBody::absent(length),
            Body::Bytes(bytes) => ResponseBody::whole(bytes),
            Body::Blob(body) => ResponseBody::blob(length, body),
        };
        answer
    }

    fn describe(&mut self, served: &Served, target: &Target) {
        // All that there may be.
        self.headers.reserve(12);
        let made = match (&served.fields, served.digest) {
            (None, Some(digest)) => Some(Fields::of(&served.media_type, &digest)),
            _ => None,
        };
        let fields = served.fields.as_deref().or(made.as_ref());
        match fields {
            Some(fields) => self.put(CONTENT_TYPE, &fields.media_type),
            None => self.set(CONTENT_TYPE, served.media_type.as_str()),
        }
        self.headers
            .insert(CACHE_STATUS, cache_status(served.cache_status));
        self.of_registry(&target.repository.registry);
        if let Some(fields) = fields {
            self.put(CONTENT_DIGEST, &fields.digest);
            self.put(ETAG, &fields.etag);
        }
        if matches!(target.action, Action::Blob(_)) {
            let bytes = HeaderValue::from_static("bytes");
            self.headers.insert(ACCEPT_RANGES, bytes);
            // Content of others, which no browser is to take for a page.
            let nosniff = HeaderValue::from_static("nosniff");
            self.headers.insert(X_CONTENT_TYPE_OPTIONS, nosniff);
        }
        if let Some(slice) = &served.slice {
            self.set(
                CONTENT_RANGE,
                format_args!("bytes {}-{}/{}", slice.start, slice.end - 1, served.size),
            );
        }
        if let Some(age) = served.age {
            self.set(AGE, age.as_secs());
        }
        if let Some(filters) = &served.filters_applied {
            self.set(FILTERS_APPLIED, filters);
        }
    }

    /// Sets what all responses with content have.
    fn complete(&mut self, length: u64) {
        self.headers.insert(API_VERSION, VERSION);
        self.headers.insert(CONTENT_LENGTH, length.into());
        self.has_length = true;
    }

    fn put(&mut self, name: HeaderName, value: &HeaderValue) {
        self.headers.insert(name, value.clone());
    }

    /// Sets a header; a value that no header can carry is left out.
    pub(super) fn set(&mut self, name: HeaderName, value: impl Display) {
        match HeaderValue::from_str(&value.to_string()) {
            Ok(value) => {
                self.headers.insert(name, value);
            }
            Err(error) => tracing::warn!(header = %name, %error, "a header is left out"),
        }
    }

    /// Says which registry the answer is about.
    pub(super) fn of_registry(&mut self, registry: &Registry) {
        if let Ok(registry) = HeaderValue::from_str(registry.as_str()) {
            self.headers.insert(NAMESPACE, registry);
        }
    }

    /// The response to a request of `method`. A HEAD gets all of a GET's headers and no body.
    pub(super) fn into_response(
        mut self,
        method: &Method,
        mut record: Box<Record>,
    ) -> Response<ResponseBody> {
        if self.status == StatusCode::NOT_MODIFIED {
            self.headers.insert(API_VERSION, VERSION);
        } else if !self.has_length {
            self.complete(self.body.length());
        }
        if *method == Method::HEAD {
            self.body = ResponseBody::empty();
        }
        record.head(self.status.as_u16(), self.cache);
        if let Some(error) = self.error {
            record.error(error);
        }
        self.body.carry(record);
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// Whether a response says nothing but what its content is.
fn is_plain_hit(served: &Served) -> bool {
    let Served {
        cache_status,
        slice,
        age,
        filters_applied,
        ..
    } = served;
    let is_whole = slice.is_none() && filters_applied.is_none();
    *cache_status == CacheStatus::Hit && is_whole && age.is_none()
}

/// Whether the client says that it has the content with this digest (RFC 9110, section 13.1.2).
pub(super) fn has(headers: &HeaderMap, digest: &Digest) -> bool {
    if !headers.contains_key(IF_NONE_MATCH) {
        return false;
    }
    let etag = etag(digest);
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .map(|tag| tag.trim_matches([' ', '\t']))
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// RFC 9211. A hit is what was not forwarded before it was served; a revalidation was.
pub(super) fn cache_status(status: CacheStatus) -> HeaderValue {
    HeaderValue::from_static(match status {
        CacheStatus::Hit => "forebay; hit",
        CacheStatus::Revalidated => "forebay; fwd=stale; detail=revalidated",
        CacheStatus::Miss => "forebay; fwd=miss",
        CacheStatus::MissAfterWait => "forebay; fwd=miss; detail=quota-wait",
        CacheStatus::Collapsed => "forebay; fwd=miss; collapsed",
        CacheStatus::Unverified => "forebay; fwd=miss; detail=unverified",
        CacheStatus::Bypass => "forebay; fwd=bypass",
        CacheStatus::Stale(StaleReason::Unavailable) => {
            "forebay; fwd=stale; detail=upstream-unavailable"
        }
        CacheStatus::Stale(StaleReason::Slow) => "forebay; fwd=stale; detail=upstream-slow",
        CacheStatus::Stale(StaleReason::Quota) => "forebay; fwd=stale; detail=upstream-quota",
        CacheStatus::Stale(StaleReason::Deleted) => "forebay; fwd=stale; detail=upstream-deleted",
        CacheStatus::Stale(StaleReason::Revalidating) => "forebay; hit; detail=revalidating",
    })
}

#[cfg(test)]
mod tests;
