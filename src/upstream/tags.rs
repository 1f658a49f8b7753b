//! The tags of a repository (distribution-spec, "Listing tags").

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::body::read_json;
use super::client::Upstream;
use super::error::{ErrorKind, UpstreamError};
use super::exchange::{Ask, Redirects};
use super::link::next_page;
use crate::metrics::UpstreamKind;
use crate::oci::{ErrorCode, RepositoryName, Tag};

/// Some registries list all tags at once, however many were asked for.
const MAX_TAGS_BYTES: usize = 16 << 20;
/// The largest page that every registry grants; some refuse to be asked for more.
const PAGE: usize = 1000;
/// Most pages of a list that is fetched whole.
const MAX_PAGES: usize = 100;
/// How long the pages of a list may take together. A client waits for them.
const PATIENCE: Duration = Duration::from_secs(12);

/// A repository's tags, where the whole list was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllTags {
    /// All of them.
    Whole(BTreeSet<Tag>),
    /// More pages or bytes than are fetched whole; how far it goes at least.
    TooLong(Mark),
    /// Not given in the time that the whole list may take, each page for itself in time. Says nothing of the list.
    TooSlow(UpstreamError),
}

/// A page beyond which a list is not fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(Query);

/// A query, decoded.
type Query = Vec<(String, String)>;

/// One page of a repository's tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPage {
    /// In the upstream's order; what is no tag by the specification is left out.
    pub tags: Vec<Tag>,
    /// Where the next page begins, to be given as `last`; `None` on the last page.
    pub next: Option<String>,
}

/// A page as it came.
struct RawPage {
    tags: Vec<String>,
    /// The next page's query, with whatever marks the registry puts into it.
    next: Option<Query>,
    bytes: usize,
}

#[derive(Deserialize)]
struct TagList {
    #[serde(default)]
    name: Option<String>,
    /// `null` in a repository without any.
    tags: Option<Vec<String>>,
}

impl Upstream {
    /// One page of tags as the registry gives it: at most `n`, beginning after `last`.
    pub async fn tags(
        &self,
        name: &RepositoryName,
        n: Option<u32>,
        last: Option<&str>,
    ) -> Result<TagPage, UpstreamError> {
        let n = n.map(|n| pair("n", n.to_string()));
        let last = last.map(|last| pair("last", last));
        let page = self
            .tag_page(name, n.into_iter().chain(last).collect())
            .await?;
        Ok(TagPage {
            // A registry with page marks of its own still knows the specification's `last`.
            next: page.next.and_then(|query| {
                let last = query.into_iter().find(|(key, _)| key == "last");
                last.map(|(_, last)| last)
                    .or_else(|| page.tags.last().cloned())
            }),
            tags: page
                .tags
                .iter()
                .filter_map(|tag| tag.parse().ok())
                .collect(),
        })
    }

    /// All tags, whatever pages and order the registry gives them in.
    pub async fn all_tags(&self, name: &RepositoryName) -> Result<AllTags, UpstreamError> {
        self.all_tags_within(name, PATIENCE).await
    }

    pub(super) async fn all_tags_within(
        &self,
        name: &RepositoryName,
        patience: Duration,
    ) -> Result<AllTags, UpstreamError> {
        let deadline = Instant::now() + patience;
        let mut page = self.first_page(name).await?;
        let mut bytes = page.bytes;
        let mut all = BTreeSet::new();
        let mut mark = Mark(Query::new());
        for _ in 1..MAX_PAGES {
            let known = all.len();
            all.extend(page.tags.iter().filter_map(|tag| tag.parse::<Tag>().ok()));
            let next = match page.next {
                Some(next) => next,
                // `Link` is not mandatory, so a full page may have another one behind it.
                None if page.tags.len() >= PAGE && all.len() > known => after(&page.tags),
                None => return Ok(AllTags::Whole(all)),
            };
            mark = Mark(next.clone());
            page = match timeout_at(deadline, self.tag_page(name, next)).await {
                Ok(page) => page?,
                Err(_) => return Ok(AllTags::TooSlow(self.slow_list(patience))),
            };
            bytes += page.bytes;
            if bytes > MAX_TAGS_BYTES {
                return Ok(AllTags::TooLong(mark));
            }
        }
        Ok(AllTags::TooLong(mark))
    }

