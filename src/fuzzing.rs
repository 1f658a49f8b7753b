//! What has to hold of every input that strangers write, as functions of bytes: the targets of the fuzzers in `fuzz/`, and of
//! the tests here, which try what the fuzzers have found. There in neither a release nor a debug build of the program.
//!
//! Each stands beside what it looks at, in a `fuzzing` of that module. A panic is a finding.

use crate::{access, config, http, oci, server, store, upstream};

/// Looks at one input.
pub type Check = fn(&[u8]);

/// Every target, by its name in `fuzz/fuzz_targets` and `fuzz/corpus`.
pub const TARGETS: [(&str, Check); 17] = [
    ("authorization", access::fuzzing::authorization),
    ("config", config::fuzzing::config),
    ("content_range", upstream::fuzzing::content_range),
    ("digest", store::fuzzing::digest),
    ("forwarded", http::fuzzing::forwarded),
    ("globs", config::fuzzing::globs),
    ("htpasswd", config::fuzzing::htpasswd),
    ("index_row", store::fuzzing::index_row),
    ("manifest", oci::fuzzing::manifest),
    ("name", oci::fuzzing::name),
    ("proxy_header", server::fuzzing::proxy_header),
    ("range", http::fuzzing::range),
    ("realm_url", upstream::fuzzing::realm_url),
    ("redirect", upstream::fuzzing::redirect),
    ("reference", oci::fuzzing::reference),
    ("route", http::fuzzing::route),
    ("www_authenticate", upstream::fuzzing::www_authenticate),
];

/// Looks at an input of the target called `name`.
///
/// # Panics
/// Where what has to hold does not, and where there is no such target.
pub fn check(name: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, check) = found.expect("a target's name");
    check(input);
}

#[cfg(test)]
mod tests;
