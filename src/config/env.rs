//! Overrides from the environment: `FOREBAY_CACHE__MAX_SIZE` for `cache.max_size`, and
//! `FOREBAY_UPSTREAMS__DOCKERHUB__USERNAME` for the upstream with the alias `dockerhub`, since a
//! variable's name cannot hold a registry's dots.

use super::error::ConfigError;
use super::merge::{UPSTREAMS, merge};
use super::tree::{Node, Origin, Source, Table, Value};
use std::ffi::OsString;

/// What the names of all variables begin with.
pub const PREFIX: &str = "FOREBAY_";

/// Names the configuration file, and so is no key of it.
const CONFIG_FILE: &str = "FOREBAY_CONFIG";

/// Lays the variables over `base`; those that are not ours are passed over.
pub(super) fn merge_environment(
    base: &mut Table,
    mut variables: Vec<(String, OsString)>,
    errors: &mut Vec<ConfigError>,
) {
    variables.sort_unstable();
    for (name, value) in variables {
        let Some(words) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if name == CONFIG_FILE || is_service_link(words) {
            continue;
        }
        let source = Source::Environment(name.clone());
        let path: Vec<String> = words.split("__").map(str::to_lowercase).collect();
        let value = value
            .into_string()
            .map_err(|_| "the value is not text in UTF-8".to_owned());
        match value.and_then(|value| Ok((resolve(path, base)?, value))) {
            Ok((path, value)) => {
                if let Value::Table(table) = Node::text(value, source).nested(&path).value {
                    merge(base, table, errors);
                }
            }
            Err(message) => errors.push(ConfigError::new(
                Origin::new(source),
                String::new(),
                message,
            )),
        }
    }
}

/// Kubernetes tells each pod of each service: beside a service called `forebay` there are
/// `FOREBAY_SERVICE_HOST`, `FOREBAY_PORT_5000_TCP_ADDR` and more, beside `forebay-admin`
/// `FOREBAY_ADMIN_PORT`. None of them has the two underscores of a key in a table.
fn is_service_link(words: &str) -> bool {
    let is = |tail: &str| words == tail || words.ends_with(&format!("_{tail}"));
    let has =
        |tail: &str| words.starts_with(&format!("{tail}_")) || words.contains(&format!("_{tail}_"));
    !words.contains("__")
        && (is("SERVICE_HOST")
            || is("SERVICE_PORT")
            || has("SERVICE_PORT")
            || is("PORT")
            || has("PORT"))
}

/// Puts the upstream's key in place of its alias.
fn resolve(mut path: Vec<String>, base: &Table) -> Result<Vec<String>, String> {
    if path.first().is_some_and(|first| first == UPSTREAMS) && path.len() > 1 {
        let names = upstream_names(base);
        let found = names.iter().find(|(name, _)| *name == path[1]);
        let Some((_, key)) = found else {
            let known: Vec<_> = names.iter().map(|(name, _)| name.to_uppercase()).collect();
            return Err(format!(
                "no upstream has this alias: write one of {}, or give the upstream an `alias` in the configuration file",
                known.join(", ")
            ));
        };
        path[1].clone_from(key);
    }
    Ok(path)
}

/// The names that upstreams have here, and their keys: the alias, or the key itself if it has no dot.
fn upstream_names(base: &Table) -> Vec<(String, String)> {
    let Some(Node {
        value: Value::Table(upstreams),
        ..
    }) = base.get(UPSTREAMS)
    else {
        return Vec::new();
    };
    let name = |(key, node): (&String, &Node)| {
        let alias = match &node.value {
            Value::Table(table) => table.get("alias"),
            _ => None,
        };
        let name = match alias.map(|node| &node.value) {
            Some(Value::Text(alias)) => alias,
            _ if key.contains(['.', ':']) => return None,
            _ => key,
        };
        Some((variable_word(name), key.clone()))
    };
    upstreams.iter().filter_map(name).collect()
}

/// A name as a variable spells it, but for its case.
pub(super) fn variable_word(name: &str) -> String {
    name.replace('-', "_").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::tree::parse;
    use super::*;

    const BASE: &str = "[cache]\nmax_size = '1GiB'\n[upstreams.'docker.io']\nalias = 'dockerhub'\n\
        [upstreams.'public.ecr.aws']\nalias = 'ecr-public'\n[upstreams.ecr]\n[upstreams.'quay.io']\n";

    fn merged(variables: &[(&str, &str)]) -> (Table, Vec<String>) {
        let mut base = parse(BASE, &Source::Default).unwrap();
        let mut errors = Vec::new();
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        merge_environment(&mut base, variables, &mut errors);
        (base, errors.iter().map(ToString::to_string).collect())
    }

    fn text<'a>(table: &'a Table, path: &[&str]) -> &'a str {
        match &table[path[0]].value {
            Value::Table(inner) => text(inner, &path[1..]),
            Value::Text(text) => text,
            _ => panic!("neither table nor text"),
        }
    }

    #[test]
    fn variables_reach_their_keys() {
        let (table, errors) = merged(&[
            ("FOREBAY_CACHE__MAX_SIZE", "20GiB"),
            ("FOREBAY_DEFAULT_REGISTRY", "quay.io"),
            ("FOREBAY_UPSTREAMS__DOCKERHUB__USERNAME", "me"),
            ("FOREBAY_UPSTREAMS__ECR_PUBLIC__TAGS__FRESH_FOR", "1h"),
            ("FOREBAY_UPSTREAMS__ECR__USERNAME", "AWS"),
            ("PATH", "/bin"),
        ]);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(text(&table, &["cache", "max_size"]), "20GiB");
        assert_eq!(text(&table, &["default_registry"]), "quay.io");
        assert_eq!(text(&table, &["upstreams", "docker.io", "username"]), "me");
        assert_eq!(
            text(
                &table,
                &["upstreams", "public.ecr.aws", "tags", "fresh_for"]
            ),
            "1h"
        );
        assert_eq!(text(&table, &["upstreams", "ecr", "username"]), "AWS");
    }

    #[test]
    fn an_alias_that_nobody_has_is_an_error() {
        let (_, errors) = merged(&[("FOREBAY_UPSTREAMS__DOKERHUB__USERNAME", "me")]);
        assert_eq!(
            errors,
            [
                "environment variable FOREBAY_UPSTREAMS__DOKERHUB__USERNAME: no upstream has this alias: write one of \
              DOCKERHUB, ECR, ECR_PUBLIC, or give the upstream an `alias` in the configuration file"
            ]
        );
    }

    /// A pod beside a service called `forebay` would otherwise never start.
    #[test]
    fn what_kubernetes_says_of_services_is_passed_over() {
        let (table, errors) = merged(&[
            ("FOREBAY_CONFIG", "/etc/forebay.toml"),
            ("FOREBAY_SERVICE_HOST", "10.0.0.1"),
            ("FOREBAY_SERVICE_PORT", "5000"),
            ("FOREBAY_SERVICE_PORT_HTTP", "5000"),
            ("FOREBAY_PORT", "tcp://10.0.0.1:5000"),
            ("FOREBAY_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
            ("FOREBAY_PORT_5000_TCP_PROTO", "tcp"),
            ("FOREBAY_ADMIN_SERVICE_HOST", "10.0.0.1"),
            ("FOREBAY_ADMIN_PORT_5001_TCP_ADDR", "10.0.0.1"),
        ]);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(table.len(), 2);
    }
}
