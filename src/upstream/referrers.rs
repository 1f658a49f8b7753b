//! The referrers of a manifest (distribution-spec, "Listing referrers").

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::body::read_json;
use super::client::Upstream;
use super::error::{ErrorKind, UpstreamError};
use super::exchange::{Answer, Ask, Redirects};
use super::link::next_page;
use super::transport::host_of;
use crate::metrics::UpstreamKind;
use crate::oci::{Digest, ErrorCode, MAX_MANIFEST_BYTES, MediaType, RepositoryName, media_type};

/// A list of more pages is refused: cut short, it could hide the signature that a client looks for.
const MAX_PAGES: usize = 32;

/// The filter that clients ask for.
const ARTIFACT_TYPE: &str = "artifactType";

/// The referrers of a manifest: as they came, unless they came in pages or unfiltered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrers {
    /// An image index.
    pub bytes: Bytes,
    /// `OCI-Filters-Applied`.
    pub filters_applied: Option<String>,
    /// Whether there are none.
    pub is_empty: bool,
}

/// As much of an index as has to be understood.
#[derive(Deserialize)]
struct Index {
    manifests: Vec<IgnoredAny>,
}

impl Referrers {
    /// A list that was given before, from its two parts; `None` for what is no index.
    pub fn read(bytes: Bytes, filters_applied: Option<String>) -> Option<Self> {
        let index: Index = serde_json::from_slice(&bytes).ok()?;
        Some(Self {
            is_empty: index.manifests.is_empty(),
            bytes,
            filters_applied,
        })
    }

    /// Only those of one artifact type.
    pub fn of_type(&self, artifact_type: &str) -> Option<Self> {
        let bytes = only_of(artifact_type, &self.bytes)?;
        let applied = self.filters_applied.iter().map(String::as_str);
        let applied: Vec<_> = applied.chain([ARTIFACT_TYPE]).collect();
        Self::read(bytes, Some(applied.join(",")))
    }
}

impl Upstream {
    /// The referrers of a manifest, all pages of them. Where the registry has no such API it answers
    /// 404, which stays an error: clients then look for the tag that stands in for it.
    ///
    /// Filtering is the registry's choice. Where it does not, the list is filtered here: descriptors
    /// carry their artifact's type, and every client would do the same with a longer answer.
    pub async fn referrers(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Referrers, UpstreamError> {
        let filter = artifact_type.map(|kind| (ARTIFACT_TYPE.to_owned(), kind.to_owned()));
        let first = self
            .page(name, digest, filter.into_iter().collect())
            .await?;
        is_of_the_api(&first)?;
        let applied = filters_applied(&first);
        let is_filtered = applied.iter().any(|filter| filter == ARTIFACT_TYPE);
        let applied = (!applied.is_empty()).then(|| applied.join(","));
        let bytes = self.all_pages(name, digest, &first).await?;
        let listed = Referrers::read(bytes, applied);
        let listed = match artifact_type {
            Some(kind) if !is_filtered => listed.and_then(|listed| listed.of_type(kind)),
            _ => listed,
        };
        listed.ok_or_else(|| first.invalid(UNREADABLE))
    }

    /// The only page as it came; of several, the first with the manifests of all.
    async fn all_pages(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        first: &Answer,
    ) -> Result<Bytes, UpstreamError> {
        let Some(mut query) = next_of(first) else {
            return Ok(first.body.clone());
        };
        let mut index = parse(first).await?;
        let mut size = first.body.len();
        for _ in 1..MAX_PAGES {
            let page = self.page(name, digest, query).await?;
            size += page.body.len();
            if size > MAX_MANIFEST_BYTES {
                return Err(too_long(&page));
            }
            let mut more = parse(&page).await?;
            manifests(&mut index, first)?.append(manifests(&mut more, &page)?);
            match next_of(&page) {
                Some(next) => query = next,
                None => return Ok(index.to_string().into()),
            }
        }
        Err(too_long(first))
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

/// A registry without the API may answer with anything at all, such as its web page. Clients take any type
/// but an index's for the API's absence.
fn is_of_the_api(page: &Answer) -> Result<(), UpstreamError> {
    let field = page.response.headers().get(CONTENT_TYPE);
    let stated = field.and_then(|field| MediaType::from_content_type(field.to_str().ok()?).ok());
    let is_index = match stated {
        Some(stated) if stated == media_type::OCI_INDEX => true,
        Some(stated) if !stated.is_generic() => false,
        _ => serde_json::from_slice::<Index>(&page.body).is_ok(),
    };
    if is_index {
        return Ok(());
    }
    let host = host_of(page.response.url());
    let message = "answers a question for referrers with something else";
    Err(UpstreamError::new(ErrorKind::Unsupported, host, message))
}

fn filters_applied(page: &Answer) -> Vec<String> {
    let field = page.response.headers().get("oci-filters-applied");
    let text = field.and_then(|field| field.to_str().ok());
    text.into_iter()
        .flat_map(|text| text.split(','))
        .map(|filter| filter.trim().to_owned())
        .filter(|filter| !filter.is_empty())
        .collect()
}

/// An index with only those of its manifests that are of one artifact type.
fn only_of(kind: &str, index: &[u8]) -> Option<Bytes> {
    let mut index: Value = serde_json::from_slice(index).ok()?;
    let manifests = index.get_mut("manifests")?.as_array_mut()?;
    manifests.retain(|manifest| manifest.get(ARTIFACT_TYPE).and_then(Value::as_str) == Some(kind));
    Some(index.to_string().into())
}

fn next_of(page: &Answer) -> Option<Vec<(String, String)>> {
    next_page(page.response.headers(), page.response.url())
}

fn too_long(page: &Answer) -> UpstreamError {
    let host = host_of(page.response.url());
    UpstreamError::too_large(host, "a list of referrers that is too long")
}

async fn parse(page: &Answer) -> Result<Value, UpstreamError> {
    let read = read_json(&page.body).await;
    read.ok_or_else(|| page.invalid(UNREADABLE))
}

fn manifests<'a>(index: &'a mut Value, page: &Answer) -> Result<&'a mut Vec<Value>, UpstreamError> {
    index
        .get_mut("manifests")
        .and_then(Value::as_array_mut)
        .ok_or_else(|| page.invalid(UNREADABLE))
}

const UNREADABLE: &str = "a list of referrers that can't be read";
