//! What the origin says about a request it got.

use std::net::SocketAddr;
use std::ops::Range;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Serialize;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `GET /v2/`.
    Ping,
    /// A token from the token service.
    Token,
    /// `HEAD` of a manifest, which costs no quota.
    ManifestHead,
    /// `GET` of a manifest, which does.
    ManifestGet,
    /// `HEAD` of a blob at the registry.
    BlobHead,
    /// `GET` of a blob at the registry, answered with the blob or a redirect.
    BlobGet,
    /// `HEAD` of a blob at the CDN.
    CdnHead,
    /// `GET` of a blob at the CDN.
    CdnGet,
    /// A list of tags.
    Tags,
    /// The referrers of a manifest.
    Referrers,
    /// Anything else.
    Other,
}

impl Kind {
    /// All that the registry itself is asked about a repository.
    pub const OF_REPOSITORIES: [Self; 6] = [
        Self::ManifestHead,
        Self::ManifestGet,
        Self::BlobHead,
        Self::BlobGet,
        Self::Tags,
        Self::Referrers,
    ];
}

/// The credentials a request carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// No `Authorization` header.
    None,
    /// User and password.
    Basic,
    /// A token.
    Bearer,
    /// Some other scheme.
    Other,
}

impl Authorization {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(AUTHORIZATION) else {
            return Self::None;
        };
        let scheme = value.to_str().ok().and_then(|text| text.split(' ').next());
        match scheme.map(str::to_ascii_lowercase).as_deref() {
            Some("basic") => Self::Basic,
            Some("bearer") => Self::Bearer,
            _ => Self::Other,
        }
    }
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is still being made or sent.
    Running,
    /// All of it was handed to the socket.
    Sent,
    /// A fault ended it early.
    Cut,
    /// The client left, or the origin was stopped, before the end.
    Gone,
}

/// A request and what became of it, as of the moment it was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Counts up from 0 over the origin's life.
    pub number: u64,
    /// What it asked for.
    pub kind: Kind,
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// The repository's name; a token's first scope's.
    pub repository: Option<String>,
    /// Tag or digest.
    pub reference: Option<String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// Which credentials it carried.
    pub authorization: Authorization,
    /// All headers.
    pub headers: HeaderMap,
    /// The client's address; equal ports mean the same connection.
    pub client: SocketAddr,
    /// The status sent, once it is decided.
    pub status: Option<u16>,
    /// The part of the content that the response set out to send.
    pub span: Option<Range<u64>>,
    /// Bytes of body that the socket has taken.
    pub body_bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
}

impl Request {
    /// All values of a header, in order.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap_or("(not text)"))
            .collect()
    }

    /// Whether it was answered with a status below 400.
    pub fn is_ok(&self) -> bool {
        self.status.is_some_and(|status| status < 400)
    }

    /// Whether it asked for a blob's bytes and got some: at the CDN, or at the
    /// registry where blobs are served directly.
    pub fn is_body(&self) -> bool {
        matches!(self.kind, Kind::BlobGet | Kind::CdnGet) && self.span.is_some()
    }

    pub(crate) fn is_body_of(&self, digest: &str) -> bool {
        self.is_body() && self.reference.as_deref() == Some(digest)
    }
}

/// Selects requests, for faults, counts and waits. Made from a [`Kind`], or from
/// [`When::any`].
#[derive(Clone, Debug, Default)]
pub struct When {
    kinds: Vec<Kind>,
    repository: Option<String>,
    reference: Option<String>,
}

impl When {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests of one of these kinds.
    pub fn kinds(kinds: &[Kind]) -> Self {
        Self {
            kinds: kinds.to_vec(),
            ..Self::default()
        }
    }

    /// Only those for this repository.
    #[must_use]
    pub fn repository(mut self, name: &str) -> Self {
        self.repository = Some(name.to_owned());
        self
    }

    /// Only those for this tag or digest.
    #[must_use]
    pub fn reference(mut self, reference: impl AsRef<str>) -> Self {
        self.reference = Some(reference.as_ref().to_owned());
        self
    }

    pub(crate) fn selects(
        &self,
        kind: Kind,
        repository: Option<&str>,
        reference: Option<&str>,
    ) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.repository.is_none() || self.repository.as_deref() == repository)
            && (self.reference.is_none() || self.reference.as_deref() == reference)
    }

    /// Whether `request` is one of them.
    pub fn matches(&self, request: &Request) -> bool {
        let (repository, reference) = (request.repository.as_deref(), request.reference.as_deref());
        self.selects(request.kind, repository, reference)
    }
}

impl From<Kind> for When {
    fn from(kind: Kind) -> Self {
        Self::kinds(&[kind])
    }
}

impl From<&When> for When {
    fn from(when: &When) -> Self {
        when.clone()
    }
}
