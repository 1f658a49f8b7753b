//! What refers to a manifest, as its upstream tells it.
//!
//! A referrers API that is absent upstream stays absent: an invented empty index would hide signatures that
//! clients find by the tag schema.

use bytes::Bytes;

use crate::oci::{Digest, Repository, media_type};
use crate::upstream::Upstream;

use super::super::Mirror;
use super::super::error::MirrorError;
use super::super::served::{Body, Served};
use super::{Found, List, Subject};

impl Mirror {
    /// What refers to `digest`, an image index; only what is of `artifact_type`, where one is given.
    pub async fn referrers(
        &self,
        repository: &Repository,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Served, MirrorError> {
        let upstream = self.upstream(repository)?;
        let artifact_type = artifact_type.map(str::to_owned);
        let subject = Subject::Referrers(repository.clone(), *digest, artifact_type);
        let Found { known, status, age } = self.listed(&upstream, subject).await?;
        let List::Referrers {
            index,
            filters_applied,
            ..
        } = &known.list
        else {
            return Err(MirrorError::Internal);
        };
        Ok(Served {
            cache_status: status,
            media_type: media_type::OCI_INDEX,
            digest: None,
            size: index.len() as u64,
            slice: None,
            age,
            filters_applied: filters_applied.clone(),
            body: Body::Bytes(Bytes::clone(index)),
        })
    }
}

/// The list as the upstream has it.
pub(super) async fn fetch(
    upstream: &Upstream,
    repository: &Repository,
    digest: &Digest,
    artifact_type: Option<&str>,
) -> Result<List, MirrorError> {
    let answer = upstream
        .referrers(&repository.name, digest, artifact_type)
        .await
        .map_err(|error| MirrorError::from_referrers(&error, repository, digest))?;
    Ok(List::Referrers {
        index: answer.bytes,
        filters_applied: answer.filters_applied,
        is_empty: answer.is_empty,
    })
}
