//! Globs over repository names, such as `library/**`.

mod written;

use std::hash::{Hash, Hasher};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::pattern::RegistryPattern;
use crate::oci::RepositoryName;

/// A set of globs. `*` and `?` stay within one component of a name; a component that is `**` stands for any number of them.
#[derive(Clone, Debug, Default)]
pub struct Globs {
    patterns: Vec<String>,
    set: GlobSet,
}

impl Globs {
    /// Compiles the set; the error says which pattern is wrong, and how.
    pub fn new(patterns: &[String]) -> Result<Self, String> {
        Self::of_registry(patterns, None, &[])
    }

    /// As [`Globs::new`], for names of `registry`. None of them begins with the host of that one or of any other that is
    /// `known`, and on Docker Hub `nginx` means `library/nginx`, as it does to clients.
    pub(super) fn of_registry(
        patterns: &[String],
        registry: Option<&RegistryPattern>,
        known: &[RegistryPattern],
    ) -> Result<Self, String> {
        let meant = patterns
            .iter()
            .map(|pattern| written::meant(pattern, registry, known));
        let patterns = meant.collect::<Result<Vec<_>, _>>()?;
        let mut set = GlobSetBuilder::new();
        for pattern in &patterns {
            set.add(compile(pattern)?);
        }
        let set = set.build().map_err(|error| error.to_string())?;
        Ok(Self { patterns, set })
    }

    /// Whether any of the globs matches the whole name.
    pub fn matches(&self, name: &RepositoryName) -> bool {
        // Each request asks, and most sets are empty.
        !self.patterns.is_empty() && self.set.is_match(name.as_str())
    }

    /// The globs, as whole names match them.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

fn compile(pattern: &str) -> Result<globset::Glob, String> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|error| format!("{error}: write names with `*` and `**`, such as \"library/**\""))
}

impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for Globs {}

impl Hash for Globs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.patterns.hash(state);
    }
}

/// `allow` and `deny` of an upstream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pulls {
    /// These and no others; `None` leaves it open.
    pub allow: Option<Globs>,
    /// None of these, even where they are allowed.
    pub deny: Globs,
}

impl Pulls {
    /// The key that keeps a repository from being pulled; `None` if it may be.
    pub fn refusal(&self, name: &RepositoryName) -> Option<&'static str> {
        let allowed = self.allow.as_ref().is_none_or(|allow| allow.matches(name));
        match (allowed, self.deny.matches(name)) {
            (true, false) => None,
            (_, true) => Some("deny"),
            (false, _) => Some("allow"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Globs::new(&[pattern.into()])
            .unwrap()
            .matches(&name.parse().unwrap())
    }

    #[test]
    fn stars_match_as_documented() {
        assert!(matches("library/**", "library/nginx"));
        assert!(matches("library/**", "library/a/b"));
        assert!(!matches("library/**", "libraryx/nginx"));
        assert!(matches("library/*", "library/nginx"));
        assert!(!matches("library/*", "library/a/b"));
        assert!(matches("**", "a/b/c"));
        assert!(!matches("*", "a/b"));
        assert!(matches("team-{a,b}/app", "team-b/app"));
        assert!(!Globs::default().matches(&"a".parse().unwrap()));
    }

    #[test]
    fn what_is_no_glob_is_refused() {
        for pattern in ["library/[", "a/{b"] {
            let error = Globs::new(&[pattern.into()]).unwrap_err();
            assert!(error.contains("library/**"), "{error}");
        }
    }
}
