//! Which upstream a request means. Pure: built once from the configuration, asked for each request.
//!
//! Nothing that a client sends becomes an address: it only selects among what is configured here.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::pattern::RegistryPattern;
use super::types::Config;
use crate::oci::Registry;

/// The routing table.
#[derive(Clone, Debug)]
pub struct Routes {
    default_registry: Registry,
    exact: HashMap<Registry, usize>,
    /// The most specific first.
    patterns: Vec<(RegistryPattern, usize)>,
    hosts: HashMap<String, Registry>,
    aliases: HashMap<String, Registry>,
}

impl Routes {
    /// The table of a validated configuration.
    pub fn new(config: &Config) -> Self {
        let mut routes = Self {
            default_registry: config.default_registry.clone(),
            exact: HashMap::new(),
            patterns: Vec::new(),
            hosts: HashMap::new(),
            aliases: HashMap::new(),
        };
        for (index, upstream) in config.upstreams.iter().enumerate() {
            let Some(registry) = upstream.registry.exact() else {
                routes.patterns.push((upstream.registry.clone(), index));
                continue;
            };
            routes.exact.insert(registry.clone(), index);
            for host in &upstream.hosts {
                routes.hosts.insert(host.clone(), registry.clone());
            }
            if let Some(alias) = &upstream.alias {
                routes.aliases.insert(alias.clone(), registry.clone());
            }
        }
        routes.patterns.sort_by_cached_key(|(pattern, _)| {
            (Reverse(pattern.specificity()), pattern.to_string())
        });
        routes
    }

    /// The upstream of a registry, as its index in [`Config::upstreams`]; `None` where it is not
    /// configured. An exact one wins over a pattern, and of two patterns the one that fixes more.
    pub fn upstream_for(&self, registry: &Registry) -> Option<usize> {
        self.exact.get(registry).copied().or_else(|| {
            let mut patterns = self.patterns.iter();
            patterns
                .find(|(pattern, _)| pattern.matches(registry))
                .map(|(_, index)| *index)
        })
    }

    /// The registry that clients mean by the `Host` under which they reach us; its port is ignored.
    pub fn by_host(&self, host: &str) -> Option<Registry> {
        if self.hosts.is_empty() {
            return None;
        }
        let host: Registry = host.parse().ok()?;
        self.hosts.get(host.host()).cloned()
    }

    /// The registry that a first path component means as an alias.
    pub fn by_alias(&self, alias: &str) -> Option<Registry> {
        self.aliases.get(alias).cloned()
    }

    /// The registry of a request that names none.
    pub fn default_registry(&self) -> &Registry {
        &self.default_registry
    }

    /// What is configured, in order, to tell a client whose registry is not.
    pub fn configured(&self) -> impl Iterator<Item = String> {
        let mut names: Vec<_> = self.exact.keys().map(ToString::to_string).collect();
        names.extend(self.patterns.iter().map(|(pattern, _)| pattern.to_string()));
        names.sort_unstable();
        names.into_iter()
    }
}
