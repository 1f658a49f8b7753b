//! Tags and referrers: passed through, never made up.
//!
//! A referrers API that is absent upstream stays absent: an invented empty index would hide signatures that clients find
//! by the tag schema.

use bytes::Bytes;

use crate::oci::{Digest, Repository, media_type};

use super::Mirror;
use super::error::MirrorError;
use super::served::{Body, CacheStatus, Served};

impl Mirror {
    /// A page of a repository's tags: `n` at most, those after `last`.
    pub async fn tags(
        &self,
        repository: &Repository,
        n: Option<u32>,
        last: Option<&str>,
    ) -> Result<Served, MirrorError> {
        let upstream = self.upstream(repository)?;
        let name = &repository.name;
        let (listed, next) = if n == Some(0) {
            (Vec::new(), None)
        } else {
            let told = upstream.tags(name, n, last).await;
            let told = told.map_err(|error| MirrorError::from_listing(&error, repository))?;
            (told.tags, told.next)
        };
        let answer = serde_json::json!({ "name": name.as_str(), "tags": listed });
        let bytes = Bytes::from(answer.to_string());
        let mut served = passed_through(media_type::JSON, bytes);
        served.next_page = next.map(|last| next_page(n, &last));
        Ok(served)
    }

    /// What refers to `digest`, as its upstream answers it.
    pub async fn referrers(
        &self,
        repository: &Repository,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Served, MirrorError> {
        let upstream = self.upstream(repository)?;
        let answer = upstream
            .referrers(&repository.name, digest, artifact_type)
            .await;
        let answer =
            answer.map_err(|error| MirrorError::from_referrers(&error, repository, digest))?;
        let mut served = passed_through(answer.media_type, answer.bytes);
        served.filters_applied = answer.filters_applied;
        Ok(served)
    }
}

/// Where the next page is, relative to the repository.
fn next_page(n: Option<u32>, last: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(n) = n {
        query.append_pair("n", &n.to_string());
    }
    query.append_pair("last", last);
    format!("tags/list?{}", query.finish())
}

fn passed_through(media_type: crate::oci::MediaType, bytes: Bytes) -> Served {
    Served {
        cache_status: CacheStatus::Miss,
        media_type,
        digest: None,
        size: bytes.len() as u64,
        slice: None,
        age: None,
        filters_applied: None,
        next_page: None,
        body: Body::Bytes(bytes),
    }
}
