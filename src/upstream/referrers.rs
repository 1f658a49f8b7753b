//! The referrers of a manifest (distribution-spec, "Listing referrers").

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::client::Upstream;
use super::credentials::Access;
use super::error::UpstreamError;
use super::exchange::{Answer, Ask, Redirects};
use super::link::next_page;
use crate::metrics::UpstreamKind;
use crate::oci::{Digest, ErrorCode, MAX_MANIFEST_BYTES, MediaType, RepositoryName, media_type};

/// A list of more pages is refused: cut short, it could hide the signature that a client looks for.
const MAX_PAGES: usize = 32;

/// The referrers of a manifest: as they came, or joined where they came in pages.
#[derive(Debug, Clone)]
pub struct Referrers {
    /// An image index.
    pub bytes: Bytes,
    /// Its type.
    pub media_type: MediaType,
    /// `OCI-Filters-Applied`.
    pub filters_applied: Option<String>,
    /// Whether it took credentials to get it.
    pub access: Access,
}

impl Upstream {
    /// The referrers of a manifest, all pages of them. Where the registry has no such API it answers
    /// 404, which stays an error: clients then look for the tag that stands in for it.
    pub async fn referrers(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Referrers, UpstreamError> {
        let filter = artifact_type.map(|kind| ("artifactType".to_owned(), kind.to_owned()));
        let first = self
            .page(name, digest, filter.into_iter().collect())
            .await?;
        let headers = first.response.headers();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Ok(Referrers {
            media_type: text(CONTENT_TYPE.as_str())
                .and_then(|field| MediaType::from_content_type(field).ok())
                .unwrap_or(media_type::OCI_INDEX),
            filters_applied: text("oci-filters-applied").map(str::to_owned),
            access: first.access,
            bytes: self.all_pages(name, digest, first).await?,
        })
    }

    /// The only page as it came; of several, the first with the manifests of all.
    async fn all_pages(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        first: Answer,
    ) -> Result<Bytes, UpstreamError> {
        let Some(mut query) = next_of(&first) else {
            return Ok(first.body);
        };
        let mut index = parse(&first)?;
        let mut size = first.body.len();
        for _ in 1..MAX_PAGES {
            let page = self.page(name, digest, query).await?;
            size += page.body.len();
            if size > MAX_MANIFEST_BYTES {
                return Err(page.invalid("a list of referrers that is too long"));
            }
            let mut more = parse(&page)?;
            manifests(&mut index, &first)?.append(manifests(&mut more, &page)?);
            match next_of(&page) {
                Some(next) => query = next,
                None => return Ok(index.to_string().into()),
            }
        }
        Err(first.invalid("a list of referrers of too many pages"))
    }

    async fn page(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        query: Vec<(String, String)>,
    ) -> Result<Answer, UpstreamError> {
        let ask = Ask {
            kind: UpstreamKind::Referrers,
            method: Method::GET,
            name,
            tail: format!("referrers/{digest}"),
            query,
            accept: Some("application/vnd.oci.image.index.v1+json"),
            range: None,
            absent: ErrorCode::ManifestUnknown,
            redirects: Redirects::Follow,
            anywhere: true,
            body: Some(MAX_MANIFEST_BYTES),
        };
        self.ask(&ask).await
    }
}

fn next_of(page: &Answer) -> Option<Vec<(String, String)>> {
    next_page(page.response.headers(), page.response.url())
}

fn parse(page: &Answer) -> Result<Value, UpstreamError> {
    serde_json::from_slice(&page.body).map_err(|_| page.invalid(UNREADABLE))
}

fn manifests<'a>(index: &'a mut Value, page: &Answer) -> Result<&'a mut Vec<Value>, UpstreamError> {
    index
        .get_mut("manifests")
        .and_then(Value::as_array_mut)
        .ok_or_else(|| page.invalid(UNREADABLE))
}

const UNREADABLE: &str = "a list of referrers that can't be read";
