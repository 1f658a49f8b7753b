//! Method, target and host of a request, parsed into typed values: what is asked, and of which
//! repository of which registry (see `address`).

use http::{HeaderMap, Method, Uri};

use super::address::{self, Addressed};
use super::query::{Query, decode};
use super::vet;
use crate::config::Routes;
use crate::metrics::RequestKind;
use crate::oci::{Digest, DigestError, NameError, Reference, ReferenceError, Registry, Repository};

/// Most tags of one page.
const MAX_PAGE: u32 = 1000;
/// Longest `last` and `artifactType`.
const MAX_PARAMETER: usize = 256;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `GET /v2/`: is this a registry?
    Ping,
    /// Something of a repository.
    Of(Target),
}

/// Something of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The repository, whose registry is configured.
    pub(super) repository: Repository,
    /// What of it.
    pub(super) action: Action,
    /// The repository's path and the `ns` parameter as this client writes them, for links.
    pub(super) here: Here,
}

/// What is asked of a repository (distribution-spec, "Endpoints").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// `manifests/<reference>`.
    Manifest(Reference),
    /// `blobs/<digest>`.
    Blob(Digest),
    /// `tags/list`.
    Tags {
        /// Most tags to list.
        n: Option<u32>,
        /// The tag to list after.
        last: Option<String>,
    },
    /// `referrers/<digest>`.
    Referrers {
        /// What is referred to.
        digest: Digest,
        /// List only referrers of this type.
        artifact_type: Option<String>,
    },
}

/// How a client addresses a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Here {
    path: String,
    namespace: Option<Registry>,
}

impl Here {
    /// The path of the next page, which the upstream gave relative to the repository.
    pub(super) fn next_page(&self, relative: &str) -> String {
        let Self { path, namespace } = self;
        match namespace {
            None => format!("{path}/{relative}"),
            Some(namespace) if relative.contains('?') => {
                format!("{path}/{relative}&ns={namespace}")
            }
            Some(namespace) => format!("{path}/{relative}?ns={namespace}"),
        }
    }
}

/// Why a request has no route.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    /// Anything but GET and HEAD.
    #[error("this is a read-only mirror")]
    Method,
    /// A path that the distribution spec does not have, or that is not served here.
    #[error("no such endpoint")]
    Path,
    /// Broken escapes, control characters, or an escaped slash.
    #[error("the request target is not properly encoded")]
    Encoding,
    /// A parameter given twice, or unlike its header.
    #[error("`{0}` is given more than once, with different values")]
    Ambiguous(&'static str),
    /// A malformed repository or registry name.
    #[error(transparent)]
    Name(NameError),
    /// A malformed tag.
    #[error(transparent)]
    Tag(NameError),
    /// A malformed digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// A malformed `n`.
    #[error("`n` must be a number")]
    Number,
    /// A parameter that is too long to be meant.
    #[error("`{0}` is too long")]
    Parameter(&'static str),
    /// A registry without an upstream.
    #[error("registry {0} is not configured here")]
    NotConfigured(Registry),
    /// A path's first component, before `v2`, that names no upstream.
    #[error("no upstream has the alias `{0}`")]
    NoAlias(String),
}

impl Target {
    #[cfg(test)]
    pub(super) fn for_tests(repository: &str, action: Action) -> Self {
        let repository: Repository = repository.parse().expect("a repository");
        let path = format!("/v2/{}", repository.name);
        Self {
            repository,
            action,
            here: Here {
                path,
                namespace: None,
            },
        }
    }

    /// The metrics' label.
    pub(super) fn kind(&self) -> RequestKind {
        match self.action {
            Action::Manifest(_) => RequestKind::Manifest,
            Action::Blob(_) => RequestKind::Blob,
            Action::Tags { .. } => RequestKind::Tags,
            Action::Referrers { .. } => RequestKind::Referrers,
        }
    }
}

/// Finds the route of a request whose form has been vetted.
pub(super) fn route(
    routes: &Routes,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Route, RouteError> {
    if !vet::is_read(method) {
        return Err(RouteError::Method);
    }
    let (prefix, rest) = split_at_v2(uri.path())?;
    let prefix = prefix
        .map(|prefix| address::by_prefix(routes, &prefix))
        .transpose();
    if rest.is_empty() {
        // A ping is answered whatever else it says; only a prefix that leads nowhere is worth a 404,
        // so that clients turn to another mirror at once.
        return prefix.map(|_| Route::Ping);
    }
    let query = Query::parse(uri.query())?;
    let components = rest
        .split('/')
        .map(component)
        .collect::<Result<Vec<_>, _>>()?;
    let (name, action) = action(&components, &query)?;
    let namespace = address::namespace(&query, headers)?;
    let addressed = Addressed {
        namespace: namespace.clone(),
        host: vet::host(headers).and_then(|host| routes.by_host(host)),
        prefix: prefix?,
    };
    let repository = addressed.repository(routes, name)?;
    if routes.upstream_for(&repository.registry).is_none() {
        return Err(RouteError::NotConfigured(repository.registry));
    }
    let here = Here {
        path: path_of(uri.path(), &components, name),
        namespace,
    };
    Ok(Route::Of(Target {
        repository,
        action,
        here,
    }))
}

/// Splits a path at the API's version: what stands before it, if anything, and what comes after.
fn split_at_v2(path: &str) -> Result<(Option<String>, &str), RouteError> {
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

fn component(raw: &str) -> Result<String, RouteError> {
    let decoded = decode(raw)?;
    if decoded.contains('/') {
        return Err(RouteError::Encoding);
    }
    Ok(decoded)
}

/// Reads the path from its end, since a repository's name may hold any of the endpoints' words.
fn action<'a>(
    components: &'a [String],
    query: &Query<'_>,
) -> Result<(&'a [String], Action), RouteError> {
    let [name @ .., endpoint, last] = components else {
        return Err(RouteError::Path);
    };
    if name.is_empty() {
        return Err(RouteError::Path);
    }
    let action = match (endpoint.as_str(), last.as_str()) {
        ("manifests", reference) => Action::Manifest(parse_reference(reference)?),
        ("blobs", digest) => Action::Blob(digest.parse()?),
        ("referrers", digest) => Action::Referrers {
            digest: digest.parse()?,
            artifact_type: parameter(query, "artifactType")?,
        },
        ("tags", "list") => Action::Tags {
            n: query.get("n")?.map(page_size).transpose()?,
            last: parameter(query, "last")?,
        },
        _ => return Err(RouteError::Path),
    };
    Ok((name, action))
}

fn parse_reference(text: &str) -> Result<Reference, RouteError> {
    text.parse().map_err(|error| match error {
        ReferenceError::Tag(error) => RouteError::Tag(error),
        ReferenceError::Digest(error) => RouteError::Digest(error),
    })
}

fn page_size(text: &str) -> Result<u32, RouteError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RouteError::Number);
    }
    Ok(text.parse().unwrap_or(MAX_PAGE).min(MAX_PAGE))
}

fn parameter(query: &Query<'_>, name: &'static str) -> Result<Option<String>, RouteError> {
    match query.get(name)? {
        None | Some("") => Ok(None),
        Some(value) if value.len() <= MAX_PARAMETER => Ok(Some(value.to_owned())),
        Some(_) => Err(RouteError::Parameter(name)),
    }
}

/// The repository's path as the client wrote it: all but the two components of the endpoint. Every
/// component has been parsed by then, so this is plain text but for escapes.
fn path_of(path: &str, components: &[String], name: &[String]) -> String {
    let endpoint = components.len() - name.len();
    let kept = path.split('/').count() - endpoint;
    path.split('/').take(kept).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests;
