//! What refers to a manifest, as its upstream tells it.
//!
//! A referrers API that is absent upstream stays absent: an invented empty index would hide signatures that
//! clients find by the tag schema.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::metrics;
use crate::oci::{Digest, Repository, media_type};
use crate::upstream::{Referrers, Upstream};

use super::super::Mirror;
use super::super::error::MirrorError;
use super::super::freshness::{self, Decision};
use super::super::served::{Body, CacheStatus, Served};
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
        let kind = artifact_type.map(str::to_owned);
        let subject = Subject::Referrers(repository.clone(), *digest, kind);
        let error = match self.listed(&upstream, subject).await {
            Ok(Found { known, status, age }) => {
                let List::Referrers(list) = &known.list else {
                    return Err(MirrorError::Internal);
                };
                return Ok(served(list, status, age));
            }
            Err(error) => error,
        };
        let (Some(kind), Some(reason)) = (artifact_type, error.allows_stale()) else {
            return Err(error);
        };
        let stale = self.filtered_here(&upstream, repository, digest, kind);
        match stale.await {
            Some((list, age)) => {
                metrics::stale_served(upstream.label(), reason);
                Ok(served(&list, CacheStatus::Stale(reason), Some(age)))
            }
            None => Err(error),
        }
    }

    /// What is of one type in the list of all types, where that is known and not too old: nobody has asked
    /// for the one type before, and the upstream is in trouble.
    async fn filtered_here(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        digest: &Digest,
        artifact_type: &str,
    ) -> Option<(Referrers, Duration)> {
        let all = Subject::Referrers(repository.clone(), *digest, None);
        let known = self.inner.lists.known(&all).await?;
        let now = SystemTime::now();
        if freshness::decide(now, known.at, &upstream.tag_policy()) == Decision::ConfirmOnly {
            return None;
        }
        let List::Referrers(list) = &known.list else {
            return None;
        };
        let age = freshness::stale_age(now, known.at);
        Some((list.of_type(artifact_type)?, age))
    }
}

fn served(list: &Referrers, cache_status: CacheStatus, age: Option<Duration>) -> Served {
    Served {
        cache_status,
        media_type: media_type::OCI_INDEX,
        digest: None,
        size: list.bytes.len() as u64,
        slice: None,
        age,
        filters_applied: list.filters_applied.clone(),
        references: None,
        body: Body::Bytes(Bytes::clone(&list.bytes)),
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
    Ok(List::Referrers(answer))
}
