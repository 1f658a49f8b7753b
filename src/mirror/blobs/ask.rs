//! What a request for a blob makes of its size, its bytes, or its failure.

use std::ops::Range;
use std::sync::Arc;

use tokio::time::Instant;

use crate::mirror::body::{BlobBody, StoredBody};
use crate::mirror::error::MirrorError;
use crate::mirror::fill::Failure;
use crate::mirror::fill::reader::Release;
use crate::mirror::fill::sources::Source;
use crate::mirror::fill::table::Lease;
use crate::mirror::range::RangeSpec;
use crate::mirror::served::{Body, CacheStatus, Served};
use crate::oci::{Digest, Repository, media_type};
use crate::store::BlobFile;
use crate::upstream::{Upstream, UpstreamError};

use super::Wanted;

/// A request for a blob, after routing.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) upstream: Arc<Upstream>,
    pub(super) repository: Repository,
    pub(super) digest: Digest,
    pub(super) range: Option<RangeSpec>,
    pub(super) wanted: Wanted,
    /// By when a response head has to be out.
    pub(super) deadline: Instant,
}

impl Ask {
    pub(super) fn resolve(&self, size: u64) -> Result<Range<u64>, MirrorError> {
        match self.range {
            None => Ok(0..size),
            Some(spec) => spec
                .resolve(size)
                .map_err(|refused| MirrorError::RangeNotSatisfiable { size: refused.size }),
        }
    }

    /// The upstream's answer to the question for the blob's size.
    pub(super) fn told(
        &self,
        size: Result<Option<u64>, UpstreamError>,
    ) -> Result<u64, MirrorError> {
        let size =
            size.map_err(|error| MirrorError::from_blob(&error, &self.repository, &self.digest))?;
        size.ok_or_else(|| MirrorError::no_size(&self.repository, &self.digest))
    }

    pub(super) fn release(&self, range: &Range<u64>, total: u64, strict: bool) -> Release {
        let bounded = matches!(self.range, Some(RangeSpec::From { last: Some(_), .. }));
        Release::rule(range, total, bounded, strict)
    }

    /// The range of a GET that names its last byte, whatever the size.
    pub(super) fn named(&self) -> Option<Range<u64>> {
        match self.range {
            Some(RangeSpec::From {
                first,
                last: Some(last),
            }) if self.wanted == Wanted::Body && first <= last => {
                Some(first..last.saturating_add(1))
            }
            _ => None,
        }
    }

    pub(super) fn serve_file(&self, file: Arc<BlobFile>) -> Result<Served, MirrorError> {
        let size = file.size();
        if self.wanted == Wanted::Head {
            return self.serve_head(size, CacheStatus::Hit);
        }
        let range = self.resolve(size)?;
        let source = Source {
            upstream: Arc::clone(&self.upstream),
            name: self.repository.name.clone(),
            size: Some(size),
        };
        let body = BlobBody::Stored(StoredBody::new(file, source, self.digest, range.clone()));
        Ok(self.served(size, range, CacheStatus::Hit, Body::Blob(Box::new(body))))
    }

    pub(super) fn serve_head(&self, size: u64, status: CacheStatus) -> Result<Served, MirrorError> {
        let range = self.resolve(size)?;
        Ok(self.served(size, range, status, Body::Empty))
    }

    pub(super) fn served(
        &self,
        size: u64,
        range: Range<u64>,
        cache_status: CacheStatus,
        body: Body,
    ) -> Served {
        Served {
            cache_status,
            media_type: media_type::OCTET_STREAM,
            digest: Some(self.digest),
            size,
            slice: self.range.is_some().then_some(range),
            age: None,
            filters_applied: None,
            references: None,
            fields: None,
            body,
        }
    }
}

/// What a failed fill means for this request: the refusal of its own `source`, or a reason to try again. Another
/// repository's error, or another login's, is none of its business.
pub(super) fn own_failure(
    lease: &Lease,
    source: &Source,
    failure: Failure,
) -> Result<Failure, MirrorError> {
    if let Failure::Sources(_) = failure
        && let Some(refusal) = lease.sources().refusal(source)
    {
        return Err(refusal);
    }
    Ok(failure)
}
