//! A repository's tags, in the order of their bytes, page by page as clients ask.
//!
//! Upstreams differ in order, in page sizes and in what they make of `last`, so the whole list is fetched and
//! cut up here. One that is too long for that is passed through page by page, as it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::access::Permit;
use crate::oci::{Repository, Tag};
use crate::upstream::{AllTags, Mark, Upstream};

use super::super::Mirror;
use super::super::entry::{Asked, told, without_pull};
use super::super::error::MirrorError;
use super::super::served::CacheStatus;
use super::{Found, List, Listing, Of, Page, Subject};

/// All tags of a repository, sorted, as the inside of a JSON array: a page is a slice of it.
#[derive(Debug)]
pub(super) struct TagList {
    /// `"a","b","c",`; no tag has a character that JSON escapes.
    text: Bytes,
    /// Where each tag's opening quote is.
    starts: Box<[u32]>,
}

impl TagList {
    fn new(tags: &BTreeSet<Tag>) -> Option<Self> {
        let mut text = String::new();
        let mut starts = Vec::with_capacity(tags.len());
        for tag in tags {
            starts.push(u32::try_from(text.len()).ok()?);
            text.extend(["\"", tag.as_str(), "\","]);
        }
        Some(Self {
            text: text.into(),
            starts: starts.into(),
        })
    }

