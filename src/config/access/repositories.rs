//! What a rule of `[[access.rules]]` is about: a registry, and a glob over names in it.

use std::fmt;

use crate::config::globs::Globs;
use crate::config::pattern::RegistryPattern;
use crate::config::tree::Node;
use crate::config::values::text;
use crate::oci::{Registry, RepositoryName};

/// Some of the repositories, of one registry or of many.
#[derive(Clone, Debug, PartialEq)]
pub struct RepositoryPattern {
    /// As it was written.
    written: String,
    /// Of which registries; `None` for any.
    registry: Option<RegistryPattern>,
    names: Globs,
    /// On Docker Hub, where it means something else there: `nginx` is called `library/nginx`, and nothing is called `nginx`.
    on_hub: Option<Globs>,
}

/// All names.
const ALL: &str = "**";

impl RepositoryPattern {
    /// Whether a repository is meant, by whichever name of its registry.
    pub fn matches(&self, registry: &Registry, name: &RepositoryName) -> bool {
        let of_registry = self.registry.as_ref().is_none_or(|it| it.matches(registry));
        let on_hub = self.on_hub.as_ref().filter(|_| registry.is_docker_hub());
        of_registry && on_hub.unwrap_or(&self.names).matches(name)
    }

    /// The registries that are meant; `None` for all of them.
    pub fn registry(&self) -> Option<&RegistryPattern> {
        self.registry.as_ref()
    }

    pub(super) fn is_all(&self) -> bool {
        self.registry.is_none() && self.names.patterns() == [ALL]
    }
}

impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// The registry, as a request would name it or as a table of `[upstreams]` is called, which are `known`, and a glob over
/// names in it.
pub(super) fn read(node: &Node, known: &[RegistryPattern]) -> Result<RepositoryPattern, String> {
    let written = text(node)?;
    let advice = "begin with the registry, such as \"docker.io/library/**\", as a request names it or as its table in \
                  [upstreams] is called, or with `*/` for any; \"**\" is all";
    let (registry, names) = match written.split_once('/') {
        None if written == ALL => (None, ALL),
        Some(("*" | ALL, names)) => (None, names),
        Some((first, names)) if is_registry(first, known) => {
            let registry: RegistryPattern = first.parse()?;
            (Some(registry), names)
        }
        _ => return Err(format!("`{}`: {advice}", written.escape_debug())),
    };
    let globs = |registry| Globs::of_registry(&[names.to_owned()], registry, &[]);
    let hub = RegistryPattern::Exact(Registry::docker_hub());
    let is_short = !names.contains('/') && names != ALL;
    Ok(RepositoryPattern {
        written: written.to_owned(),
        names: globs(registry.as_ref())?,
        on_hub: is_short.then(|| globs(Some(&hub))).transpose()?,
        registry,
    })
}

fn is_registry(first: &str, known: &[RegistryPattern]) -> bool {
    Registry::looks_like_host(first)
        || first.contains('*')
        || known.iter().any(|known| known.to_string() == first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree::Source;
    use crate::oci::Repository;

    /// Where there are tables for `ecr` and for a host without a dot.
    fn pattern(text: &str) -> Result<RepositoryPattern, String> {
        let known = ["ecr", "harbor"].map(|name| name.parse().unwrap());
        read(&Node::text(text.to_owned(), Source::Default), &known)
    }

    fn matches(text: &str, repository: &str) -> bool {
        let repository: Repository = repository.parse().unwrap();
        let pattern = pattern(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        pattern.matches(&repository.registry, &repository.name)
    }

    /// A rule that denies `*/nginx` let everybody have the one of Docker Hub.
    #[test]
    fn one_component_means_on_docker_hub_what_it_means_to_clients() {
        for pattern in [
            "*/nginx",
            "**/nginx",
            "*.io/nginx",
            "docker.io/nginx",
            "index.docker.io/nginx",
            "*/*",
            "*/{nginx,redis}",
            "*/library/nginx",
            "**",
        ] {
            assert!(matches(pattern, "docker.io/nginx"), "{pattern}");
            assert!(matches(pattern, "docker.io/library/nginx"), "{pattern}");
        }
        assert!(matches("*/nginx", "quay.io/nginx"));
        assert!(!matches("*/nginx", "quay.io/library/nginx"));
        assert!(!matches("*/nginx", "docker.io/team/nginx"));
        assert!(!matches("*/*", "docker.io/team/nginx"));
        assert!(!matches("*.com/nginx", "docker.io/library/nginx"));
    }

    #[test]
    fn a_registry_may_be_called_as_its_table_is() {
        assert!(matches("harbor/team/**", "harbor/team/app"));
        assert!(!matches("harbor/team/**", "docker.io/harbor/team"));
        assert!(matches(
            "ecr/app",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app"
        ));
        for unknown in ["team/app", "docker.io", "harbor", "Harbor/app"] {
            let told = pattern(unknown).unwrap_err();
            assert!(told.contains("its table in [upstreams]"), "{told}");
        }
    }

    /// What is denied by one name of a registry is not to be had by another.
    #[test]
    fn a_registry_of_amazons_is_meant_by_each_of_its_names() {
        for text in [
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/secret/*",
            "123456789012.dkr-ecr-fips.eu-west-1.on.aws/secret/*",
            "123456789012.dkr.ecr.*.amazonaws.com/secret/*",
        ] {
            for host in [
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "123456789012.dkr.ecr-fips.eu-west-1.amazonaws.com",
                "123456789012.dkr-ecr.eu-west-1.on.aws",
            ] {
                assert!(
                    matches(text, &format!("{host}/secret/app")),
                    "{text} {host}"
                );
                assert!(!matches(text, &format!("{host}/app")), "{text} {host}");
            }
            let other = "210987654321.dkr.ecr.eu-west-1.amazonaws.com/secret/app";
            assert!(!matches(text, other), "{text}");
        }
    }
}
