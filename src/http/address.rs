//! Which registry a request means.
//!
//! Clients say so in five ways, tried in this order: containerd's `ns` parameter (or the
//! `OCI-Namespace` header), a host name that the configuration gives to an upstream, a host as the
//! path's first component, an upstream's alias in that place, and nothing, for the default registry.
//! The component stands before or after `v2`, as clients differ in that. What is found only selects a
//! configured upstream; it is never dialled.

use http::HeaderMap;

use super::query::Query;
use super::route::RouteError;
use crate::config::Routes;
use crate::oci::{Registry, Repository};

/// The registry that a component before `v2` stands for.
pub(super) fn by_prefix(routes: &Routes, prefix: &str) -> Result<Registry, RouteError> {
    if Registry::looks_like_host(prefix) {
        let registry: Registry = prefix.parse().map_err(RouteError::Name)?;
        return match routes.upstream_for(&registry) {
            Some(_) => Ok(registry),
            None => Err(RouteError::NotConfigured(registry)),
        };
    }
    routes
        .by_alias(prefix)
        .ok_or_else(|| RouteError::NoAlias(prefix.chars().take(80).collect()))
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
    for field in headers.get_all("oci-namespace") {
        let text = field.to_str().map_err(|_| RouteError::Encoding)?;
        given.push(text.parse().map_err(RouteError::Name)?);
    }
    given.dedup();
    match given.len() {
        0 | 1 => Ok(given.pop()),
        _ => Err(RouteError::Ambiguous("ns")),
    }
}

/// All that a request says about its registry, apart from the name's first component.
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
        name: &[String],
    ) -> Result<Repository, RouteError> {
        let (registry, name) = match self.namespace.or(self.host) {
            Some(registry) => {
                let name = without_own_host(&registry, name);
                (registry, name)
            }
            None => match self.prefix {
                Some(registry) => (registry, name),
                None => by_first_component(routes, name)?,
            },
        };
        let name = name.join("/").parse().map_err(RouteError::Name)?;
        Ok(Repository::new(registry, name))
    }
}

/// `BuildKit` sends both `ns` and, where its mirror is configured with a path, the registry in the path.
fn without_own_host<'a>(registry: &Registry, name: &'a [String]) -> &'a [String] {
    match name {
        [first, rest @ ..]
            if !rest.is_empty()
                && Registry::looks_like_host(first)
                && first.parse().is_ok_and(|host: Registry| host == *registry) =>
        {
            rest
        }
        _ => name,
    }
}

fn by_first_component<'a>(
    routes: &Routes,
    name: &'a [String],
) -> Result<(Registry, &'a [String]), RouteError> {
    let default = || routes.default_registry().clone();
    let [first, rest @ ..] = name else {
        return Ok((default(), name));
    };
    if rest.is_empty() {
        return Ok((default(), name));
    }
    if Registry::looks_like_host(first) {
        return Ok((first.parse().map_err(RouteError::Name)?, rest));
    }
    Ok(match routes.by_alias(first) {
        Some(registry) => (registry, rest),
        None => (default(), name),
    })
}
