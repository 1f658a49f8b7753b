//! Which registries an upstream stands for: one, or a family.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::ecr::EcrHost;
use crate::oci::Registry;

/// A registry, or a pattern for several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegistryPattern {
    /// One registry.
    Exact(Registry),
    /// Hosts with `*` in their labels, such as `*.pkg.dev`.
    Wildcard(Wildcard),
    /// Every private registry of Amazon ECR, written `ecr`.
    Ecr,
}

/// A host of which each label may hold one `*`, which matches within that label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wildcard(Arc<str>);

impl RegistryPattern {
    /// The keyword of [`RegistryPattern::Ecr`].
    pub const ECR: &'static str = "ecr";

    /// Whether `registry` is meant, by this name or another of its own: one of Amazon ECR's has several.
    pub fn matches(&self, registry: &Registry) -> bool {
        let has = |name: &Registry| match self {
            Self::Exact(exact) => exact == name,
            Self::Wildcard(wildcard) => wildcard.matches(name),
            Self::Ecr => false,
        };
        has(registry)
            || EcrHost::of(registry)
                .is_some_and(|host| *self == Self::Ecr || host.names().any(|name| has(&name)))
    }

    /// The one registry that is meant, if it is one.
    pub fn exact(&self) -> Option<&Registry> {
        match self {
            Self::Exact(registry) => Some(registry),
            Self::Wildcard(_) | Self::Ecr => None,
        }
    }

    /// How much of a host the pattern fixes: of two that match, the one that fixes more applies.
    /// `ecr` counts as the wildcard that comes closest to it, and loses to that.
    pub(super) fn specificity(&self) -> (usize, usize) {
        match self {
            Self::Exact(_) => (usize::MAX, 0),
            Self::Wildcard(wildcard) => (wildcard.literals(), 1),
            Self::Ecr => (".dkr.ecr..amazonaws.com".len(), 0),
        }
    }
}

impl FromStr for RegistryPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == Self::ECR {
            return Ok(Self::Ecr);
        }
        if text.contains('*') {
            return text.parse().map(Self::Wildcard);
        }
        text.parse().map(Self::Exact).map_err(|_| refusal(text))
    }
}

fn refusal(text: &str) -> String {
    format!(
        "`{}` is not a registry: write a host such as \"ghcr.io\" or \"localhost:5000\", a pattern with one \
         `*` a label such as \"*.pkg.dev\", or \"{}\"",
        text.escape_debug(),
        RegistryPattern::ECR
    )
}

impl fmt::Display for RegistryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(registry) => registry.fmt(f),
            Self::Wildcard(wildcard) => f.write_str(&wildcard.0),
            Self::Ecr => f.write_str(Self::ECR),
        }
    }
}

impl Wildcard {
    fn matches(&self, registry: &Registry) -> bool {
        let (host, port) = match self.0.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (&*self.0, None),
        };
        // An IPv6 address has no labels.
        if port != registry.port() || registry.host().starts_with('[') {
            return false;
        }
        let mut patterns = host.split('.');
        let mut labels = registry.host().split('.');
        loop {
            match (patterns.next(), labels.next()) {
                (None, None) => return true,
                (Some(pattern), Some(label)) if label_matches(pattern, label) => {}
                _ => return false,
            }
        }
    }

    fn literals(&self) -> usize {
        self.0.len() - self.0.matches('*').count()
    }
}

fn label_matches(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == label,
        Some((head, tail)) => {
            label.len() >= head.len() + tail.len()
                && label.starts_with(head)
                && label.ends_with(tail)
        }
    }
}

