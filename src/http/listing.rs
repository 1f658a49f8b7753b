//! Lists as responses: the JSON around the names, and the link to the next page.

use bytes::Bytes;
use futures_util::stream;
use http::header::{AGE, CONTENT_TYPE, LINK};
use http::{HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::body::ResponseBody;
use super::respond::{Answer, CACHE_STATUS, cache_status};
use super::route::{Catalog, Here, Tags};
use crate::mirror::{Listing, Page};
use crate::oci::Repository;

/// Lists up to this size go out in one piece.
const COPIED: usize = 64 << 10;

/// All but what stands for itself in a query.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

impl Answer {
    /// A page of a repository's tags.
    pub(super) fn tags(listing: Listing, repository: &Repository, tags: &Tags) -> Self {
        // A name has no character that JSON escapes.
        let before = format!("{{\"name\":\"{}\",\"tags\":[", tags.name);
        let mut answer = Self::list(before.into(), listing, &tags.page, &tags.here);
        answer.of_registry(&repository.registry);
        answer
    }

    /// A page of what is cached.
    pub(super) fn catalog(listing: Listing, catalog: &Catalog) -> Self {
        let before = Bytes::from_static(b"{\"repositories\":[");
        let mut answer = Self::list(before, listing, &catalog.page, &catalog.here);
        if let Some(registry) = &catalog.registry {
            answer.of_registry(registry);
        }
        answer
    }

    fn list(before: Bytes, listing: Listing, page: &Page, here: &Here) -> Self {
        let body = around(before, listing.names, Bytes::from_static(b"]}"));
        let mut answer = Self::new(StatusCode::OK, body);
        answer.cache = Some(listing.cache_status);
        answer.set(CONTENT_TYPE, "application/json");
        answer
            .headers
            .insert(CACHE_STATUS, cache_status(listing.cache_status));
        if let Some(age) = listing.age {
            answer.set(AGE, age.as_secs());
        }
        if let Some(last) = &listing.next {
            answer.link(&here.with_query(&next_page(page, last)));
        }
        answer
    }

    fn link(&mut self, next: &str) {
        if let Ok(link) = HeaderValue::from_str(&format!("<{next}>; rel=\"next\"")) {
            self.headers.insert(LINK, link);
        }
    }
}

/// A long list is not copied into its answer.
fn around(before: Bytes, names: Bytes, after: Bytes) -> ResponseBody {
    if names.len() <= COPIED {
        return ResponseBody::whole([before, names, after].concat());
    }
    let length = before.len() + names.len() + after.len();
    let parts = [before, names, after].map(Ok);
    ResponseBody::stream(length as u64, stream::iter(parts))
}

fn next_page(page: &Page, last: &str) -> String {
    let last = utf8_percent_encode(last, ESCAPED);
    match page.n {
        Some(n) => format!("n={n}&last={last}"),
        None => format!("last={last}"),
    }
}
