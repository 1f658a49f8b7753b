//! What the program is linked from: nothing that inflates what registries send, one TLS stack, licences that a company lets
//! in, and sources that everyone can look up.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A package that is linked into the program.
#[derive(Debug, PartialEq, Eq)]
struct Linked {
    name: String,
    version: String,
    licence: String,
}

/// What `cargo tree` says of the program with the features that it has by default.
fn linked() -> Vec<Linked> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "forebay", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}\t{l}", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "{errors}");
    let linked = read(&String::from_utf8(tree.stdout).unwrap());
    assert!(linked.iter().any(|package| package.name == "rustls"));
    linked
}

/// Reads lines of a package, its version and more in brackets, a tabulator, and its licence.
fn read(tree: &str) -> Vec<Linked> {
    let line = |line: &str| {
        let (package, licence) = line.split_once('\t')?;
        let mut words = package.split(' ');
        Some(Linked {
            name: words.next()?.to_owned(),
            version: words.next()?.to_owned(),
            // What is listed for the second time is marked so.
            licence: licence.trim_end_matches(" (*)").to_owned(),
        })
    };
    tree.lines().filter_map(line).collect()
}

/// How the names begin under which crates.io has what inflates: most formats have several, and their C libraries too.
const DECOMPRESSORS: [&str; 35] = [
    "async-compression",
    "brotli",
    "bzip2",
    "cloudflare-zlib",
    "compress",
    "decompress",
    "deflate",
    "flate",
    "gzip",
    "inflate",
    "isal",
    "libbz2",
    "libdeflate",
    "libflate",
    "liblzma",
    "libz",
    "lz4",
    "lzf",
    "lzma",
    "lzo",
    "lzw",
    "lzzzz",
    "miniz",
    "minilzo",
    "niffler",
    "ruzstd",
    "sevenz",
    "snap",
    "weezl",
    "xz",
    "yazi",
    "zip",
    "zlib",
    "zstd",
    "zune-inflate",
];

/// TLS and cryptography beside rustls with aws-lc-rs.
const OTHER_TLS: [&str; 14] = [
    "boring",
    "boring-sys",
    "gnutls",
    "graviola",
    "mbedtls",
    "native-tls",
    "openssl",
    "openssl-sys",
    "ring",
    "rustls-rustcrypto",
    "s2n-tls",
    "schannel",
    "security-framework",
    "wolfssl",
];

/// Packages that have no business in the program.
fn unwanted(linked: &[Linked]) -> Vec<&str> {
    let names = linked.iter().map(|package| package.name.as_str());
    let inflates = |name: &str| DECOMPRESSORS.iter().any(|begins| name.starts_with(begins));
    names
        .filter(|name| inflates(name) || OTHER_TLS.contains(name))
        .collect()
}

#[test]
fn no_decompressor_and_no_second_tls_stack_is_linked() {
    let linked = linked();
    assert_eq!(unwanted(&linked), [""; 0]);
    for single in ["rustls", "aws-lc-rs", "aws-lc-sys"] {
        let mut versions: Vec<_> = linked
            .iter()
            .filter(|package| package.name == single)
            .map(|package| &package.version)
            .collect();
        versions.dedup();
        assert_eq!(versions.len(), 1, "{single} is linked as {versions:?}");
    }
}

#[test]
fn a_decompressor_or_another_tls_stack_would_be_seen() {
    let tree = "rustls v0.23.1\tMIT\nflate2 v1.1.0\tMIT OR Apache-2.0\nring v0.17.0\tISC\n\
                forebay v0.1.0 (/here)\tApache-2.0\nflate2 v1.1.0\tMIT OR Apache-2.0 (*)\n\
                zstd-safe v7.0.0\tMIT";
    let linked = read(tree);
    assert_eq!(unwanted(&linked), ["flate2", "ring", "flate2", "zstd-safe"]);
    assert_eq!(linked[1].licence, linked[4].licence);
}

/// Licences that ask for no more than to be named.
const ACCEPTABLE: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    // Data: the certificates that browsers trust.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether an SPDX expression leaves a choice that is acceptable. An exception only ever allows more.
fn is_acceptable(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        // The way it was written before SPDX.
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let accepted = any_of(&mut words);
    accepted && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>) -> bool {
    let mut accepted = all_of(words);
    while words.next_if_eq(&"OR").is_some() {
        accepted |= all_of(words);
    }
    accepted
}

fn all_of(words: &mut Words<'_>) -> bool {
    let mut accepted = one(words);
    while words.next_if_eq(&"AND").is_some() {
        accepted &= one(words);
    }
    accepted
}

fn one(words: &mut Words<'_>) -> bool {
    let Some(word) = words.next() else {
        return false;
    };
    if word == "(" {
        let accepted = any_of(words);
        return words.next() == Some(")") && accepted;
    }
    if words.next_if_eq(&"WITH").is_some() {
        words.next();
    }
    ACCEPTABLE.contains(&word)
}

#[test]
fn every_licence_that_is_linked_is_acceptable() {
    for Linked { name, licence, .. } in linked() {
        assert!(
            is_acceptable(&licence),
            "{name} comes under {licence:?}: take another crate, or have ACCEPTABLE take the licence"
        );
    }
}

#[test]
fn a_licence_is_acceptable_where_a_choice_of_it_is() {
    for (expression, acceptable) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("MIT OR LGPL-2.1-or-later", true),
        ("GPL-3.0-only OR ISC", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("MIT AND GPL-2.0-only", false),
        ("GPL-2.0-only AND MIT", false),
        ("ISC AND (Apache-2.0 OR GPL-3.0-only) AND MIT", true),
        ("(ISC AND AGPL-3.0-only) OR SSPL-1.0", false),
        ("(MIT", false),
        ("MIT)", false),
        ("MPL-2.0", false),
        ("", false),
    ] {
        assert_eq!(is_acceptable(expression), acceptable, "{expression}");
    }
}

/// A package of a lock file, with its fields.
fn locked(file: &str) -> Vec<BTreeMap<String, String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let lock = std::fs::read_to_string(path).unwrap();
    let packages = lock.split("[[package]]").skip(1);
    let field = |line: &str| {
        let (name, value) = line.split_once(" = ")?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    };
    packages
        .map(|package| package.lines().filter_map(field).collect())
        .collect()
}

#[test]
fn every_package_comes_from_crates_io_with_its_checksum() {
    for file in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let packages = locked(file);
        assert!(packages.len() > 100, "{file} has {}", packages.len());
        for package in packages {
            let name = &package["name"];
            let Some(source) = package.get("source") else {
                assert!(name.starts_with("forebay"), "{name} is somebody else's");
                continue;
            };
            let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
            assert_eq!(source, crates_io, "{name}");
            assert!(package.contains_key("checksum"), "{name} has no checksum");
        }
    }
}

/// What the fuzzers' library is made of.
const FUZZERS: [&str; 3] = ["arbitrary", "forebay-fuzz", "libfuzzer-sys"];

#[test]
fn what_is_fuzzed_is_made_of_what_ships() {
    let ships = locked("Cargo.lock");
    for package in locked("fuzz/Cargo.lock") {
        let same = |other: &BTreeMap<String, String>| {
            ["name", "version", "checksum"]
                .iter()
                .all(|field| other.get(*field) == package.get(*field))
        };
        let name = package["name"].as_str();
        assert!(
            FUZZERS.contains(&name) || ships.iter().any(same),
            "{name} {} is not what ships: fuzz/run -lock",
            package["version"]
        );
    }
}
