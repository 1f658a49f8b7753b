//! What a flow hands up to `http`: a descriptor, where it came from, and a body.

use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::oci::{Digest, MediaType, Registry};
use crate::store::References;

use super::body::BlobBody;

pub use crate::metrics::StaleReason;

/// An answer that `http` turns into a response without knowing how it was come by.
#[derive(Debug)]
pub struct Served {
    /// How the cache took part in it.
    pub cache_status: CacheStatus,
    /// `Content-Type`.
    pub media_type: MediaType,
    /// `Docker-Content-Digest`, where the content is addressed by one.
    pub digest: Option<Digest>,
    /// The size of the whole content in bytes, whatever part of it the body holds.
    pub size: u64,
    /// The part that the body holds, for a 206.
    pub slice: Option<Range<u64>>,
    /// How long ago its upstream confirmed a stale answer.
    pub age: Option<Duration>,
    /// `OCI-Filters-Applied`, as upstream gave it.
    pub filters_applied: Option<String>,
    /// What a client that is given this manifest asks for next.
    pub references: Option<Arc<References>>,
    /// Its header fields, where they were made before.
    pub fields: Option<Arc<Fields>>,
    /// The bytes.
    pub body: Body,
}

/// The header fields of content that is addressed by its digest. Making them takes as long as finding what they are of, so
/// that what is held in memory has them with it.
#[derive(Debug)]
pub struct Fields {
    /// `Content-Type`.
    pub media_type: HeaderValue,
    /// `Docker-Content-Digest`.
    pub digest: HeaderValue,
    /// `ETag`: the digest, quoted.
    pub etag: HeaderValue,
    /// All fields of a hit, of the registry that one was served of first.
    hit: OnceLock<(Registry, HeaderMap)>,
}

impl Fields {
    /// Those of content of this type and digest.
    pub fn of(media_type: &MediaType, digest: &Digest) -> Self {
        // Both are written in what a header field may hold, by their grammar.
        let field = |text: &str| {
            HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
        };
        Self {
            media_type: field(media_type.as_str()),
            etag: field(&etag(digest)),
            digest: field(&digest.to_string()),
            hit: OnceLock::new(),
        }
    }

    /// All fields of a hit in `registry`, which `make` makes the first time: a copy takes less than putting them together. The
    /// same content is of one registry, mostly; for another one they are made each time.
    pub fn of_hit(&self, registry: &Registry, make: impl Fn() -> HeaderMap) -> HeaderMap {
        let (of, fields) = self.hit.get_or_init(|| (registry.clone(), make()));
        if of == registry {
            fields.clone()
        } else {
            make()
        }
    }
}

/// The entity tag of content: its digest, quoted.
pub fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// A response body whose length is known before its first byte.
#[derive(Debug)]
pub enum Body {
    /// Nothing: the request was a HEAD.
    Empty,
    /// Whole in memory.
    Bytes(Bytes),
    /// Read from disk, from a running fill or from upstream. Boxed: it is several times the size of the others.
    Blob(Box<BlobBody>),
}

/// Why a body ended before its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// The bytes stopped coming. Those sent so far are good, so the connection ends with FIN and clients resume.
    Cut,
    /// The bytes sent so far are proven not to match their digest. The connection ends with RST: a resume would
    /// splice a good tail onto them.
    Mismatch,
}

/// How the cache took part in an answer; printed as RFC 9211's `Cache-Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// Served from the cache.
    Hit,
    /// Served from the cache after its upstream confirmed it (a tag that was due).
    Revalidated,
    /// This request made the mirror fetch it.
    Miss,
    /// As a miss, after it had waited for a pull of its upstream's quota.
    MissAfterWait,
    /// Another request was already fetching it.
    Collapsed,
    /// A bounded range of a running fill: its bytes are not verified yet.
    Unverified,
    /// The cache could not keep it; the bytes came straight from upstream.
    Bypass,
    /// An old answer, because its upstream is in trouble.
    Stale(StaleReason),
}

impl CacheStatus {
    /// A short name for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Revalidated => "revalidated",
            Self::Miss | Self::MissAfterWait => "miss",
            Self::Collapsed => "collapsed",
            Self::Unverified => "unverified",
            Self::Bypass => "bypass",
            Self::Stale(_) => "stale",
        }
    }
}