impl FromStr for Wildcard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        let one_a_label = text.split('.').all(|label| label.matches('*').count() <= 1);
        // With something in place of the stars it has to be a host.
        if one_a_label && text.contains('*') && text.replace('*', "x").parse::<Registry>().is_ok() {
            Ok(Self(text.into()))
        } else {
            Err(refusal(&text))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, registry: &str) -> bool {
        pattern
            .parse::<RegistryPattern>()
            .unwrap()
            .matches(&registry.parse().unwrap())
    }

    #[test]
    fn a_star_stays_within_one_label() {
        assert!(matches("*.pkg.dev", "europe-docker.pkg.dev"));
        assert!(matches("*-docker.pkg.dev", "europe-docker.pkg.dev"));
        assert!(matches("eu*r.pkg.dev", "europe-docker.pkg.dev"));
        assert!(matches("*.PKG.dev", "a.pkg.dev"));
        assert!(!matches("*.pkg.dev", "pkg.dev"));
        assert!(!matches("*.pkg.dev", "a.b.pkg.dev"));
        assert!(!matches("*.pkg.dev", "a.pkg.dev.evil.example"));
        assert!(!matches("*.pkg.dev", "a.pkg-dev"));
        assert!(!matches("ab*bc.io", "abc.io"));
    }

    #[test]
    fn ports_must_agree() {
        assert!(!matches("*.example.com", "a.example.com:8443"));
        assert!(matches("*.example.com:8443", "a.example.com:8443"));
        assert!(!matches("*.example.com:8443", "a.example.com"));
        assert!(!matches("*", "[::1]"));
    }

    #[test]
    fn ecr_is_known_by_its_own_grammar() {
        for registry in [
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
            "123456789012.dkr-ecr.us-west-2.on.aws",
            "123456789012.dkr-ecr-fips.us-west-2.on.aws",
        ] {
            assert!(matches("ecr", registry), "{registry}");
        }
        for registry in [
            "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
            "1234567890123.dkr.ecr.eu-west-1.amazonaws.com",
            "12345678901x.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com:444",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr.eu-west-1.evil.example",
            "123456789012.dkr.ecrx.eu-west-1.amazonaws.com",
            "x.123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "public.ecr.aws",
            "ecr",
        ] {
            assert!(!matches("ecr", registry), "{registry}");
        }
    }

    /// A rule for one of its names said nothing of the others, and let them through.
    #[test]
    fn a_registry_of_amazons_is_meant_by_each_of_its_names() {
        for pattern in [
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr-ecr-fips.eu-west-1.on.aws",
            "123456789012.dkr.ecr.*.amazonaws.com",
            "*.dkr-ecr.eu-west-1.on.aws",
        ] {
            for name in [
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "123456789012.dkr.ecr-fips.eu-west-1.amazonaws.com",
                "123456789012.dkr-ecr.eu-west-1.on.aws",
                "123456789012.dkr-ecr-fips.eu-west-1.on.aws",
            ] {
                assert!(matches(pattern, name), "{pattern} {name}");
            }
            for name in [
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com.cn",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com:443",
                "123456789012.dkr.ecr.eu-west-1.on.aws.evil.example",
            ] {
                assert!(!matches(pattern, name), "{pattern} {name}");
            }
        }
        let one = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        assert!(!matches(one, "210987654321.dkr-ecr.eu-west-1.on.aws"));
        assert!(!matches(one, "123456789012.dkr-ecr.eu-west-2.on.aws"));
    }

    #[test]
    fn what_is_neither_host_nor_pattern_is_refused() {
        for text in [
            "",
            "*.*x*",
            "a*b*.io",
            "*.",
            "*/a",
            "https://ghcr.io",
            "[*]",
            "*:x",
            "a b",
            "*_a.io",
        ] {
            assert!(text.parse::<RegistryPattern>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn docker_hub_has_one_spelling() {
        assert_eq!(
            "index.docker.io"
                .parse::<RegistryPattern>()
                .unwrap()
                .to_string(),
            "docker.io"
        );
    }

    proptest! {
        #[test]
        fn patterns_round_trip(text in "[a-z*]{1,4}(\\.[a-z*-]{1,4}){0,3}(:[1-9][0-9])?") {
            if let Ok(pattern) = text.parse::<RegistryPattern>() {
                prop_assert_eq!(pattern.to_string(), text.clone());
                prop_assert_eq!(text.parse::<RegistryPattern>().unwrap(), pattern);
            }
        }

        #[test]
        fn every_host_matches_its_own_spelling(host in "[a-z0-9]{1,5}(\\.[a-z0-9]{1,5}){0,3}") {
            let registry: Registry = host.parse().unwrap();
            prop_assert!(RegistryPattern::Exact(registry.clone()).matches(&registry));
            let stars = vec!["*"; host.split('.').count()].join(".");
            prop_assert!(stars.parse::<RegistryPattern>().unwrap().matches(&registry));
        }
    }
}
