//! Which registry a request means.
//!
//! Clients say so in many ways, each a [`Naming`]; who says nothing means the default registry.
//!
//! What is found only selects a configured upstream; it is never dialled.
//!
//! dockerd says nothing at all, so that `quay/app` of Docker Hub and `app` of the upstream with the alias
//! `quay` would be one path. The namespaces of Docker Hub are anybody's, so neither may ever be served for
//! the other. Docker Hub's names have two components, which makes an alias before two more one for certain.
//! No name has a component `_`, so that form is certain for every registry and every name; it is for clients
//! that can't write a dot in a path's first component (kaniko).

use std::borrow::Cow;

use http::HeaderMap;

use super::query::Query;
use super::respond::NAMESPACE;
use super::route::RouteError;
use super::vet;
use crate::config::Routes;
use crate::oci::{Registry, Repository};

/// Says that the next component is a registry.
const MARK: &str = "_";
/// Components of a path, decoded.
pub(super) type Components<'a> = &'a [Cow<'a, str>];

/// Longest alias that is repeated to whoever asked for it.
const SHOWN: usize = 80;

/// The ways to say which registry a repository is of, in the order in which they count. The path is read in no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `_` as the path's first component after `v2`: the next one is a registry, by host or by alias. `ns` may only repeat it.
    Marked,
    /// `ns`, containerd's parameter, or the `OCI-Namespace` header.
    Namespace,
    /// A host name of the mirror's that the configuration gives to an upstream.
    Host,
    /// A component before `v2`, a host or an alias.
    Prefix,
    /// A host as the first component after `v2`.
    Component,
    /// An alias in that place, if Docker Hub is the default and at least two components follow.
    Alias,
}

impl Naming {
    /// All of them, in their order.
    pub const ALL: [Self; 6] = [
        Self::Marked,
        Self::Namespace,
        Self::Host,
        Self::Prefix,
        Self::Component,
        Self::Alias,
    ];
}

/// The registry that one component stands for: a host, or an alias.
pub(super) fn named(routes: &Routes, component: &str) -> Result<Registry, RouteError> {
    if Registry::looks_like_host(component) {
        let registry = component.parse().map_err(RouteError::Name)?;
        return configured(routes, registry);
    }
    routes
        .by_alias(component)
        .ok_or_else(|| RouteError::NoAlias(component.chars().take(SHOWN).collect()))
}

/// A registry by the one name that all of the house knows it by.
fn configured(routes: &Routes, registry: Registry) -> Result<Registry, RouteError> {
    let known = routes.registry(registry.clone());
    known.ok_or(RouteError::NotConfigured(registry))
}

/// The same where there is no such registry: that is told once it is known what is asked for.
pub(super) fn by_known_name(routes: &Routes, registry: Registry) -> Registry {
    routes.registry(registry.clone()).unwrap_or(registry)
}

/// The registry that containerd says it wants.
pub(super) fn namespace(
    query: &Query<'_>,
    headers: &HeaderMap,
) -> Result<Option<Registry>, RouteError> {
    let mut given = Vec::new();
    if let Some(namespace) = query.get("ns")? {
        given.push(namespace.parse().map_err(RouteError::Name)?);
    }
    for field in headers.get_all(NAMESPACE) {
        let text = field.to_str().map_err(|_| RouteError::Encoding)?;
        given.push(text.parse().map_err(RouteError::Name)?);
    }
    given.dedup();
    match given.len() {
        0 | 1 => Ok(given.pop()),
        _ => Err(RouteError::Ambiguous("ns")),
    }
}

/// The registry of the name that the mirror was reached under.
pub(super) fn of_host(routes: &Routes, headers: &HeaderMap) -> Option<Registry> {
    let host = routes.has_hosts().then(|| vet::host(headers))?;
    routes.by_host(host?)
}

/// The registry of a name that a client writes where it says nothing else, as in a token's scope.
pub(super) fn of_name(routes: &Routes, headers: &HeaderMap, name: &str) -> Option<Registry> {
    let addressed = Addressed {
        namespace: None,
        host: of_host(routes, headers),
        prefix: None,
    };
    let components: Vec<Cow<'_, str>> = name.split('/').map(Cow::from).collect();
    let repository = addressed.repository(routes, &components).ok()?;
    Some(repository.registry)
}

