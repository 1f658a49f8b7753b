//! podman, skopeo, buildah and CRI-O: a drop-in of `registries.conf`. Their mirrors carry the registry in the path.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::edit::Refusal;
use super::owned::Owned;
use super::{Existing, File, Plan, Request};
use crate::oci::Registry;

const CERTIFICATES: &str = "/etc/containers/certs.d";
/// What tells podman of registries, and the directory of what is read after it.
pub(super) const REGISTRIES: &str = "/etc/containers/registries.conf";
pub(super) const DROP_INS: &str = "/etc/containers/registries.conf.d";
/// Ours among them.
pub(super) const DROP_IN: &str = "50-forebay.conf";

pub(super) fn plan(request: &Request, existing: &Existing) -> Plan {
    // What a table of somebody else says already would be said by ours alone.
    let registries = request.registries();
    let tables: Vec<_> = registries
        .filter(|registry| theirs(existing, registry).is_none())
        .map(|registry| table(request, registry))
        .collect();
    let edit = Owned {
        body: tables.join("\n"),
        advice: "move it away, or add this to it yourself",
    };
    let host = request.mirror.reference_host();
    let authority = request.authority.as_ref();
    let mut files: Vec<_> = authority
        .map(|authority| authority.copy(&format!("{CERTIFICATES}/{host}")))
        .into_iter()
        .collect();
    files.push(File {
        absent: tables.is_empty(),
        ..File::new(format!("{DROP_INS}/{DROP_IN}"), edit)
    });
    Plan {
        files,
        reload: vec![
            "systemctl reload crio    # CRI-O only; podman, skopeo and buildah read it at each run"
                .into(),
        ],
        notes: notes(request),
        ..Plan::default()
    }
}

/// A table of ours, for one registry.
fn table(request: &Request, registry: &Registry) -> String {
    let location = location(request, registry);
    let insecure = if request.mirror.is_plain() {
        "insecure = true\n"
    } else {
        ""
    };
    if request.fallback {
        format!(
            "[[registry]]\nprefix = \"{registry}\"\nlocation = \"{registry}\"\n\
             [[registry.mirror]]\nlocation = \"{location}\"\n{insecure}"
        )
    } else {
        format!("[[registry]]\nprefix = \"{registry}\"\nlocation = \"{location}\"\n{insecure}")
    }
}

fn location(request: &Request, registry: &Registry) -> String {
    format!("{}/{registry}", request.mirror.reference_host())
}

/// Other files' table of this registry. Of two with the same prefix podman reads the last alone, with no word.
fn theirs<'a>(existing: &'a Existing, registry: &Registry) -> Option<(&'a Path, &'a Table)> {
    let is_of = |table: &&Table| {
        let prefix = text(table, "prefix").or_else(|| text(table, "location"));
        prefix.is_some_and(|prefix| prefix.trim_end_matches('/') == registry.as_str())
    };
    // The last file wins.
    existing.registries.iter().rev().find_map(|(path, file)| {
        let tables = file.get("registry")?.as_array()?.iter();
        let found = tables.filter_map(Value::as_table).find(is_of)?;
        Some((path.as_path(), found))
    })
}

fn text<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    let text = table.get(key).and_then(Value::as_str);
    text.filter(|text| !text.is_empty())
}

/// Whether somebody else's table asks the mirror first.
fn says_so(request: &Request, registry: &Registry, table: &Table) -> bool {
    let wanted = location(request, registry);
    let first = if request.fallback {
        let mirrors = table.get("mirror").and_then(Value::as_array);
        mirrors.and_then(|mirrors| text(mirrors.first()?.as_table()?, "location"))
    } else {
        text(table, "location").filter(|_| !table.contains_key("mirror"))
    };
    first == Some(wanted.as_str())
}

pub(super) fn conflict(request: &Request, existing: &Existing) -> Option<(PathBuf, Refusal)> {
    request.registries().find_map(|registry| {
        let (path, table) = theirs(existing, registry)?;
        if says_so(request, registry, table) {
            return None;
        }
        let refusal = Refusal::new(
            format!(
                "has a [[registry]] of its own for {registry}, and podman reads one of two with the same prefix alone"
            ),
            "merge the mirror into it yourself, so that it says this, and try again",
        );
        Some((path.to_owned(), refusal.add(merged(request, registry, table))))
    })
}

/// Somebody else's table with the mirror in it.
fn merged(request: &Request, registry: &Registry, table: &Table) -> String {
    let mut table = table.clone();
    let mut ours = Table::new();
    ours.insert("location".into(), location(request, registry).into());
    if request.mirror.is_plain() {
        ours.insert("insecure".into(), true.into());
    }
    if request.fallback {
        let entry = table
            .entry("mirror")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Some(mirrors) = entry.as_array_mut() {
            mirrors.insert(0, Value::Table(ours));
        }
    } else {
        table.remove("mirror");
        table.insert("prefix".into(), registry.as_str().into());
        table.extend(ours);
    }
    let all = Table::from_iter([(
        "registry".to_owned(),
        Value::Array(vec![Value::Table(table)]),
    )]);
    all.to_string()
}

fn notes(request: &Request) -> Vec<String> {
    let mut notes = vec![
        "where another file in registries.conf.d has the same prefix, the last file by name wins; a user without root has \
         ~/.config/containers/registries.conf.d"
            .into(),
    ];
    notes.extend(request.ca_hint());
    if !request.mirror.is_plain() {
        let host = request.mirror.reference_host();
        notes.push(format!(
            "where the mirror wants a login: `podman login {host}`, or a certificate as client.cert and client.key in \
             {CERTIFICATES}/{host}"
        ));
    }
    notes
}
