//! The endpoints of the registry API: paths and their parameters, without regard to which registry is meant.

use std::borrow::Cow;

use super::{Action, RouteError};
use crate::http::address::Components;
use crate::http::query::{Query, decode};
use crate::mirror::Page;
use crate::oci::{Reference, ReferenceError};

/// Most entries of one page.
pub(super) const MAX_PAGE: u32 = 1000;
/// Longest `artifactType`, and longest `last` of a list of tags.
const MAX_PARAMETER: usize = 256;
/// Longest `last` of a catalog. Its own links say a registry's host (253 bytes) and port, a slash and a name (255).
const MAX_REPOSITORY: usize = 520;

/// Components that a path has mostly.
const USUAL: usize = 8;

/// An endpoint, and the components between `v2` and it.
pub(super) enum Endpoint<'a> {
    /// `_catalog`.
    Catalog { before: Components<'a>, page: Page },
    /// A repository's tags.
    Tags { name: Components<'a>, page: Page },
    /// Another one of a repository's.
    Of {
        name: Components<'a>,
        action: Action,
    },
}

/// Splits a path at the API's version: what stands before it, if anything, and what comes after.
pub(super) fn split_at_v2(path: &str) -> Result<(Option<Cow<'_, str>>, &str), RouteError> {
    let path = path.strip_prefix('/').ok_or(RouteError::Path)?;
    let (first, after) = path.split_once('/').unwrap_or((path, ""));
    if first == "v2" {
        return Ok((None, after));
    }
    let (second, rest) = after.split_once('/').unwrap_or((after, ""));
    if second == "v2" {
        return Ok((Some(component(first)?), rest));
    }
    Err(RouteError::Path)
}

/// The components of what comes after `v2`, decoded.
pub(super) fn components(rest: &str) -> Result<Vec<Cow<'_, str>>, RouteError> {
    let mut components = Vec::with_capacity(USUAL);
    for raw in rest.split('/') {
        components.push(component(raw)?);
    }
    Ok(components)
}

fn component(raw: &str) -> Result<Cow<'_, str>, RouteError> {
    let decoded = decode(raw)?;
    if decoded.contains('/') {
        return Err(RouteError::Encoding);
    }
    Ok(decoded)
}

/// Reads the path from its end, since a repository's name may hold any of the endpoints' words. It can't
/// hold `_catalog`: its components begin with a letter or digit.
pub(super) fn endpoint<'a>(
    components: Components<'a>,
    query: &Query<'_>,
) -> Result<Endpoint<'a>, RouteError> {
    if let [before @ .., last] = components
        && last == "_catalog"
    {
        let page = page(query, MAX_REPOSITORY)?;
        return Ok(Endpoint::Catalog { before, page });
    }
    let [name @ .., endpoint, last] = components else {
        return Err(RouteError::Path);
    };
    if name.is_empty() {
        return Err(RouteError::Path);
    }
    let action = match (&**endpoint, &**last) {
        ("manifests", reference) => Action::Manifest(parse_reference(reference)?),
        ("blobs", digest) => Action::Blob(digest.parse()?),
        ("referrers", digest) => Action::Referrers {
            digest: digest.parse()?,
            artifact_type: parameter(query, "artifactType", MAX_PARAMETER)?,
        },
        ("tags", "list") => {
            let page = page(query, MAX_PARAMETER)?;
            return Ok(Endpoint::Tags { name, page });
        }
        _ => return Err(RouteError::Path),
    };
    Ok(Endpoint::Of { name, action })
}

fn parse_reference(text: &str) -> Result<Reference, RouteError> {
    text.parse().map_err(|error| match error {
        ReferenceError::Tag(error) => RouteError::Tag(error),
        ReferenceError::Digest(error) => RouteError::Digest(error),
    })
}

fn page(query: &Query<'_>, longest: usize) -> Result<Page, RouteError> {
    Ok(Page {
        n: query.get("n")?.map(page_size).transpose()?,
        last: parameter(query, "last", longest)?,
    })
}

fn page_size(text: &str) -> Result<u32, RouteError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RouteError::Number);
    }
    Ok(text.parse().unwrap_or(MAX_PAGE).min(MAX_PAGE))
}

fn parameter(
    query: &Query<'_>,
    name: &'static str,
    longest: usize,
) -> Result<Option<String>, RouteError> {
    match query.get(name)? {
        None | Some("") => Ok(None),
        Some(value) if value.len() <= longest => Ok(Some(value.to_owned())),
        Some(_) => Err(RouteError::Parameter(name)),
    }
}
