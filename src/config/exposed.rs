//! Secrets in files that everybody on the machine can read. That is no mistake of the configuration's own, and stops no start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::tree::{Node, Source, Table, Value};
use super::values::path;

/// Keys that name a file with a secret in it; `cert_file` may hold the key, too.
const FILES: [&str; 9] = [
    "cert_file",
    "client_key",
    "docker_config",
    "file",
    "gcp_key_file",
    "htpasswd_file",
    "http_proxy_password_file",
    "key_file",
    "password_file",
];
/// Keys that are one.
const INLINE: &str = "password";

/// What others than the owner and its group may do with a file, and what it takes to get to what is in a directory.
const READ_BY_ALL: u32 = 0o004;
const WRITTEN_BY_ALL: u32 = 0o002;
const ENTERED_BY_ALL: u32 = 0o001;

/// A sentence about each file of `table` that has a secret in it, and that is open to everybody.
pub(super) fn exposed(table: &Table) -> Vec<String> {
    let mut files = Vec::new();
    collect(table, &mut files);
    files.sort();
    files.dedup();
    files.iter().filter_map(|file| told(file)).collect()
}

fn collect(table: &Table, files: &mut Vec<PathBuf>) {
    for (key, node) in table {
        match &node.value {
            Value::Table(table) => collect(table, files),
            Value::List(nodes) => {
                for node in nodes {
                    if let Value::Table(table) = &node.value {
                        collect(table, files);
                    }
                }
            }
            Value::Text(_) => files.extend(secret(key, node)),
            _ => {}
        }
    }
}

/// The file that a secret is in.
fn secret(key: &str, node: &Node) -> Option<PathBuf> {
    if FILES.contains(&key) {
        return path(node)
            .ok()
            .filter(|path| key != "cert_file" || holds_a_key(path));
    }
    match &node.origin.source {
        Source::File(file) if key == INLINE => Some(file.to_path_buf()),
        _ => None,
    }
}

fn holds_a_key(path: &Path) -> bool {
    super::values::read_text(path).is_ok_and(|text| text.contains("PRIVATE KEY-----"))
}

/// `None` where it is not open to everybody.
fn told(file: &Path) -> Option<String> {
    // What a link leads to is what counts.
    let file = fs::canonicalize(file).ok()?;
    let mode = |path: &Path| Some(fs::metadata(path).ok()?.permissions().mode());
    let own = mode(&file)?;
    let can = match (own & READ_BY_ALL, own & WRITTEN_BY_ALL) {
        (0, 0) => return None,
        (_, 0) => "read",
        _ => "write to",
    };
    let is_reached =
        |directory: &Path| mode(directory).is_none_or(|mode| mode & ENTERED_BY_ALL != 0);
    let mut above = file.ancestors().skip(1);
    above.all(is_reached).then(|| {
        format!(
            "every user of this machine can {can} {}, which has a secret in it: take that from them, as `chmod o= {0}` does",
            file.display()
        )
    })
}
