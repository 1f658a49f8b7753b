//! What the pages list is all that there is, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use forebay::oci::ErrorCode;

use super::page;

fn source(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The functions of all metrics.
fn metrics() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics");
    let files = std::fs::read_dir(root).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap() != "recorder.rs");
    let texts = files
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap());
    texts.fold(source("src/metrics.rs"), |all, text| all + &text)
}

/// What stands between `before` and `after`, each time.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    let parts = text.split(before).skip(1);
    parts
        .filter_map(|part| Some(part.split_once(after)?.0))
        .collect()
}

#[test]
fn the_pages_name_metrics_that_there_are() {
    let source = metrics();
    for text in [page("troubleshooting.md"), page("metrics.md")] {
        let named: Vec<_> = text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("forebay_"))
            .collect();
        assert!(!named.is_empty());
        for name in named {
            // A histogram's parts.
            let parts = ["_seconds_sum", "_seconds_count"];
            let part = parts.iter().find_map(|part| name.strip_suffix(part));
            let name = part.map_or(name.to_owned(), |metric| format!("{metric}_seconds"));
            assert!(
                source.contains(&format!("\"{name}\"")),
                "there is no metric {name}"
            );
        }
    }
}

/// Words in lower case that the pages set as code, and that are no keys of ours.
const OTHER_WORDS: [&str; 11] = [
    "check",
    "config_path",
    "ctr",
    "denied",
    "detail",
    "hit",
    "hub",
    "message",
    "n",
    "toomanyrequests",
    "forebay",
];

/// The keys of the reference, each with its table before it; those of every upstream have `upstreams`.
fn keys() -> BTreeSet<(String, String)> {
    let mut keys = BTreeSet::new();
    let reference = page("default.toml");
    let mut table = "";
    for line in reference.lines() {
        let line = line.trim_start_matches('#');
        if let Some(header) = line.strip_prefix('[') {
            table = header.split(['.', ']']).next().unwrap();
        } else if let Some((key, _)) = line.split_once(" = ")
            && is_key(key)
        {
            keys.insert((table.to_owned(), key.to_owned()));
        }
    }
    assert!(keys.len() > 40, "{keys:?}");
    keys
}

fn is_key(word: &str) -> bool {
    let in_key = |c: u8| c.is_ascii_lowercase() || c == b'_';
    !word.is_empty() && word.bytes().all(in_key)
}

/// A wrong name in the pages stands out by an underscore, or by a table's name before it; in those of `config/` every word
/// in lower case is a key, or known not to be one.
#[test]
fn the_pages_name_keys_that_there_are() {
    let keys = keys();
    let known = |word: &str| keys.iter().any(|(_, key)| key == word);
    let tables: BTreeSet<_> = keys.iter().map(|(table, _)| table.as_str()).collect();
    let readme = source("README.md");
    let pages = ["troubleshooting.md", "README.md"].map(|name| (name, page(name)));
    for (name, text) in pages.into_iter().chain([("../README.md", readme)]) {
        for word in text.split('`').skip(1).step_by(2) {
            let word = word.trim_matches(['(', ')']);
            if let Some((table, key)) = word.split_once('.')
                && tables.contains(table)
            {
                let key = (table.to_owned(), key.to_owned());
                assert!(keys.contains(&key), "{name}: there is no key {word}");
            }
            let is_ours = name != "../README.md" || word.len() > 1 && word.contains('_');
            let is_other = OTHER_WORDS.contains(&word) || word.starts_with("forebay_");
            assert!(
                !is_key(word) || !is_ours || is_other || known(word),
                "{name}: there is no key {word}"
            );
        }
    }
}

/// A metric's name, kind and labels, as the table of metrics has them.
fn row(name: &str, kind: &str, labels: &[&str]) -> String {
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    let labels = match labels.as_slice() {
        [] => String::new(),
        labels => format!("{} ", labels.join(", ")),
    };
    format!("| `{name}` | {kind} | {labels}|")
}

