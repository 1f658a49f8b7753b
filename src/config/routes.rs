//! Which upstream a request means. Pure: built once from the configuration, asked for each request.
//!
//! Nothing that a client sends becomes an address: it only selects among what is configured here.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::ecr::EcrHost;
use super::pattern::RegistryPattern;
use super::types::{Config, Credentials, Upstream};
use crate::oci::Registry;

/// The routing table.
#[derive(Clone, Debug)]
pub struct Routes {
    default_registry: Registry,
    /// Its upstream, where that is its own.
    default_index: Option<usize>,
    has_catalog: bool,
    exact: HashMap<Registry, usize>,
    /// The most specific first.
    patterns: Vec<(RegistryPattern, usize)>,
    hosts: HashMap<String, Registry>,
    aliases: HashMap<String, Registry>,
    /// By index: whether each client logs in for itself.
    passthrough: Vec<bool>,
    /// By index: the key of each upstream's table, and the key in it that sets a login.
    logins: Vec<(String, Option<&'static str>)>,
}

impl Routes {
    /// The table of a validated configuration.
    pub fn new(config: &Config) -> Self {
        let mut routes = Self {
            default_registry: config.default_registry.clone(),
            default_index: None,
            has_catalog: config.server.catalog,
            exact: HashMap::new(),
            patterns: Vec::new(),
            hosts: HashMap::new(),
            aliases: HashMap::new(),
            passthrough: config
                .upstreams
                .iter()
                .map(|upstream| upstream.passthrough.is_some())
                .collect(),
            logins: config.upstreams.iter().map(login).collect(),
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
        routes.default_index = routes.exact.get(&routes.default_registry).copied();
        routes.patterns.sort_by_cached_key(|(pattern, _)| {
            (Reverse(pattern.specificity()), pattern.to_string())
        });
        routes
    }

    /// The upstream of a registry, as its index in [`Config::upstreams`]; `None` where it is not
    /// configured. An exact one wins over a pattern, and of two patterns the one that fixes more.
    pub fn upstream_for(&self, registry: &Registry) -> Option<usize> {
        self.table_of(registry).map(|(_, index)| index)
    }

    /// A registry by the name that its upstream's table is called by, where that is another of its names; `None` where it
    /// is not configured.
    pub fn registry(&self, registry: Registry) -> Option<Registry> {
        let (named, _) = self.table_of(&registry)?;
        Some(named.cloned().unwrap_or(registry))
    }

    /// Its table, by its name where it is one registry's.
    fn table_of(&self, registry: &Registry) -> Option<(Option<&Registry>, usize)> {
        // Whose registry most requests mean.
        if let (true, Some(index)) = (*registry == self.default_registry, self.default_index) {
            return Some((Some(&self.default_registry), index));
        }
        let exact = |name: &Registry| self.exact.get_key_value(name);
        let other_name = || EcrHost::of(registry)?.names().find_map(|name| exact(&name));
        if let Some((named, index)) = exact(registry).or_else(other_name) {
            return Some((Some(named), *index));
        }
        let mut patterns = self.patterns.iter();
        let found = patterns.find(|(pattern, _)| pattern.matches(registry));
        found.map(|(_, index)| (None, *index))
    }

    /// Whether the `Host` under which clients reach us tells any registry.
    pub fn has_hosts(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// The registry that clients mean by the `Host` under which they reach us; its port is ignored.
    pub fn by_host(&self, host: &str) -> Option<Registry> {
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

    /// Whether clients log in for themselves at any upstream.
    pub fn has_passthrough(&self) -> bool {
        self.passthrough.contains(&true)
    }

    /// Whether clients log in for themselves at a registry.
    pub fn is_passthrough(&self, registry: &Registry) -> bool {
        let index = self.upstream_for(registry);
        index.is_some_and(|index| self.passthrough[index])
    }

    /// The one registry at which they do, where there is one alone.
    pub fn only_passthrough(&self) -> Option<&Registry> {
        let all = self.passthrough.iter().filter(|passes| **passes).count();
        let mut found = self
            .exact
            .iter()
            .filter(|(_, index)| self.passthrough[**index]);
        found
            .next()
            .map(|(registry, _)| registry)
            .filter(|_| all == 1)
    }

    /// Whether what is cached may be asked for.
    pub fn has_catalog(&self) -> bool {
        self.has_catalog
    }

    /// The table in `[upstreams]` that a registry falls under, and the key in it that says how to log in; `None`
    /// there where nobody is logged in.
    pub fn login(&self, registry: &Registry) -> Option<(String, Option<&'static str>)> {
        let index = self.upstream_for(registry)?;
        self.logins.get(index).cloned()
    }

    /// What to do about a quota that is spent, or will be: the one that is configured, or the one that the registry has.
    pub fn quota_advice(&self, registry: &Registry, is_configured: bool) -> String {
        let (table, login) = self
            .login(registry)
            .unwrap_or_else(|| (registry.to_string(), None));
        if is_configured {
            return format!(
                "raise `quota` under [upstreams.\"{table}\"] of the mirror's configuration, or wait"
            );
        }
        if self.is_passthrough(registry) {
            return "it is the quota of the login that the client has brought, or without one of the mirror's address; log in, or with a login that has a larger quota, or wait".to_owned();
        }
        match login {
            None => format!(
                "nobody is logged in there; set `username` and `password_file` under [upstreams.\"{table}\"] of the mirror's configuration, or wait"
            ),
            Some(key) => format!(
                "it is the quota of the login that `{key}` under [upstreams.\"{table}\"] of the mirror's configuration sets; set one with a larger quota, or wait"
            ),
        }
    }

    /// The tables in `[upstreams]`, in order: the key of each, the key in it that says how to log in, and whether it stands for
    /// many registries.
    pub fn tables(&self) -> impl Iterator<Item = (&str, Option<&'static str>, bool)> {
        let families: HashSet<usize> = self.patterns.iter().map(|(_, index)| *index).collect();
        let tables = self.logins.iter().enumerate();
        tables.map(move |(index, (name, login))| (name.as_str(), *login, families.contains(&index)))
    }

    /// What is configured, in order, to tell a client whose registry is not.
    pub fn configured(&self) -> impl Iterator<Item = String> {
        let mut names: Vec<_> = self.exact.keys().map(ToString::to_string).collect();
        names.extend(self.patterns.iter().map(|(pattern, _)| pattern.to_string()));
        names.sort_unstable();
        names.into_iter()
    }
}

fn login(upstream: &Upstream) -> (String, Option<&'static str>) {
    let key = match upstream.credentials {
        Credentials::None => None,
        Credentials::Password { .. } => Some("username"),
        Credentials::DockerConfig(_)
        | Credentials::Ecr(_)
        | Credentials::Gcp(_)
        | Credentials::Acr(_) => Some("credentials"),
    };
    (upstream.registry.to_string(), key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::from_toml(&format!("[cache]\ndir = '/cache'\n{text}")).unwrap()
    }

    fn found(text: &str, registry: &str) -> Option<String> {
        let config = config(text);
        let index = Routes::new(&config).upstream_for(&registry.parse().unwrap());
        index.map(|index| config.upstreams[index].registry.to_string())
    }

    #[test]
    fn the_default_knows_the_public_registries() {
        for (registry, upstream) in [
            ("docker.io", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("ghcr.io", "ghcr.io"),
            ("europe-docker.pkg.dev", "*.pkg.dev"),
            ("gcr.io", "gcr.io"),
            ("eu.gcr.io", "*.gcr.io"),
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "ecr"),
            ("public.ecr.aws", "public.ecr.aws"),
        ] {
            assert_eq!(found("", registry).as_deref(), Some(upstream), "{registry}");
        }
    }

    #[test]
    fn what_is_not_configured_is_nobodys() {
        for registry in [
            "evil.example",
            "docker.io:5000",
            "localhost:5000",
            "169.254.169.254",
            "a.b.pkg.dev",
            "ecr",
        ] {
            assert_eq!(found("", registry), None, "{registry}");
        }
    }

    #[test]
    fn the_more_specific_upstream_wins() {
        let text = "[upstreams.'*.example.com']\n[upstreams.'a-*.example.com']\n[upstreams.'a-b.example.com']\n\
            [upstreams.'*.*.example.com']\n[upstreams.'123456789012.dkr.ecr.*.amazonaws.com']\n\
            [upstreams.'*.*.*.*.amazonaws.com']\n";
        for (registry, upstream) in [
            ("a-b.example.com", "a-b.example.com"),
            ("a-c.example.com", "a-*.example.com"),
            ("b.example.com", "*.example.com"),
            ("a.b.example.com", "*.*.example.com"),
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "123456789012.dkr.ecr.*.amazonaws.com",
            ),
            ("210987654321.dkr.ecr.eu-west-1.amazonaws.com", "ecr"),
            ("a.b.c.d.amazonaws.com", "*.*.*.*.amazonaws.com"),
        ] {
            assert_eq!(
                found(text, registry).as_deref(),
                Some(upstream),
                "{registry}"
            );
        }
    }

    /// What a table denies was to be had by another of the registry's names, which fell under the family's.
    #[test]
    fn a_registry_has_its_table_by_each_of_its_names() {
        let text = "[upstreams.'123456789012.dkr.ecr.eu-west-1.amazonaws.com']\n\
            [upstreams.'210987654321.dkr.ecr.*.amazonaws.com']\n";
        let routes = Routes::new(&config(text));
        for (registry, table, name) in [
            (
                "123456789012.dkr-ecr.eu-west-1.on.aws",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            ),
            (
                "123456789012.dkr.ecr-fips.eu-west-1.amazonaws.com",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            ),
            (
                "210987654321.dkr-ecr.eu-west-1.on.aws",
                "210987654321.dkr.ecr.*.amazonaws.com",
                "210987654321.dkr-ecr.eu-west-1.on.aws",
            ),
            (
                "123456789012.dkr-ecr.eu-west-2.on.aws",
                "ecr",
                "123456789012.dkr-ecr.eu-west-2.on.aws",
            ),
        ] {
            assert_eq!(found(text, registry).as_deref(), Some(table), "{registry}");
            let named = routes.registry(registry.parse().unwrap()).unwrap();
            assert_eq!(named.as_str(), name, "{registry}");
        }
        assert_eq!(routes.registry("evil.example".parse().unwrap()), None);
    }

    #[test]
    fn hosts_and_aliases_lead_to_their_registry() {
        let routes = Routes::new(&config(
            "[upstreams.'quay.io']\nhosts = ['quay.mirror.example.com', '10.0.0.1', '[::1]']\n",
        ));
        let quay = Some("quay.io".parse().unwrap());
        for host in [
            "quay.mirror.example.com",
            "Quay.Mirror.example.com:5000",
            "10.0.0.1:80",
            "[::1]:5000",
            "[0::1]",
        ] {
            assert_eq!(routes.by_host(host), quay, "{host}");
        }
        for host in [
            "",
            "mirror.example.com",
            "quay.io",
            "quay.mirror.example.com/x",
            "10.0.0.2",
        ] {
            assert_eq!(routes.by_host(host), None, "{host}");
        }
        assert_eq!(routes.by_alias("quay"), quay);
        assert_eq!(routes.by_alias("quay.io"), None);
        assert_eq!(routes.by_alias("gar"), None);
        assert_eq!(routes.default_registry().as_str(), "docker.io");
    }

    #[test]
    fn the_table_and_the_key_that_set_a_login_are_known() {
        let routes = Routes::new(&config(
            "[upstreams.'*.example.com']\nusername = 'u'\npassword = 'p'\n[upstreams.'ghcr.io']\ncredentials = 'none'\n",
        ));
        let login = |registry: &str| routes.login(&registry.parse().unwrap());
        let family = Some(("*.example.com".to_owned(), Some("username")));
        assert_eq!(login("a.example.com"), family);
        assert_eq!(login("ghcr.io"), Some(("ghcr.io".to_owned(), None)));
        assert_eq!(login("elsewhere.example"), None);
    }

    #[test]
    fn everything_configured_is_told_in_order() {
        let configured: Vec<_> = Routes::new(&config("")).configured().collect();
        assert_eq!(configured.len(), 10);
        assert!(configured.is_sorted());
    }
}
