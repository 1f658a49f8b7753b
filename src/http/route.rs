//! What a request asks for, as typed values: method, target and host, parsed. `path` knows the endpoints,
//! `super::address` which registry is meant; `memo` remembers what was found.

mod memo;
mod path;

use std::sync::Arc;

use http::{HeaderMap, Method, Uri};

use super::address::{self, Addressed};
use super::query::Query;
use super::vet;
use crate::config::Routes;
use crate::metrics::RequestKind;
use crate::mirror::Page;
use crate::oci::{Digest, DigestError, NameError, Reference, Registry, Repository};

pub(super) use memo::Memo;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `GET /v2/`: is this a registry?
    Ping,
    /// `GET /v2/_catalog`: what is cached?
    Catalog(Catalog),
    /// Something of a repository. Shared with the request's record, and with requests for the same.
    Of(Arc<Target>),
}

/// A page of the repositories that are cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Catalog {
    /// Of this registry, which is configured; of all where none is named.
    pub(super) registry: Option<Registry>,
    /// Which part of the list.
    pub(super) page: Page,
    /// Where the client found it, for links.
    pub(super) here: Here,
}

/// Something of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The repository, whose registry is configured.
    pub(super) repository: Repository,
    /// What of it.
    pub(super) action: Action,
}

/// A page of a repository's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tags {
    /// Which part of the list.
    pub(super) page: Page,
    /// The repository's name as this client writes it: the path between `v2` and the endpoint.
    pub(super) name: String,
    /// Where the client found it, for links.
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
    Tags(Tags),
    /// `referrers/<digest>`.
    Referrers {
        /// What is referred to.
        digest: Digest,
        /// List only referrers of this type.
        artifact_type: Option<String>,
    },
}

/// The path and the `ns` parameter of a request, as its client wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Here {
    /// Every component of it has been parsed, so this is plain text but for escapes.
    path: String,
    namespace: Option<Registry>,
}

impl Here {
    /// The same place with another query.
    pub(super) fn with_query(&self, query: &str) -> String {
        let Self { path, namespace } = self;
        match namespace {
            None => format!("{path}?{query}"),
            Some(namespace) => format!("{path}?{query}&ns={namespace}"),
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
    /// `_catalog`, where it is switched off.
    #[error("this mirror does not list what is cached")]
    NoCatalog,
    /// Broken escapes, control characters, or an escaped slash.
    #[error("the request target is not properly encoded")]
    Encoding,
    /// A parameter given twice, or unlike its header.
    #[error("`{0}` is given more than once, with different values")]
    Ambiguous(&'static str),
    /// `ns` and the path each name a registry, and not the same.
    #[error("`ns` names {namespace}, and the path names {path}")]
    Contradiction {
        /// What `ns` or `OCI-Namespace` says.
        namespace: Registry,
        /// What the path says.
        path: Registry,
    },
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
    /// Where a registry is to be named, neither a host nor an upstream's alias.
    #[error("no upstream has the alias `{0}`")]
    NoAlias(String),
}

impl Route {
    fn of(target: Target) -> Self {
        Self::Of(Arc::new(target))
    }
}

#[cfg(test)]
impl Tags {
    pub(super) fn for_tests(name: &str) -> Self {
        Self {
            page: Page::default(),
            name: name.to_owned(),
            here: Here {
                path: format!("/v2/{name}/tags/list"),
                namespace: None,
            },
        }
    }
}

impl Target {
    #[cfg(test)]
    pub(super) fn for_tests(repository: &str, action: Action) -> Self {
        let repository: Repository = repository.parse().expect("a repository");
        Self { repository, action }
    }

    /// The metrics' label. One for each action: who is answered what is tested kind by kind.
    pub(super) fn kind(&self) -> RequestKind {
        match self.action {
            Action::Manifest(_) => RequestKind::Manifest,
            Action::Blob(_) => RequestKind::Blob,
            Action::Tags(_) => RequestKind::Tags,
            Action::Referrers { .. } => RequestKind::Referrers,
        }
    }
}

/// The repository that a path asks for, as its client writes it: what stands between `v2` and the endpoint.
pub(super) fn scope_of(path: &str) -> Option<String> {
    let (_, rest) = path::split_at_v2(path).ok()?;
    let components = path::components(rest).ok()?;
    let name = components.get(..components.len().checked_sub(2)?)?;
    // Nothing that would end a quoted string, or be no name.
    let name = name.join("/");
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:[]".contains(&byte);
    (!name.is_empty() && name.bytes().all(is_plain)).then_some(name)
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
    let (prefix, rest) = path::split_at_v2(uri.path())?;
    let prefix = prefix
        .map(|prefix| address::named(routes, &prefix))
        .transpose();
    if rest.is_empty() {
        // A ping is answered whatever else it says; only a prefix that leads nowhere is worth a 404,
        // so that clients turn to another mirror at once.
        return prefix.map(|_| Route::Ping);
    }
    let query = Query::parse(uri.query())?;
    let components = path::components(rest)?;
    let endpoint = path::endpoint(&components, &query)?;
    let namespace = address::namespace(&query, headers)?;
    let addressed = Addressed {
        namespace: namespace
            .clone()
            .map(|namespace| address::by_known_name(routes, namespace)),
        host: address::of_host(routes, headers),
        prefix: prefix?,
    };
    let here = || Here {
        path: uri.path().to_owned(),
        namespace,
    };
    match endpoint {
        path::Endpoint::Catalog { .. } if !routes.has_catalog() => Err(RouteError::NoCatalog),
        path::Endpoint::Catalog { before, page } => Ok(Route::Catalog(Catalog {
            registry: addressed.registry(routes, before)?,
            page,
            here: here(),
        })),
        path::Endpoint::Tags { name, page } => Ok(Route::of(Target {
            repository: addressed.repository(routes, name)?,
            action: Action::Tags(Tags {
                page,
                name: name.join("/"),
                here: here(),
            }),
        })),
        path::Endpoint::Of { name, action } => Ok(Route::of(Target {
            repository: addressed.repository(routes, name)?,
            action,
        })),
    }
}

#[cfg(test)]
mod tests;