    /// A list that [`TagList::text`] is of.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let tag = |quoted: &str| {
            let tag = quoted.strip_prefix('"')?.strip_suffix('"')?;
            tag.parse().ok()
        };
        let quoted = text.split_terminator(',');
        Self::new(&quoted.map(tag).collect::<Option<_>>()?)
    }

    pub(super) fn text(&self) -> &Bytes {
        &self.text
    }

    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    pub(super) fn weight(&self) -> usize {
        self.text.len() + self.starts.len() * size_of::<u32>()
    }

    /// Where the tag at `index` begins; of one beyond the end, where that is.
    fn start(&self, index: usize) -> usize {
        self.starts
            .get(index)
            .map_or(self.text.len(), |start| *start as usize)
    }

    fn tag(&self, index: usize) -> &[u8] {
        &self.text[self.start(index) + 1..self.start(index + 1) - 2]
    }

    /// The index of the first tag after `last`.
    fn after(&self, last: &str) -> usize {
        let (mut low, mut high) = (0, self.starts.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.tag(middle) <= last.as_bytes() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// A page as the inside of a JSON array, a part of the text itself, and its last tag where more follow.
    fn page(&self, page: &Page) -> (Bytes, Option<String>) {
        let first = page.last.as_deref().map_or(0, |last| self.after(last));
        let rest = self.starts.len() - first;
        let count = page.n.map_or(rest, |n| rest.min(n as usize));
        let end = first + count;
        let (start, behind) = (self.start(first), self.start(end));
        // Without the last comma.
        let inside = self.text.slice(start..behind.saturating_sub(1).max(start));
        let next = (0 < count && count < rest)
            .then(|| String::from_utf8_lossy(self.tag(end - 1)).into_owned());
        (inside, next)
    }
}

impl Mirror {
    /// A part of a repository's tags.
    pub async fn tags(&self, permit: &Permit, page: &Page) -> Result<Listing, MirrorError> {
        let upstream = self.upstream(permit, &Asked::Tags, &without_pull()).await?;
        let listed = self.tags_of(&upstream, permit.repository(), page).await;
        listed.map_err(|error| told(&upstream, permit.repository(), error))
    }

    async fn tags_of(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        page: &Page,
    ) -> Result<Listing, MirrorError> {
        let subject = Subject::new(upstream, repository, Of::Tags);
        let Found { known, status, age } = self.listed(upstream, subject.clone()).await?;
        let (cache_status, (names, next)) = if let List::Tags(tags) = &known.list {
            (status, tags.page(page))
        } else {
            let _turn = self.inner.lists.turns.of(&subject).await?;
            let passed = passed_through(upstream, repository, page).await?;
            (CacheStatus::Bypass, passed)
        };
        Ok(Listing {
            cache_status,
            age,
            names,
            next,
        })
    }
}

/// The list as the upstream has it. Where its pages come too slowly, one that `stands` is better than what could
/// be passed through page by page. One that was too long is looked at where that was clear, at its `mark`.
pub(super) async fn fetch(
    upstream: &Upstream,
    repository: &Repository,
    stands: bool,
    mark: Option<&Mark>,
) -> Result<List, MirrorError> {
    let failed = |error| MirrorError::from_listing(&error, repository);
    if let Some(mark) = mark {
        let reaches = upstream.reaches(&repository.name, mark).await;
        if reaches.map_err(failed)? {
            return Ok(List::TooLong(Some(mark.clone())));
        }
    }
    let tags = upstream.all_tags(&repository.name).await;
    let (list, mark) = match tags.map_err(failed)? {
        AllTags::Whole(tags) => (TagList::new(&tags), None),
        AllTags::TooSlow(error) if stands => return Err(failed(error)),
        AllTags::TooLong(mark) => (None, Some(mark)),
        AllTags::TooSlow(_) => (None, None),
    };
    if list.is_none() {
        tracing::info!(%repository, "too many tags to sort them here; they are passed through in pages");
    }
    Ok(list.map_or(List::TooLong(mark), List::Tags))
}

/// One page, in the upstream's own order.
async fn passed_through(
    upstream: &Upstream,
    repository: &Repository,
    page: &Page,
) -> Result<(Bytes, Option<String>), MirrorError> {
    if page.n == Some(0) {
        return Ok((Bytes::new(), None));
    }
    let told = upstream.tags(&repository.name, page.n, page.last.as_deref());
    let told = told
        .await
        .map_err(|error| MirrorError::from_listing(&error, repository))?;
    Ok((Listing::inside(&told.tags)?, told.next))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(tags: &[&str]) -> TagList {
        let tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        TagList::new(&tags).unwrap()
    }

    fn page(n: Option<u32>, last: Option<&str>) -> Page {
        let last = last.map(str::to_owned);
        Page { n, last }
    }

    #[test]
    fn a_page_is_what_follows_last_and_says_whether_there_is_more() {
        let tags = list(&["b", "a", "c", "B", "a.1"]);
        for (n, last, names, next) in [
            (None, None, r#"["B","a","a.1","b","c"]"#, None),
            (Some(2), None, r#"["B","a"]"#, Some("a")),
            (Some(2), Some("a"), r#"["a.1","b"]"#, Some("b")),
            (Some(2), Some("b"), r#"["c"]"#, None),
            (Some(5), None, r#"["B","a","a.1","b","c"]"#, None),
            (None, Some("a.0"), r#"["a.1","b","c"]"#, None),
            (None, Some("c"), "[]", None),
            (Some(3), Some("zzz"), "[]", None),
            (Some(0), None, "[]", None),
            (Some(0), Some("a"), "[]", None),
        ] {
            let (found, more) = tags.page(&page(n, last));
            let found = [b"[", &found[..], b"]"].concat();
            assert_eq!(found, names.as_bytes(), "{n:?} {last:?}");

            assert_eq!(more.as_deref(), next, "{n:?} {last:?}");
        }
        assert_eq!(list(&[]).page(&page(None, None)), (Bytes::new(), None));
    }

    proptest! {
        #[test]
        fn pages_put_together_are_the_sorted_list(
            tags in prop::collection::btree_set("[a-zA-Z0-9_][a-zA-Z0-9._-]{0,5}", 0..40),
            n in 1_u32..7,
        ) {
            let parsed: BTreeSet<Tag> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
            let list = TagList::new(&parsed).unwrap();
            let (mut all, mut last) = (Vec::<String>::new(), None);
            loop {
                let (names, next) = list.page(&Page { n: Some(n), last });
                let names = [b"[", &names[..], b"]"].concat();
                all.extend(serde_json::from_slice::<Vec<String>>(&names).unwrap());
                last = next;
                if last.is_none() {
                    break;
                }
            }
            prop_assert_eq!(all, tags.into_iter().collect::<Vec<_>>());
        }
    }
}
