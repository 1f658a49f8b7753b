//! Globs over repository names, such as `library/**`.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::oci::RepositoryName;

/// A set of globs. `*` and `?` stay within one component of a name, `**` does not.
#[derive(Clone, Debug, Default)]
pub struct Globs {
    patterns: Vec<String>,
    set: GlobSet,
}

impl Globs {
    /// Compiles the set; the error says which pattern is wrong, and how.
    pub fn new(patterns: Vec<String>) -> Result<Self, String> {
        let mut set = GlobSetBuilder::new();
        for pattern in &patterns {
            set.add(compile(pattern)?);
        }
        let set = set.build().map_err(|error| error.to_string())?;
        Ok(Self { patterns, set })
    }

    /// Whether any of the globs matches the whole name.
    pub fn matches(&self, name: &RepositoryName) -> bool {
        self.set.is_match(name.as_str())
    }

    /// The globs as they were written.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

fn compile(pattern: &str) -> Result<globset::Glob, String> {
    if pattern.is_empty() || pattern.starts_with('/') || pattern.chars().any(char::is_uppercase) {
        return Err(format!(
            "`{}` matches no repository: write lower-case names without the registry, such as \"library/**\"",
            pattern.escape_debug()
        ));
    }
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
        Globs::new(vec![pattern.into()])
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
    fn what_can_match_nothing_is_refused() {
        for pattern in ["", "/library/**", "Library/**", "library/[", "a/{b"] {
            let error = Globs::new(vec![pattern.into()]).unwrap_err();
            assert!(error.contains("library/**"), "{error}");
        }
    }
}
