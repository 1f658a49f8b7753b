//! buildkitd: `buildkitd.toml`, where a mirror is a host and a path, and how to reach it stands in a table of its own.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::block;
use super::edit::{Edit, Known, Refusal, parse_toml};
use super::{File, Plan, Request};

const PATH: &str = "/etc/buildkit/buildkitd.toml";

pub(super) fn plan(request: &Request) -> Plan {
    let host = request.mirror.reference_host();
    let mut body = String::new();
    for registry in request.registries() {
        write!(
            body,
            "[registry.\"{registry}\"]\n  mirrors = [\"{host}/{registry}\"]\n"
        )
        .expect("writing to a string");
    }
    let plain = request.mirror.is_plain();
    if plain {
        write!(body, "[registry.\"{host}\"]\n  http = true\n").expect("writing to a string");
    }
    if let Some(authority) = &request.authority {
        let path = authority.path();
        write!(body, "[registry.\"{host}\"]\n  ca = [\"{path}\"]\n").expect("writing to a string");
    }
    let mut notes = vec![
        "docker buildx with a builder of its own: docker buildx create --use --buildkitd-config FILE; the builder that is \
         part of dockerd uses dockerd's mirrors instead"
            .into(),
        "a rootless buildkitd reads ~/.config/buildkit/buildkitd.toml instead".into(),
    ];
    notes.extend(request.ca_hint());
    if !plain {
        notes.push(format!(
            "where the mirror wants a login: `docker login {host}` where builds are started, whose logins buildkitd asks for;              for a certificate add [[registry.\"{host}\".keypair]] with key = \"KEY\" and cert = \"CERTIFICATE\""
        ));
    }
    Plan {
        files: vec![File::new(PATH, Buildkitd { body })],
        reload: vec!["systemctl restart buildkit".into()],
        notes,
        ..Plan::default()
    }
}

/// Our tables of `buildkitd.toml`.
#[derive(Debug)]
struct Buildkitd {
    body: String,
}

impl Edit for Buildkitd {
    fn fresh(&self) -> String {
        block::wrap(&self.body)
    }

    fn merge(&self, existing: &str) -> Result<String, Refusal> {
        let split = block::split(existing)?;
        let others = parse_toml(&split.rest())?;
        let ours = parse_toml(&self.body)?;
        let registries = |table: &Table| table.get("registry").and_then(Value::as_table).cloned();
        let (theirs, wanted) = (
            registries(&others).unwrap_or_default(),
            registries(&ours).unwrap_or_default(),
        );
        if wanted
            .iter()
            .all(|(name, table)| theirs.get(name) == Some(table))
        {
            return Ok(split.rest());
        }
        if let Some(name) = wanted.keys().find(|name| theirs.contains_key(*name)) {
            let refusal = Refusal::new(
                format!("has a [registry.\"{name}\"] of its own"),
                "merge this into it yourself",
            );
            return Err(refusal.add(&self.body));
        }
        let merged = split.with(&self.fresh());
        let mut all = others;
        let entry = all
            .entry("registry")
            .or_insert_with(|| Value::Table(Table::new()));
        if let Some(table) = entry.as_table_mut() {
            table.extend(wanted);
        }
        if merged.parse::<Table>().ok() != Some(all) {
            let refusal = Refusal::new(
                "is written in a way that forebay does not change",
                "add this to it yourself",
            );
            return Err(refusal.add(&self.body));
        }
        Ok(merged)
    }

    fn remove(&self, current: &str, _: Known<'_>) -> Result<String, Refusal> {
        block::split(current).map(|split| split.rest())
    }
}