#[test]
fn every_metric_is_listed_with_its_kind_and_labels() {
    let (page, functions) = (page("metrics.md"), metrics());
    let mut known = BTreeSet::new();
    for kind in ["counter", "gauge", "histogram"] {
        for call in functions.split(&format!("{kind}!(")).skip(1) {
            let statement = call.split(';').next().unwrap();
            let call = statement.split("\n}").next().unwrap();
            let Some((name, rest)) = call.trim_start()[1..].split_once('"') else {
                panic!("{call}");
            };
            let labels: Vec<_> = rest.split(" =>").collect();
            let (_, labels) = labels.split_last().unwrap();
            let labels: Vec<_> = labels
                .iter()
                .map(|text| text.trim_end_matches('"').rsplit('"').next().unwrap())
                .collect();
            let row = row(name, kind, &labels);
            assert!(page.contains(&row), "config/metrics.md has no row: {row}");
            known.insert(name);
        }
    }
    assert!(known.len() > 30, "{known:?}");
    for listed in between(&page, "\n| `forebay_", "`") {
        let name = format!("forebay_{listed}");
        assert!(known.contains(name.as_str()), "there is no metric {name}");
    }
}

/// Names of fields, at any depth, but for those of maps.
fn fields(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                names.insert(name.clone());
                if !["delayed", "refused", "stale"].contains(&name.as_str()) {
                    fields(value, names);
                }
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| fields(value, names)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_status_is_explained() {
    let frozen = source("src/status/tests/document.json");
    let mut names = BTreeSet::new();
    fields(&serde_json::from_str(&frozen).unwrap(), &mut names);
    assert!(names.len() > 40, "{names:?}");
    let page = page("status.md");
    let (_, page) = page.split_once("## The document").unwrap();
    let explained: BTreeSet<_> = page.split('`').skip(1).step_by(2).collect();
    for name in names {
        assert!(
            explained.contains(name.as_str()),
            "config/status.md does not explain `{name}`"
        );
    }
}

#[test]
fn every_value_of_a_label_is_listed() {
    let (page, labels) = (page("metrics.md"), source("src/metrics/label.rs"));
    let listed: BTreeSet<_> = page.split('`').skip(1).step_by(2).collect();
    let values: Vec<_> = between(&labels, " = \"", "\",\n");
    assert!(values.len() > 50, "{values:?}");
    for value in values {
        assert!(
            listed.contains(value),
            "config/metrics.md does not list the value {value}"
        );
    }
}

#[test]
fn every_cache_status_is_explained() {
    let (page, source) = (page("troubleshooting.md"), source("src/http/respond.rs"));
    let statuses = between(&source, "\"forebay; ", "\"");
    assert!(statuses.len() >= 10, "{statuses:?}");
    for status in &statuses {
        assert!(
            page.contains(&format!("\n| `{status}` |")),
            "troubleshooting.md does not explain `Cache-Status: forebay; {status}`"
        );
    }
    let table = page.split_once("| `Cache-Status: ").unwrap().1;
    for explained in between(table, "\n| `", "` |") {
        assert!(statuses.contains(&explained), "nothing says {explained}");
    }
}

#[test]
fn every_error_code_that_is_sent_is_explained() {
    let page = page("troubleshooting.md");
    let table = page.split_once("| status | code |").unwrap().1;
    let table = table.split_once("\n## ").unwrap().0;
    let sources = [
        "src/http/errors.rs",
        "src/http/errors/access.rs",
        "src/mirror/error.rs",
    ];
    let sources = sources.map(source).concat();
    let named: BTreeSet<_> = sources
        .split("ErrorCode::")
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap())
        .collect();
    let mut sent = 0;
    for code in ErrorCode::all() {
        let is_sent = named.contains(format!("{code:?}").as_str());
        assert_eq!(
            table.contains(&format!("`{code}`")),
            is_sent,
            "{code}, which is sent: {is_sent}"
        );
        sent += usize::from(is_sent);
    }
    assert!(sent > 10, "only {sent} codes are sent");
}

#[test]
fn the_readme_names_what_the_tests_install() {
    let (readme, script) = (source("README.md"), source("test"));
    let packages = between(&script, "packages=(", ")");
    let packages: Vec<_> = packages.iter().flat_map(|list| list.split(' ')).collect();
    assert!(packages.len() > 8, "{packages:?}");
    for package in packages {
        assert!(
            readme.contains(&format!("`{package}`")),
            "README.md does not name {package}"
        );
    }
    let rust = between(&source("Cargo.toml"), "\nrust-version = \"", "\"")[0].to_owned();
    assert!(readme.contains(&format!("Rust {rust} or later")), "{rust}");
}