/// All that a request says about its registry, apart from the path after `v2`.
pub(super) struct Addressed {
    pub(super) namespace: Option<Registry>,
    pub(super) host: Option<Registry>,
    pub(super) prefix: Option<Registry>,
}

impl Addressed {
    /// The repository that is meant by `name`, the path between `v2` and the endpoint.
    pub(super) fn repository(
        self,
        routes: &Routes,
        name: Components<'_>,
    ) -> Result<Repository, RouteError> {
        let (registry, name) = self.split(routes, name)?;
        let name = name.join("/").parse().map_err(RouteError::Name)?;
        Ok(Repository::new(configured(routes, registry)?, name))
    }

    fn split<'a>(
        &self,
        routes: &Routes,
        name: Components<'a>,
    ) -> Result<(Registry, Components<'a>), RouteError> {
        for way in Naming::ALL {
            if let Some(found) = self.named(way, routes, name)? {
                return Ok(found);
            }
        }
        Ok((routes.default_registry().clone(), name))
    }

    /// The registry, and the name in it, where it is named in this way.
    fn named<'a>(
        &self,
        way: Naming,
        routes: &Routes,
        name: Components<'a>,
    ) -> Result<Option<(Registry, Components<'a>)>, RouteError> {
        let whole = |registry: &Registry| (registry.clone(), without(routes, registry, name));
        Ok(match way {
            Naming::Marked => match name {
                [mark, registry, rest @ ..] if mark == MARK => {
                    Some((self.agree(named(routes, registry)?)?, rest))
                }
                _ => None,
            },
            Naming::Namespace => self.namespace.as_ref().map(whole),
            Naming::Host => self.host.as_ref().map(whole),
            Naming::Prefix => self.prefix.clone().map(|registry| (registry, name)),
            Naming::Component => match name {
                [first, rest @ ..] if !rest.is_empty() && Registry::looks_like_host(first) => {
                    Some((first.parse().map_err(RouteError::Name)?, rest))
                }
                _ => None,
            },
            Naming::Alias => match name {
                [first, rest @ ..] if may_begin_with_alias(routes.default_registry(), rest) => {
                    routes.by_alias(first).map(|registry| (registry, rest))
                }
                _ => None,
            },
        })
    }

    /// The one registry whose repositories are to be listed; all are where none is named. `before` is the
    /// path between `v2` and `_catalog`.
    pub(super) fn registry(
        self,
        routes: &Routes,
        before: Components<'_>,
    ) -> Result<Option<Registry>, RouteError> {
        let registry = match before {
            [] => None,
            [registry] => Some(registry),
            [mark, registry] if mark == MARK => Some(registry),
            _ => return Err(RouteError::Path),
        };
        if let Some(registry) = registry {
            return self.agree(named(routes, registry)?).map(Some);
        }
        let registry = self.namespace.or(self.host).or(self.prefix);
        registry
            .map(|registry| configured(routes, registry))
            .transpose()
    }

    /// A registry that the path names for certain, which `ns` may only repeat.
    fn agree(&self, registry: Registry) -> Result<Registry, RouteError> {
        match &self.namespace {
            Some(namespace) if *namespace != registry => Err(RouteError::Contradiction {
                namespace: namespace.clone(),
                path: registry,
            }),
            _ => Ok(registry),
        }
    }
}

/// `BuildKit`, and containerd with `override_path`, send both `ns` and, where their mirror is configured with
/// a path, the registry in the path.
fn without<'a>(routes: &Routes, registry: &Registry, name: Components<'a>) -> Components<'a> {
    match name {
        [first, rest @ ..] if !rest.is_empty() && Registry::looks_like_host(first) => {
            let host = first.parse().map(|host| by_known_name(routes, host));
            if host.as_ref() == Ok(registry) {
                rest
            } else {
                name
            }
        }
        [first, rest @ ..]
            if may_begin_with_alias(registry, rest)
                && routes.by_alias(first).as_ref() == Some(registry) =>
        {
            rest
        }
        _ => name,
    }
}

/// No name of Docker Hub has more than two components.
fn may_begin_with_alias(registry: &Registry, rest: Components<'_>) -> bool {
    registry.is_docker_hub() && rest.len() >= 2
}
