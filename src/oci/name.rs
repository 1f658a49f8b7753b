//! Repository names (distribution-spec, "Pulling manifests") and repositories.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::registry::Registry;
use super::text;

/// Why text is not a name. Each holds the text, escaped and shortened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    /// Not `host[:port]`.
    #[error("{0} is not a registry: write a host name or address with an optional port")]
    Registry(String),
    /// Not a repository's name.
    #[error(
        "{0} is not a repository name: write lower-case letters and digits joined by `.`, `_`, `__` or `-`, \
         in parts divided by `/`, at most 255 bytes in all"
    )]
    Repository(String),
    /// Not a tag.
    #[error(
        "{0} is not a tag: write at most 128 letters, digits, `_`, `.` or `-`, not beginning with `.` or `-`"
    )]
    Tag(String),
}

/// The name of a repository within its registry, such as `library/nginx`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Arc<str>);

impl RepositoryName {
    /// Longest name in bytes: what the distribution spec advises and the reference registry keeps.
    pub const MAX_LEN: usize = 255;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= Self::MAX_LEN && text.split('/').all(is_component) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Repository(text::quoted(text)))
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`: what lies between two alphanumerics is nothing, or one
/// separator.
fn is_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    // Where what lies between began.
    let mut gap = Some(0);
    for (at, byte) in bytes.iter().enumerate() {
        let alphanumeric = byte.is_ascii_lowercase() || byte.is_ascii_digit();
        match (alphanumeric, gap) {
            (true, Some(start)) if at > 0 && !(start > 0 && is_separator(&bytes[start..at])) => {
                return false;
            }
            (true, _) => gap = None,
            (false, None) => gap = Some(at),
            (false, Some(_)) => {}
        }
    }
    gap.is_none()
}

fn is_separator(gap: &[u8]) -> bool {
    matches!(gap, b"." | b"_" | b"__") || gap.iter().all(|byte| *byte == b'-')
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RepositoryName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RepositoryName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

/// A registry and a name in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    /// The registry.
    pub registry: Registry,
    /// The name in it.
    pub name: RepositoryName,
}

impl Repository {
    /// Joins the two as Docker does: a name of one component on Docker Hub lies under `library/`.
    ///
    /// A name too long to take the prefix is left alone; Docker Hub has no such name either way.
    pub fn new(registry: Registry, name: RepositoryName) -> Self {
        if registry.is_docker_hub()
            && !name.as_str().contains('/')
            && let Ok(name) = format!("library/{name}").parse()
        {
            return Self { registry, name };
        }
        Self { registry, name }
    }
}

/// The full form, whose first component is always the registry.
impl FromStr for Repository {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (registry, name) = text
            .split_once('/')
            .ok_or_else(|| NameError::Repository(text::quoted(text)))?;
        Ok(Self::new(registry.parse()?, name.parse()?))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    const GRAMMAR: &str = "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}){0,4}";

    #[test]
    fn names_outside_the_grammar_are_refused() {
        for text in [
            "", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", ".a", "a.",
            "_a", "a_", "-a", "a-", "a..b", "a___b", "a._b", "a.-b", "a-_b", "A", "a/B", "a b",
            "a\0", "a\n", "a\\b", "a:b", "a@b", "a%2fb", "ä", "a?b", "a#b", "a+b", "~a",
        ] {
            assert!(text.parse::<RepositoryName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn length_is_bounded() {
        assert!("a".repeat(255).parse::<RepositoryName>().is_ok());
        assert!("a".repeat(256).parse::<RepositoryName>().is_err());
        assert!(["ab"; 85].join("/").parse::<RepositoryName>().is_ok());
        assert!(["ab"; 86].join("/").parse::<RepositoryName>().is_err());
    }

    #[test]
    fn separators_are_those_of_the_grammar() {
        for text in [
            "a",
            "0",
            "a.b",
            "a_b",
            "a__b",
            "a-b",
            "a--b",
            "a-----b",
            "a.b_c__d-e/f",
            "library/nginx",
        ] {
            assert_eq!(text.parse::<RepositoryName>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn one_component_on_docker_hub_lies_under_library() {
        let repository = |text: &str| text.parse::<Repository>().unwrap().to_string();
        assert_eq!(repository("docker.io/nginx"), "docker.io/library/nginx");
        assert_eq!(
            repository("index.docker.io/nginx"),
            "docker.io/library/nginx"
        );
        assert_eq!(
            repository("docker.io/grafana/grafana"),
            "docker.io/grafana/grafana"
        );
        assert_eq!(repository("quay.io/nginx"), "quay.io/nginx");
        let long = format!("docker.io/{}", "a".repeat(250));
        assert_eq!(repository(&long), long);
    }

    proptest! {
        #[test]
        fn names_of_the_grammar_round_trip(text in GRAMMAR) {
            let name: RepositoryName = text.parse().unwrap();
            prop_assert_eq!(name.to_string(), text);
        }

        #[test]
        fn repositories_round_trip(text in GRAMMAR, host in "(docker\\.io|ghcr\\.io|localhost:5000)") {
            let repository = Repository::new(host.parse().unwrap(), text.parse().unwrap());
            prop_assert_eq!(repository.to_string().parse::<Repository>().unwrap(), repository);
        }

        #[test]
        fn no_accepted_name_leaves_a_root(text in "[a-z0-9./\\\\_\\x00-]{0,20}") {
            if let Ok(name) = text.parse::<RepositoryName>() {
                let path = Path::new("/root").join(name.as_str());
                prop_assert!(path.starts_with("/root"));
                let components = path.components().skip(1);
                prop_assert!(components.clone().all(|part| matches!(part, Component::Normal(_))));
                prop_assert_eq!(components.count(), 2 + name.as_str().matches('/').count());
                prop_assert!(!name.as_str().contains(['\0', '\\']));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,300}") {
            let _ = text.parse::<RepositoryName>();
            let _ = text.parse::<Repository>();
        }
    }
}