    /// Whether a list that was too long still goes as far as it did. One question, where to fetch it takes a hundred.
    pub async fn reaches(&self, name: &RepositoryName, mark: &Mark) -> Result<bool, UpstreamError> {
        match self.tag_page(name, mark.0.clone()).await {
            Ok(page) => Ok(!page.tags.is_empty()),
            // It has forgotten its own mark.
            Err(error) if error.kind() == ErrorKind::Invalid => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn slow_list(&self, patience: Duration) -> UpstreamError {
        let message = format!("has not given all pages of a list of tags within {patience:?}");
        UpstreamError::timeout(self.registry(), message)
    }

    async fn first_page(&self, name: &RepositoryName) -> Result<RawPage, UpstreamError> {
        let page = self.tag_page(name, vec![pair("n", PAGE.to_string())]).await;
        match page {
            // Its own largest page is smaller.
            Err(error) if error.kind() == ErrorKind::Invalid => {
                self.tag_page(name, Query::new()).await
            }
            page => page,
        }
    }

    /// Whether its tags may be listed: until when what opened the way to them does, where that has an end. A list without any
    /// shows nothing: it may be what everybody is told, of whatever name.
    pub(super) async fn sees_tags(
        &self,
        name: &RepositoryName,
    ) -> Result<Option<std::time::Instant>, UpstreamError> {
        let answer = match self.ask(&question(name, vec![pair("n", "1")])).await {
            // It takes no such number.
            Err(error) if error.kind() == ErrorKind::Invalid => {
                self.ask(&question(name, Query::new())).await
            }
            answer => answer,
        }?;
        let listed: Option<TagList> = read_json(&answer.body).await;
        let listed = listed.ok_or_else(|| answer.invalid("a list of tags that can't be read"))?;
        if listed.name.is_none_or(|name| name.is_empty()) {
            return Err(answer.invalid("a list of tags without a name"));
        }
        if listed.tags.is_none_or(|tags| tags.is_empty()) {
            let absent = ErrorKind::NotFound {
                code: ErrorCode::NameUnknown,
            };
            return Err(UpstreamError::new(
                absent,
                self.registry(),
                "lists no tags of it",
            ));
        }
        Ok(answer.good_until)
    }

    async fn tag_page(
        &self,
        name: &RepositoryName,
        query: Query,
    ) -> Result<RawPage, UpstreamError> {
        let answer = self.ask(&question(name, query)).await?;
        let listed: Option<TagList> = read_json(&answer.body).await;
        let listed = listed.ok_or_else(|| answer.invalid("a list of tags that can't be read"))?;
        Ok(RawPage {
            tags: listed.tags.unwrap_or_default(),
            next: next_page(answer.response.headers(), answer.response.url()),
            bytes: answer.body.len(),
        })
    }
}

fn question(name: &RepositoryName, query: Query) -> Ask<'_> {
    Ask {
        kind: UpstreamKind::Tags,
        method: Method::GET,
        name,
        tail: "tags/list".to_owned(),
        query,
        accept: None,
        range: None,
        absent: ErrorCode::NameUnknown,
        redirects: Redirects::Follow,
        anywhere: false,
        body: Some(MAX_TAGS_BYTES),
    }
}

/// The query of what follows a page, by the specification's own means.
fn after(page: &[String]) -> Query {
    let last = page.last().map(|last| pair("last", last.as_str()));
    let n = pair("n", PAGE.to_string());
    [n].into_iter().chain(last).collect()
}

fn pair(key: &str, value: impl Into<String>) -> (String, String) {
    (key.to_owned(), value.into())
}
