//! The directories of hosts files: how containerd names them, and which certificates it takes from them.
//!
//! Read in containerd's `core/remotes/docker/config` and `internal/cri/server/images`: of `host_port_`, `host:port` and
//! `_default` it takes the first that is there, in each root in turn, and nothing from the others. Without a `hosts.toml`
//! in it, it takes the certificates beside it for the registry; with one it does not look at them.

use std::fmt::Write as _;

use toml::Value;

use super::super::{Existing, HostDirectory, Scope};

/// The directory for hosts without one of their own.
const DEFAULT: &str = "_default";

/// The name of a host's directory below `root`: the one that is there, as containerd would find it.
pub(super) fn name(scope: &Scope, root: &str, existing: &Existing) -> String {
    let names = names(scope);
    let there = |name: &&String| {
        let mut found = existing.hosts.iter();
        found.any(|host| host.root == root && host.name == **name)
    };
    let own = names.iter().filter(|name| *name != DEFAULT);
    let plain = scope.registry().map_or(DEFAULT, |host| host.as_str());
    own.clone()
        .find(there)
        .map_or_else(|| plain.into(), Clone::clone)
}

/// The host that a directory's name means.
pub(in crate::client) fn host_of(name: &str) -> String {
    if name == DEFAULT {
        return "*".into();
    }
    let port = name
        .strip_suffix('_')
        .and_then(|name| name.rsplit_once('_'));
    match port {
        Some((host, port)) if port.parse::<u16>().is_ok() => format!("{host}:{port}"),
        _ => name.into(),
    }
}

/// Whether containerd reads a file of this name as part of a host's certificates.
pub(in crate::client) fn is_certificate(file: &str) -> bool {
    [".crt", ".cert", ".key"]
        .iter()
        .any(|end| file.ends_with(end))
}

/// The certificates that containerd takes for this host now, as the lines of a `hosts.toml` that say so: it would no
/// longer look for them itself.
pub(super) fn trust(scope: &Scope, existing: &Existing) -> String {
    let Some(host) = read_now(scope, existing).filter(|host| !host.is_theirs) else {
        return String::new();
    };
    let path = |file: &str| Value::from(format!("{}/{}/{file}", host.root, host.name)).to_string();
    let files = || host.files.iter().map(String::as_str);
    let authorities: Vec<_> = files()
        .filter(|file| file.strip_suffix(".crt").is_some())
        .map(path)
        .collect();
    let pair = |file: &str| {
        let key = format!("{}.key", file.strip_suffix(".cert")?);
        let key = files().any(|file| file == key).then(|| path(&key));
        Some(match key {
            Some(key) => format!("[{}, {key}]", path(file)),
            None => path(file),
        })
    };
    let pairs: Vec<_> = files().filter_map(pair).collect();
    let mut lines = String::new();
    for (name, values) in [("ca", authorities), ("client", pairs)] {
        if !values.is_empty() {
            writeln!(lines, "{name} = [{}]", values.join(", ")).expect("writing to a string");
        }
    }
    lines
}

/// Where containerd looks for this host, but for what is there because of us.
fn read_now<'a>(scope: &Scope, existing: &'a Existing) -> Option<&'a HostDirectory> {
    let names = names(scope);
    existing.hosts_roots.iter().find_map(|root| {
        names.iter().find_map(|name| {
            let mut hosts = existing.hosts.iter();
            hosts.find(|host| {
                let is_ours_alone = !host.is_theirs && host.files == ["hosts.toml"];
                host.root == *root && host.name == *name && !is_ours_alone
            })
        })
    })
}

/// The names that containerd looks for, in its order.
fn names(scope: &Scope) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(registry) = scope.registry() {
        let host = registry.as_str();
        if let Some((name, port)) = host.rsplit_once(':') {
            names.push(format!("{name}_{port}_"));
        }
        names.push(host.into());
    }
    names.push(DEFAULT.into());
    names
}
