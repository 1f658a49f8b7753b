//! The house: which module may know which.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What each module may name by a `crate::` path.
const EDGES: [(&str, &[&str]); 18] = [
    ("oci", &[]),
    ("sync", &[]),
    ("files", &[]),
    ("metrics", &[]),
    ("config", &["oci"]),
    ("login", &["oci", "config"]),
    (
        "access",
        &["oci", "sync", "files", "metrics", "config", "login"],
    ),
    ("store", &["oci", "sync", "metrics"]),
    (
        "upstream",
        &["oci", "sync", "files", "metrics", "config", "login"],
    ),
    (
        "mirror",
        &[
            "oci", "sync", "metrics", "config", "login", "access", "store", "upstream",
        ],
    ),
    (
        "http",
        &[
            "oci", "sync", "metrics", "config", "login", "access", "mirror",
        ],
    ),
    ("status", &[]),
    (
        "admin",
        &["oci", "sync", "metrics", "config", "mirror", "status"],
    ),
    (
        "server",
        &["sync", "files", "metrics", "config", "http", "admin"],
    ),
    (
        "app",
        &[
            "oci", "metrics", "sync", "config", "access", "store", "upstream", "mirror", "http",
            "admin", "server", "status",
        ],
    ),
    (
        "fuzzing",
        &[
            "oci", "config", "access", "store", "upstream", "http", "server",
        ],
    ),
    ("client", &["oci", "config"]),
    (
        "cli",
        &[
            "oci", "files", "config", "upstream", "app", "server", "client", "status",
        ],
    ),
];

/// Source files of the package, with the module that each belongs to.
fn sources() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let module = |path: &PathBuf| {
        let first = path.strip_prefix(&root).unwrap().components().next();
        let first = first.unwrap().as_os_str().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    };
    let files = rust_files(&root).into_iter();
    files.map(|path| (module(&path), path)).collect()
}

fn rust_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The modules that a text names by `crate::module`, or in a group `crate::{module::..., ...}`.
fn named(text: &str) -> Vec<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.collect::<Vec<_>>().join("\n");
    let word = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut modules = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => modules.push(word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (index, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && c.is_alphanumeric() => {
                            modules.push(word(&group[index..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    modules
}

#[test]
fn modules_know_only_what_the_design_allows() {
    let edges: BTreeMap<_, _> = EDGES.into_iter().collect();
    let mut wrong = Vec::new();
    for (module, path) in sources() {
        if module == "lib" || module == "main" {
            continue;
        }
        let allowed = edges
            .get(module.as_str())
            .unwrap_or_else(|| panic!("{module} is not in the design"));
        for other in named(&std::fs::read_to_string(&path).unwrap()) {
            if other != module && !allowed.contains(&other.as_str()) {
                wrong.push(format!("{}: {module} may not know {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_scan_sees_single_paths_and_groups() {
    let text = "use crate::oci::Digest;\nuse crate::{store::{Store, x}, upstream};\n// crate::comment\ncrate::mirror::f();";
    assert_eq!(named(text), ["oci", "store", "upstream", "mirror"]);
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for (_, path) in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("//!"),
            "{} has no opening doc",
            path.display()
        );
    }
}

/// The map is only worth reading while what it names is there.
#[test]
fn every_file_that_the_map_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = std::fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let named = map.split('`').filter(|word| {
        let extension = Path::new(word).extension();
        let file = extension.is_some_and(|extension| extension == "rs" || extension == "toml");
        file && word.contains('/') && !word.contains(char::is_whitespace)
    });
    let mut count = 0;
    for file in named {
        assert!(
            root.join(file).is_file(),
            "src/lib.rs names {file}, which does not exist"
        );
        count += 1;
    }
    assert!(count > 30, "only {count} files are named");
}

/// A variable of whoever ran the tests made every start a bad configuration, where a test had its own way to start it.
#[test]
fn the_harness_alone_knows_where_the_program_is() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let name = concat!("CARGO_BIN", "_EXE_forebay");
    let mut knowing = Vec::new();
    for path in rust_files(&tests) {
        if std::fs::read_to_string(&path).unwrap().contains(name) {
            knowing.push(path);
        }
    }
    assert_eq!(knowing, [tests.join("harness/program.rs")]);
}
