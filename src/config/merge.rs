//! Lays one source over another, table by table. Lists and plain values are replaced whole.

use std::collections::btree_map::Entry;

use super::error::ConfigError;
use super::pattern::RegistryPattern;
use super::tree::{Node, Table, Value};

/// The table whose keys are registries and not words of the configuration.
pub(super) const UPSTREAMS: &str = "upstreams";

/// Lays `over` over `base`.
pub(super) fn merge(base: &mut Table, over: Table, errors: &mut Vec<ConfigError>) {
    merge_at(base, over, "", errors);
}

fn merge_at(base: &mut Table, over: Table, path: &str, errors: &mut Vec<ConfigError>) {
    for (key, node) in over {
        let path = join(path, &key);
        match base.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(node);
            }
            Entry::Occupied(mut entry) => merge_node(entry.get_mut(), node, &path, errors),
        }
    }
}

fn merge_node(base: &mut Node, over: Node, path: &str, errors: &mut Vec<ConfigError>) {
    match (&mut base.value, over.value) {
        (Value::Table(base_table), Value::Table(table)) => {
            base.origin = over.origin;
            merge_at(base_table, table, path, errors);
        }
        // What is below it stays as it was, so that one mistake is one error.
        (Value::Table(_), _) => {
            errors.push(ConfigError::new(
                over.origin,
                path.into(),
                format!("this is a table: write {}", header(path)),
            ));
        }
        (_, value) => {
            *base = Node {
                value,
                origin: over.origin,
            }
        }
    }
}

/// Writes the registries that name upstreams in their one spelling, so that `index.docker.io` is laid
/// over `docker.io`. What is no registry is left for the reader to refuse.
pub(super) fn canonical_upstreams(table: &mut Table, errors: &mut Vec<ConfigError>) {
    let Some(Node {
        value: Value::Table(upstreams),
        ..
    }) = table.get_mut(UPSTREAMS)
    else {
        return;
    };
    for (key, node) in std::mem::take(upstreams) {
        let canonical = key
            .parse::<RegistryPattern>()
            .map_or_else(|_| key.clone(), |pattern| pattern.to_string());
        let path = join(UPSTREAMS, &key);
        match upstreams.entry(canonical) {
            Entry::Vacant(entry) => {
                entry.insert(node);
            }
            Entry::Occupied(entry) => {
                let message = format!(
                    "this is the same registry as `{}`: write one table",
                    entry.key()
                );
                errors.push(ConfigError::new(node.origin, path, message));
            }
        }
    }
}

/// A dotted key, quoted as TOML would have it.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let dot = if path.is_empty() { "" } else { "." };
    if bare {
        format!("{path}{dot}{key}")
    } else {
        format!("{path}{dot}\"{}\"", key.escape_debug())
    }
}

/// A table's header, or that of one within it where each is somebody's.
pub(super) fn header(path: &str) -> String {
    match path {
        "upstreams" => "[upstreams.\"ghcr.io\"] for each registry".into(),
        _ => format!("[{path}]"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tree::{Source, parse};
    use super::*;

    fn table(text: &str) -> Table {
        parse(text, &Source::File(Path::new("f").into())).unwrap()
    }

    fn merged(base: &str, over: &str) -> (Table, Vec<String>) {
        let mut errors = Vec::new();
        let (mut base, mut over) = (table(base), table(over));
        canonical_upstreams(&mut over, &mut errors);
        merge(&mut base, over, &mut errors);
        (base, errors.iter().map(ToString::to_string).collect())
    }

    fn at<'a>(table: &'a Table, path: &[&str]) -> &'a Value {
        let node = &table[path[0]];
        match &node.value {
            Value::Table(inner) if path.len() > 1 => at(inner, &path[1..]),
            value => value,
        }
    }

    #[test]
    fn tables_merge_and_lists_are_replaced() {
        let (table, errors) = merged(
            "[a]\nx = 1\ny = [1, 2]\nt = { p = 1 }",
            "[a]\ny = [3]\nt = { q = 2 }",
        );
        assert!(errors.is_empty());
        assert!(matches!(at(&table, &["a", "x"]), Value::Integer(1)));
        assert!(matches!(at(&table, &["a", "y"]), Value::List(list) if list.len() == 1));
        assert!(matches!(at(&table, &["a", "t", "p"]), Value::Integer(1)));
        assert!(matches!(at(&table, &["a", "t", "q"]), Value::Integer(2)));
    }

    #[test]
    fn a_value_does_not_replace_a_table() {
        let (table, errors) = merged("[a]\nx = 1", "a = 'x'");
        assert_eq!(errors, ["f:1: a: this is a table: write [a]"]);
        assert!(matches!(at(&table, &["a", "x"]), Value::Integer(1)));
    }

    #[test]
    fn an_upstream_is_found_under_any_spelling() {
        let (table, errors) = merged(
            "[upstreams.'docker.io']\nx = 1",
            "[upstreams.'Index.docker.io']\nx = 2",
        );
        assert!(errors.is_empty());
        assert!(matches!(
            at(&table, &["upstreams", "docker.io", "x"]),
            Value::Integer(2)
        ));
    }

    #[test]
    fn one_registry_has_one_table_a_file() {
        let (_, errors) = merged(
            "",
            "[upstreams.'docker.io']\n[upstreams.'registry-1.docker.io']",
        );
        assert_eq!(
            errors,
            [
                r#"f:2: upstreams."registry-1.docker.io": this is the same registry as `docker.io`: write one table"#
            ]
        );
    }
}
