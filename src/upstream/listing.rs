//! Lists: the tags of a repository and the referrers of a manifest (distribution-spec, "Content
//! discovery").

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderMap, Method};
use serde::Deserialize;
use url::Url;

use super::client::Upstream;
use super::credentials::Access;
use super::error::UpstreamError;
use super::exchange::{Ask, Redirects};
use crate::oci::{
    Digest, ErrorCode, MAX_MANIFEST_BYTES, MediaType, RepositoryName, Tag, media_type,
};

/// A repository with a million tags in one answer would be 16 MB; more are asked for in pages.
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

/// The referrers of a manifest, as they came.
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
        let n = n.map(|n| ("n", n.to_string()));
        let last = last.map(|last| ("last", last.to_owned()));
        let ask = Ask {
            query: n.into_iter().chain(last).collect(),
            body: Some(MAX_TAGS_BYTES),
            ..ask(name, "tags/list".to_owned(), ErrorCode::NameUnknown)
        };
        let answer = self.ask(&ask).await?;
        let listed: TagList = serde_json::from_slice(&answer.body)
            .map_err(|_| answer.invalid("a list of tags that can't be read"))?;
        let tags = listed.tags.unwrap_or_default();
        let next_page = next_page(answer.response.headers(), answer.response.url());
        Ok(TagPage {
            next: next_page.and_then(|next| next.last.or_else(|| tags.last().cloned())),
            tags: tags.iter().filter_map(|tag| tag.parse().ok()).collect(),
            access: answer.access,
        })
    }

    /// The referrers of a manifest. Where the registry has no such API it answers 404, which stays
    /// an error: clients then look for the tag that stands in for it.
    pub async fn referrers(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Referrers, UpstreamError> {
        let filter = artifact_type.map(|kind| ("artifactType", kind.to_owned()));
        let ask = Ask {
            query: filter.into_iter().collect(),
            accept: Some("application/vnd.oci.image.index.v1+json"),
            anywhere: true,
            body: Some(MAX_MANIFEST_BYTES),
            ..ask(
                name,
                format!("referrers/{digest}"),
                ErrorCode::ManifestUnknown,
            )
        };
        let answer = self.ask(&ask).await?;
        let text = |name: &str| {
            let value = answer.response.headers().get(name)?;
            value.to_str().ok()
        };
        Ok(Referrers {
            media_type: text(CONTENT_TYPE.as_str())
                .and_then(|field| MediaType::from_content_type(field).ok())
                .unwrap_or(media_type::OCI_INDEX),
            filters_applied: text("oci-filters-applied").map(str::to_owned),
            bytes: answer.body,
            access: answer.access,
        })
    }
}

fn ask(name: &RepositoryName, tail: String, absent: ErrorCode) -> Ask<'_> {
    Ask {
        method: Method::GET,
        name,
        tail,
        query: Vec::new(),
        accept: None,
        range: None,
        absent,
        redirects: Redirects::Follow,
        anywhere: false,
        body: None,
    }
}

/// That there is a next page, and where it begins, if that is said in the specification's way.
#[derive(Debug, PartialEq)]
struct NextPage {
    last: Option<String>,
}

/// `Link: </v2/name/tags/list?last=x&n=10>; rel="next"`. Only its query is read; it is never dialled.
fn next_page(headers: &HeaderMap, asked: &Url) -> Option<NextPage> {
    headers
        .get_all(LINK)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(links)
        .find(|(_, parameters)| is_next(parameters))
        .map(|(target, _)| {
            let last = asked.join(target).ok().and_then(|url| {
                url.query_pairs()
                    .find(|(key, _)| key == "last")
                    .map(|(_, last)| last.into_owned())
            });
            NextPage { last }
        })
}

/// Splits a `Link` line into targets and parameters (RFC 8288 section 3).
fn links(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split('<')
        .skip(1)
        .filter_map(|link| link.split_once('>'))
}

fn is_next(parameters: &str) -> bool {
    parameters.split([';', ',']).any(|parameter| {
        parameter
            .trim()
            .split_once('=')
            .is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value
                        .trim()
                        .trim_matches('"')
                        .split_ascii_whitespace()
                        .any(|rel| rel.eq_ignore_ascii_case("next"))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(last: &str) -> NextPage {
        NextPage {
            last: Some(last.to_owned()),
        }
    }

    fn next(line: &str) -> Option<NextPage> {
        let mut headers = HeaderMap::new();
        headers.insert(LINK, line.parse().unwrap());
        let asked = Url::parse("https://a.io/v2/x/tags/list?n=2").unwrap();
        next_page(&headers, &asked)
    }

    #[test]
    fn the_next_page_is_found_in_any_form_of_link() {
        let b = Some(page("b"));
        assert_eq!(next(r#"</v2/x/tags/list?last=b&n=2>; rel="next""#), b);
        assert_eq!(next("<https://a.io/v2/x/tags/list?n=2&last=b>;rel=next"), b);
        assert_eq!(next("<?last=b>; title=x; REL=\"prev next\""), b);
        assert_eq!(
            next("</a?last=a>; rel=\"prev\", </b?last=b>; rel=\"next\""),
            b
        );
        assert_eq!(
            next("</v2/x/tags/list?last=a%2Fb>; rel=next"),
            Some(page("a/b"))
        );
        assert_eq!(
            next("</v2/x/tags/list?next_page=opaque>; rel=next"),
            Some(NextPage { last: None })
        );
        assert_eq!(next("</v2/x/tags/list?last=b>; rel=prev"), None);
        assert_eq!(next("nonsense"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_link_is_survived(line in "[ -~]{0,100}") {
            let _ = next(&line);
        }
    }
}
