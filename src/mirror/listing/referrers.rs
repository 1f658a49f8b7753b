//! What refers to a manifest, as its upstream tells it.
//!
//! A referrers API that is absent upstream stays absent: an invented empty index would hide signatures that
//! clients find by the tag schema.

use std::sync::Arc;
use std::time::Duration;

use crate::access::Permit;
use crate::oci::{Digest, Reference, Repository, media_type};
use crate::upstream::{Referrers, Upstream};

use super::super::Mirror;
use super::super::entry::{Asked, told, without_pull};
use super::super::error::MirrorError;
use super::super::served::{Body, CacheStatus, Served};
use super::{List, Of, Subject};

/// Lists up to this size are filtered where their question is answered.
const SMALL: usize = 64 << 10;

impl Mirror {
    /// What refers to `digest`, an image index; only what is of `artifact_type`, where one is given.
    ///
    /// Types are the clients' to choose, without end, so the upstream is asked for all of them at once and is asked
    /// for one alone only where all are too many.
    pub async fn referrers(
        &self,
        permit: &Permit,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Served, MirrorError> {
        let asked = Asked::Manifest(Reference::Digest(*digest));
        let upstream = self.upstream(permit, &asked, &without_pull()).await?;
        let repository = permit.repository();
        let found = self.referrers_of(&upstream, repository, digest, artifact_type);
        found
            .await
            .map_err(|error| told(&upstream, repository, error))
    }

    async fn referrers_of(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Served, MirrorError> {
        let of = |kind| Subject::new(upstream, repository, Of::Referrers(*digest, kind));
        let mut found = self.listed(upstream, of(None)).await?;
        let mut kind = artifact_type.map(str::to_owned);
        if matches!(found.known.list, List::TooLong(_))
            && let Some(kind) = kind.take()
        {
            found = self.listed(upstream, of(Some(kind))).await?;
        }
        let List::Referrers(list) = &found.known.list else {
            return Err(too_long(repository, digest));
        };
        let list = match kind {
            None => list.clone(),
            Some(kind) => of_type(list, kind).await?,
        };
        Ok(served(list, found.status, found.age))
    }
}

/// Only those of one type.
async fn of_type(list: &Referrers, artifact_type: String) -> Result<Referrers, MirrorError> {
    if list.bytes.len() <= SMALL {
        return list.of_type(&artifact_type).ok_or(MirrorError::Internal);
    }
    let list = list.clone();
    let filtered = tokio::task::spawn_blocking(move || list.of_type(&artifact_type));
    filtered.await.ok().flatten().ok_or(MirrorError::Internal)
}

fn too_long(repository: &Repository, digest: &Digest) -> MirrorError {
    MirrorError::BadUpstream {
        message: format!("the list of referrers of {repository}@{digest} is too long"),
        detail: Some("ask for those of one `artifactType`".to_owned()),
    }
}

fn served(list: Referrers, cache_status: CacheStatus, age: Option<Duration>) -> Served {
    Served {
        cache_status,
        media_type: media_type::OCI_INDEX,
        digest: None,
        size: list.bytes.len() as u64,
        slice: None,
        age,
        filters_applied: list.filters_applied,
        references: None,
        fields: None,
        body: Body::Bytes(list.bytes),
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
        .await;
    match answer {
        Ok(list) => Ok(List::Referrers(list)),
        Err(error) if error.is_too_large() => {
            tracing::info!(%repository, %digest, "too many referrers to list them; those of one type may be few enough");
            Ok(List::TooLong(None))
        }
        Err(error) => Err(MirrorError::from_referrers(&error, repository, digest)),
    }
}
