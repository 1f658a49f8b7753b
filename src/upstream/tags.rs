//! The tags of a repository (distribution-spec, "Listing tags").

use http::Method;
use serde::Deserialize;

use super::client::Upstream;
use super::credentials::Access;
use super::error::UpstreamError;
use super::exchange::{Ask, Redirects};
use super::link::next_page;
use crate::metrics::UpstreamKind;
use crate::oci::{ErrorCode, RepositoryName, Tag};

/// Some registries list all tags at once, however many were asked for.
const MAX_TAGS_BYTES: usize = 16 << 20;

/// One page of a repository's tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPage {
    /// In the upstream's order; what is no tag by the specification is left out.
    pub tags: Vec<Tag>,
    /// Where the next page begins, to be given as `last`; `None` on the last page.
    pub next: Option<String>,
    /// Whether it took credentials to get it.
    pub access: Access,
}

#[derive(Deserialize)]
struct TagList {
    /// `null` in a repository without any.
    tags: Option<Vec<String>>,
}

impl Upstream {
    /// One page of tags: at most `n`, beginning after `last`.
    pub async fn tags(
        &self,
        name: &RepositoryName,
        n: Option<u32>,
        last: Option<&str>,
    ) -> Result<TagPage, UpstreamError> {
        let n = n.map(|n| ("n".to_owned(), n.to_string()));
        let last = last.map(|last| ("last".to_owned(), last.to_owned()));
        let ask = Ask {
            kind: UpstreamKind::Tags,
            method: Method::GET,
            name,
            tail: "tags/list".to_owned(),
            query: n.into_iter().chain(last).collect(),
            accept: None,
            range: None,
            absent: ErrorCode::NameUnknown,
            redirects: Redirects::Follow,
            anywhere: false,
            body: Some(MAX_TAGS_BYTES),
        };
        let answer = self.ask(&ask).await?;
        let listed: TagList = serde_json::from_slice(&answer.body)
            .map_err(|_| answer.invalid("a list of tags that can't be read"))?;
        let tags = listed.tags.unwrap_or_default();
        let next = next_page(answer.response.headers(), answer.response.url());
        Ok(TagPage {
            // A registry with page marks of its own still knows the specification's `last`.
            next: next.and_then(|query| {
                let last = query.into_iter().find(|(key, _)| key == "last");
                last.map(|(_, last)| last).or_else(|| tags.last().cloned())
            }),
            tags: tags.iter().filter_map(|tag| tag.parse().ok()).collect(),
            access: answer.access,
        })
    }
}
