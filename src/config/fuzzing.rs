//! What has to hold of a configuration's file, of a password file, and of globs.

use std::fmt::Write as _;

use super::{Config, Globs, Htpasswd, Pulls, RegistryPattern, render};
use crate::oci::RepositoryName;

/// A file is taken as a whole and prints as what reads back as the same, or is refused with something to say.
pub(crate) fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    // Files that are named there are read, and a terminal would be waited for.
    if text.contains("dev") {
        return;
    }
    match Config::from_toml(text) {
        Ok(config) => {
            let printed = render(&config);
            // Secrets are left out, so that a login may be without its password.
            if let Ok(again) = Config::from_toml(&printed) {
                assert_eq!(render(&again), printed);
            }
        }
        Err(errors) => {
            assert!(errors.iter().count() > 0);
            for error in errors.iter() {
                assert!(!error.message().is_empty());
                assert!(!error.message().contains('\u{1b}'), "{error}");
            }
        }
    }
}

/// The longest message about a line: it may name a user.
const LONGEST_MESSAGE: usize = 2_000;

/// A password file: taken as a whole, it says the same when it is written anew, and shows no hash; or it is refused by the
/// line that is wrong.
pub(crate) fn htpasswd(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let users = match Htpasswd::parse(text) {
        Ok(users) => users,
        Err(message) => {
            assert!(message.starts_with(':') || message.starts_with(" has no user"));
            assert!(message.len() < LONGEST_MESSAGE && !message.contains(char::is_control));
            return;
        }
    };
    let mut anew = String::new();
    for user in users.users() {
        let hash = users.hash_of(user).expect("a user has a hash");
        assert!(!user.is_empty() && !user.contains([':', '\r', '\n']));
        assert!((4..=15).contains(&hash.cost()), "a check takes seconds");
        assert_eq!(hash.expose().len(), "$2y$10$".len() + 53);
        assert_eq!(format!("{hash:?}"), "[redacted]");
        writeln!(anew, "{user}:{}", hash.expose()).expect("writing to a string");
    }
    assert!(!anew.is_empty(), "nobody is in it");
    assert_eq!(Htpasswd::parse(&anew).as_ref(), Ok(&users));
}

/// A registry, a glob over its names, and a name, a line each. Where no brackets are in it, the glob matches what it is said to.
pub(crate) fn globs(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let registry: Option<RegistryPattern> = line().parse().ok();
    let (pattern, name) = (line(), line());
    let read = |pattern: &str| Globs::of_registry(&[pattern.to_owned()], registry.as_ref(), &[]);
    let globs = match read(pattern) {
        Ok(globs) => globs,
        Err(message) => {
            assert!(
                !message.is_empty() && !message.contains(char::is_control),
                "{message:?}"
            );
            return;
        }
    };
    let [meant] = globs.patterns() else {
        panic!("one pattern means {:?}", globs.patterns());
    };
    assert_eq!(read(meant).as_ref(), Ok(&globs), "it means what it says");
    let Ok(name) = name.parse::<RepositoryName>() else {
        return;
    };
    let matched = globs.matches(&name);
    if !meant.contains(['[', ']', '{', '}']) {
        let pattern: Vec<_> = meant.split('/').collect();
        let parts: Vec<_> = name.as_str().split('/').collect();
        assert_eq!(matched, components(&pattern, &parts), "{meant} {name}");
    }
    let denied = Pulls {
        allow: Some(globs.clone()),
        deny: globs,
    };
    let expected = if matched { "deny" } else { "allow" };
    assert_eq!(denied.refusal(&name), Some(expected));
}

/// Whether a glob's components match a name's, as config/default.toml says it: `**` is any number of them, and at the end
/// at least one.
fn components(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (["**"], rest) => !rest.is_empty(),
        (["**", pattern @ ..], rest) => {
            (0..=rest.len()).any(|skipped| components(pattern, &rest[skipped..]))
        }
        ([first, pattern @ ..], [part, rest @ ..]) => {
            characters(first.as_bytes(), part.as_bytes()) && components(pattern, rest)
        }
        _ => false,
    }
}

/// Whether `*` and `?` make a component of another.
fn characters(pattern: &[u8], part: &[u8]) -> bool {
    // What is left of the pattern's last star, and of the part from which it was tried last.
    let (mut pattern, mut part, mut again) = (pattern, part, None);
    loop {
        match (pattern, part) {
            ([b'*', rest @ ..], _) => {
                pattern = rest;
                again = Some((rest, part));
            }
            ([first, rest @ ..], [byte, left @ ..]) if *first == b'?' || first == byte => {
                (pattern, part) = (rest, left);
            }
            ([], []) => return true,
            _ => {
                let Some((after_star, [_, left @ ..])) = again else {
                    return false;
                };
                (pattern, part, again) = (after_star, left, Some((after_star, left)));
            }
        }
    }
}
