//! Blobs: GET, whole or by range, and the proof that a repository holds one (distribution-spec,
//! "Pulling blobs").

use std::sync::atomic::Ordering;
use std::time::Instant;

use http::{Method, StatusCode};

use super::body::BlobBody;
use super::client::Upstream;
use super::credentials::Access;
use super::error::{ErrorKind, UpstreamError};
use super::exchange::{Ask, Redirects};
use super::range::{ByteRange, Extent, content_length};
use crate::metrics::{self, UpstreamKind};
use crate::oci::{Digest, ErrorCode, Registry, RepositoryName};

/// A blob on its way.
#[derive(Debug)]
pub struct BlobResponse {
    /// A 200: the body is the blob from its first byte on, whatever range was asked for. Otherwise it
    /// begins where the asked range does, and ends there or earlier.
    pub whole: bool,
    /// The blob's size, where the upstream says it.
    pub total: Option<u64>,
    /// Whether it took credentials to get it.
    pub access: Access,
    /// The bytes.
    pub body: BlobBody,
}

/// A repository's upstream confirms that it holds a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// The blob's size, where it was to be had without asking further.
    pub size: Option<u64>,
    /// Whether it took credentials to learn this.
    pub access: Access,
    /// Until when what opened the way to it does; `None` where that has no end.
    pub(super) good_until: Option<Instant>,
}

/// Whether a registry is known to refuse HEAD of blobs. Others are found out.
pub(super) fn refuses_head(registry: &Registry) -> bool {
    registry.to_string() == "public.ecr.aws"
}

impl Upstream {
    /// GET of a blob. Returns with the head; the body has no time limit but its idle timeout.
    pub async fn get_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<BlobResponse, UpstreamError> {
        let ask = ask(Method::GET, name, digest, range, Redirects::Follow);
        let answer = self.ask(&ask).await?;
        let headers = answer.response.headers();
        let whole = answer.response.status() != StatusCode::PARTIAL_CONTENT;
        let extent = match range {
            _ if whole => Extent::whole(headers),
            Some(range) => Extent::partial(headers, &range),
            None => Err("answers 206 to a request for a whole blob"),
        }
        .map_err(|what| answer.invalid(what))?;
        Ok(BlobResponse {
            whole,
            total: extent.total,
            access: answer.access,
            body: BlobBody::new(
                answer.response,
                extent.length(),
                self.body_idle(),
                metrics::upstream_bytes(self.label(), UpstreamKind::BlobGet),
            ),
        })
    }

    /// Asks whether the repository holds the blob: by HEAD, or where that is refused by GET of its
    /// first byte. A redirect is proof enough and is not followed.
    pub async fn confirm_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Confirmed, UpstreamError> {
        if self.no_blob_head.load(Ordering::Relaxed) {
            return self.confirm_by_first_byte(name, digest).await;
        }
        let refused = match self.confirm_by_head(name, digest).await {
            Err(error) if may_be_head(error.kind()) => error,
            told => return told,
        };
        match self.confirm_by_first_byte(name, digest).await {
            Ok(confirmed) => {
                self.no_blob_head.store(true, Ordering::Relaxed);
                Ok(confirmed)
            }
            Err(error) if error.is_trouble() => Err(error),
            Err(error) if refused.kind() == ErrorKind::Unsupported => Err(error),
            Err(_) => Err(refused),
        }
    }

    async fn confirm_by_head(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Confirmed, UpstreamError> {
        let ask = ask(Method::HEAD, name, digest, None, Redirects::Prove);
        let answer = self.ask(&ask).await?;
        let size = match answer.response.status() {
            StatusCode::OK => content_length(answer.response.headers()).ok().flatten(),
            _ => None,
        };
        Ok(Confirmed {
            size,
            access: answer.access,
            good_until: answer.good_until,
        })
    }

    async fn confirm_by_first_byte(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Confirmed, UpstreamError> {
        let first = Some(ByteRange::FIRST);
        let ask = ask(Method::GET, name, digest, first, Redirects::Prove);
        let answer = match self.ask(&ask).await {
            Ok(answer) => answer,
            // An empty blob has no first byte, and is there all the same.
            Err(error) if error.is_range_refused() => {
                return Ok(Confirmed {
                    size: Some(0),
                    access: Access::Credentialed,
                    // Whoever refuses a range may not have looked at the login.
                    good_until: Some(Instant::now()),
                });
            }
            Err(error) => return Err(error),
        };
        let headers = answer.response.headers();
        let size = match answer.response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let extent = Extent::partial(headers, &ByteRange::FIRST);
                extent.map_err(|what| answer.invalid(what))?.total
            }
            StatusCode::OK => content_length(headers).map_err(|what| answer.invalid(what))?,
            _ => None,
        };
        Ok(Confirmed {
            size,
            access: answer.access,
            good_until: answer.good_until,
        })
    }
}

/// Whether the method alone may be what is refused.
fn may_be_head(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unauthorized | ErrorKind::Denied | ErrorKind::Unsupported
    )
}

fn ask<'a>(
    method: Method,
    name: &'a RepositoryName,
    digest: &Digest,
    range: Option<ByteRange>,
    redirects: Redirects,
) -> Ask<'a> {
    let kind = match redirects {
        Redirects::Follow => UpstreamKind::BlobGet,
        Redirects::Prove => UpstreamKind::BlobConfirm,
    };
    Ask {
        kind,
        method,
        name,
        tail: format!("blobs/{digest}"),
        query: Vec::new(),
        accept: None,
        range,
        absent: ErrorCode::BlobUnknown,
        redirects,
        anywhere: true,
        body: None,
    }
}
