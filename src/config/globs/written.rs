//! How globs over names may be written. What could match no name is refused, since a `deny` that matches nothing denies
//! nothing.

use crate::config::pattern::RegistryPattern;
use crate::oci::Registry;

/// The glob over whole names that `pattern` means among the repositories of `registry`, or what is wrong with it.
pub(super) fn meant(
    pattern: &str,
    registry: Option<&RegistryPattern>,
    known: &[RegistryPattern],
) -> Result<String, String> {
    let is_hub = registry
        .and_then(RegistryPattern::exact)
        .is_some_and(Registry::is_docker_hub);
    let wrong = problem(pattern).or_else(|| host(pattern, is_hub, registry, known));
    if let Some(what) = wrong {
        return Err(format!("`{}` {what}", pattern.escape_debug()));
    }
    if is_hub && !pattern.contains('/') && pattern != "**" {
        return Ok(format!("library/{pattern}"));
    }
    Ok(pattern.to_owned())
}

fn problem(pattern: &str) -> Option<String> {
    let advice = |advice: &str| Some(advice.to_owned());
    if pattern.is_empty() || pattern.chars().any(char::is_uppercase) {
        return advice(
            "matches no repository: write lower-case names without the registry, such as \"library/**\"",
        );
    }
    if pattern.split('/').any(str::is_empty) {
        return advice(
            "matches no repository: a `/` stands between two components; for all below `team` write \"team/**\"",
        );
    }
    if let Some(c) = pattern.chars().find(|c| !may_stand(*c)) {
        let c = c.escape_debug();
        return Some(format!(
            "matches no repository, since no name has `{c}` in it: write names without host, tag and digest, such as \
             \"library/**\""
        ));
    }
    if has_slash_within(pattern) {
        return advice(
            "has a `/` between brackets: write a pattern for each, such as \"library/**\"",
        );
    }
    let mut components = pattern.split('/');
    if components.any(|component| component.contains("**") && component != "**") {
        return advice(
            "has `**` beside something else, where it is no more than `*`: write it as a component of its own, as in \
             \"team/secret*\" and \"team/secret*/**\"",
        );
    }
    None
}

/// What a name or a glob is made of.
fn may_stand(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/*?[]{},!^".contains(c)
}

/// Whether what is between brackets spans components.
fn has_slash_within(pattern: &str) -> bool {
    let mut depth = 0_usize;
    pattern.chars().any(|c| {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == '/' && depth > 0
    })
}

/// What is wrong where the first component is a registry's host. A dot in it alone says nothing, save on Docker Hub: Google
/// has names such as `example.com/project/image`.
fn host(
    pattern: &str,
    is_hub: bool,
    registry: Option<&RegistryPattern>,
    known: &[RegistryPattern],
) -> Option<String> {
    let (first, rest) = pattern.split_once('/')?;
    if !Registry::looks_like_host(first) {
        return None;
    }
    let host: Option<Registry> = first.parse().ok();
    let is_of = |registry: &RegistryPattern| {
        let same = host.as_ref().is_some_and(|host| registry.matches(host));
        same || registry.to_string() == first
    };
    let is_host = is_hub
        || host.as_ref().is_some_and(Registry::is_docker_hub)
        || registry.into_iter().chain(known).any(is_of);
    is_host.then(|| {
        format!("matches no repository: write names without the registry, such as \"{rest}\", in the table of theirs")
    })
}

#[cfg(test)]
mod tests {
    use crate::config::{Globs, RegistryPattern};

    fn pattern(text: &str) -> RegistryPattern {
        text.parse().unwrap()
    }

    /// Whether a glob in the table of `registry` matches a name.
    fn matches(registry: &str, glob: &str, name: &str) -> bool {
        let globs = Globs::of_registry(&[glob.into()], Some(&pattern(registry)), &[]);
        globs.unwrap().matches(&name.parse().unwrap())
    }

    /// `deny = ["nginx"]` for Docker Hub let everyone pull nginx: its name was `library/nginx` by then.
    #[test]
    fn one_component_on_docker_hub_means_what_it_means_to_clients() {
        assert!(matches("docker.io", "nginx", "library/nginx"));
        assert!(matches("docker.io", "{nginx,redis}", "library/redis"));
        assert!(matches("docker.io", "*", "library/nginx"));
        assert!(!matches("docker.io", "*", "team/nginx"));
        assert!(matches("docker.io", "**", "team/nginx"));
        assert!(matches("quay.io", "nginx", "nginx"));
        assert!(!matches("quay.io", "nginx", "library/nginx"));
    }

    /// A `deny` of these was taken, and denied nothing.
    #[test]
    fn what_can_match_no_name_is_refused() {
        for (registry, glob, says) in [
            ("docker.io", "", "lower-case"),
            ("docker.io", "Library/**", "lower-case"),
            ("docker.io", "/library/**", "between two components"),
            ("docker.io", "team/", "\"team/**\""),
            ("docker.io", "team//app", "between two components"),
            ("docker.io", "library/nginx:latest", "no name has `:`"),
            ("docker.io", "library/nginx@sha256", "no name has `@`"),
            ("docker.io", "library/ngi\\nx", "no name has"),
            ("docker.io", "{nginx,team/app}", "a pattern for each"),
            ("docker.io", "docker.io/library/**", "\"library/**\""),
            ("docker.io", "index.docker.io/library/**", "\"library/**\""),
            ("docker.io", "ghcr.io/x", "without the registry"),
            ("docker.io", "localhost/x", "without the registry"),
            ("ghcr.io", "ghcr.io/x", "\"x\""),
            ("ghcr.io", "docker.io/x", "without the registry"),
            ("ghcr.io", "quay.io/x", "without the registry"),
            ("*.pkg.dev", "europe-docker.pkg.dev/p/r", "\"p/r\""),
            ("*.pkg.dev", "*.pkg.dev/p/r", "\"p/r\""),
        ] {
            let known = [pattern("quay.io")];
            let globs = Globs::of_registry(&[glob.into()], Some(&pattern(registry)), &known);
            let error = globs.unwrap_err();
            assert!(error.contains(says), "{glob}: {error}");
        }
    }

    /// `**` was said to stand for any part of a name, and `team/secret**` let `team/secret/app` through.
    #[test]
    fn two_stars_beside_something_else_are_refused() {
        for glob in [
            "team/secret**",
            "**secret",
            "team/{a,**}",
            "team/a**b/c",
            "***",
        ] {
            let error = Globs::new(&[glob.into()]).unwrap_err();
            assert!(error.contains("component of its own"), "{glob}: {error}");
        }
    }

    #[test]
    fn googles_names_may_begin_with_a_domain() {
        assert!(matches(
            "gcr.io",
            "example.com/**",
            "example.com/project/app"
        ));
        assert!(matches("ecr", "ecr/**", "ecr/app"));
    }
}
