//! What the pages in `config/` show is what the program takes and says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use forebay_loadtest::origin::{Fault, ImageSpec, Kind, Origin};
use http::Method;
use tokio::process::Command;

use crate::harness::{Answer, Forebay, Setup, plain_origin};

fn pages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(pages().join(name)).unwrap()
}

/// The example files, without the reference that is built in.
fn examples() -> Vec<String> {
    let files = std::fs::read_dir(pages()).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "default.toml")
        .collect()
}

/// Passes for a certificate as far as `check` looks, and for a password.
const PEM: &str = "-----BEGIN CERTIFICATE-----\n";

/// The files that the examples point at, made below `root`: each path is checked as it will be.
fn with_its_files(text: &str, root: &Path) -> String {
    for (_, path) in text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = \"/etc/forebay/"))
    {
        let name = path.trim_end_matches('"');
        std::fs::write(root.join(name), PEM).unwrap();
    }
    text.replace("/etc/forebay/", &format!("{}/", root.display()))
}

#[tokio::test]
async fn every_example_is_accepted_and_changes_something() {
    let forebay = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.args(arguments).env_remove("FOREBAY_CONFIG");
        command.env("HOME", "/home/me").env_remove("XDG_CACHE_HOME");
        command
    };
    let default = forebay(&["check"]).output().await.unwrap().stdout;
    let names = examples();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(&name);
        std::fs::write(&file, with_its_files(&page(&name), root.path())).unwrap();
        let checked = forebay(&["check", "--config", file.to_str().unwrap()])
            .output()
            .await
            .unwrap();
        let errors = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{name}:\n{errors}");
        assert_ne!(checked.stdout, default, "{name} says nothing new");
        assert!(
            page("README.md").contains(&format!("({name})")),
            "config/README.md does not tell of {name}"
        );
    }
}

/// The blocks of the troubleshooting page that quote the mirror, a line each; `…` stands for anything.
fn quotes() -> BTreeSet<String> {
    let text = page("troubleshooting.md");
    let blocks = text.split("```text\n").skip(1);
    let quoted = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    quoted.map(str::to_owned).collect()
}

fn matches(quote: &str, said: &str) -> bool {
    let mut rest = said;
    for part in quote.split('…') {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

/// What an error's body says to the client and to the operator.
fn said(answer: &Answer) -> [String; 2] {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    ["message", "detail"].map(|key| {
        let text = body["errors"][0][key].as_str();
        text.unwrap_or_default().to_owned()
    })
}

/// An upstream with a private repository and one whose quota is used up.
async fn troubled_upstream() -> Origin {
    let builder = plain_origin()
        .repository("library/app", |repository| {
            repository.image("v1", &ImageSpec::default());
        })
        .repository("library/private", |repository| {
            repository.image("v1", &ImageSpec::default());
            repository.private();
        });
    let builder = builder.auth(forebay_loadtest::origin::Auth::token());
    builder.start().await.unwrap()
}

/// Everything that the page says the mirror says, from the mirror.
async fn provoked() -> Vec<String> {
    let origin = troubled_upstream().await;
    let forebay = Setup::new(&origin)
        .upstream("timeouts = { connect = \"1s\", first_byte = \"1s\" }")
        .start()
        .await;
    let client = forebay.client();
    let mut told = Vec::new();
    for path in [
        "/v2/registry.example.com/app/manifests/v1",
        "/hub/v2/library/app/manifests/v1",
        "/v2/library/app/manifests/v2",
        "/v2/library/private/manifests/v1",
    ] {
        told.extend(said(&client.get(path).await));
    }
    let push = client.ask(Method::PUT, "/v2/library/app/manifests/v1", &[]);
    told.extend(said(&push.await));
    origin.on(Kind::ManifestGet).always(Fault::status(429));
    origin.on(Kind::ManifestHead).always(Fault::status(429));
    told.extend(said(&client.get("/v2/library/app/manifests/v1").await));
    origin.stop().await;
    told.extend(said(&client.get("/v2/library/app/manifests/v3").await));
    told.push(refused_start(&forebay, Setup::new(&origin), true).await);
    let same_cache = Setup::new(&origin).in_cache_of(&forebay);
    told.push(refused_start(&forebay, same_cache, false).await);
    told
}

/// What a second mirror says that wants the first one's port, or what else `setup` gives it.
async fn refused_start(forebay: &Forebay, setup: Setup, port: bool) -> String {
    let setup = setup.config("[cache]\nlock_wait = \"0s\"");
    let mut command = setup.command();
    if port {
        command.arg("--listen").arg(forebay.address.to_string());
    }
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    // The page has a machine's usual values.
    String::from_utf8_lossy(&output.stderr)
        .replace(&forebay.address.to_string(), "127.0.0.1:5000")
        .replace(
            &forebay.cache_dir().display().to_string(),
            "/var/cache/forebay",
        )
        .replace("(waited 0 s)", "(waited 30 s)")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_troubleshooting_page_quotes_what_the_mirror_says() {
    let quotes = quotes();
    assert!(!quotes.is_empty());
    let told = provoked().await;
    for quote in &quotes {
        assert!(
            told.iter().any(|said| matches(quote, said)),
            "the mirror does not say: {quote}\nit says:\n{}",
            told.join("\n")
        );
    }
}

#[test]
fn the_pages_name_metrics_that_there_are() {
    let source = std::fs::read_to_string(pages().join("../src/metrics.rs")).unwrap();
    let text = page("troubleshooting.md");
    let named: Vec<_> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("forebay_"))
        .collect();
    assert!(!named.is_empty());
    for name in named {
        assert!(
            source.contains(&format!("\"{name}\"")),
            "there is no metric {name}"
        );
    }
}

/// What is a key with an underscore in its name, and not ours.
const OTHERS_KEYS: [&str; 1] = ["config_path"];

#[test]
fn the_pages_name_keys_that_there_are() {
    let reference = page("default.toml");
    let keys: BTreeSet<_> = reference
        .lines()
        .filter_map(|line| Some(line.trim_start_matches('#').split_once(" = ")?.0))
        .collect();
    for name in ["troubleshooting.md", "README.md"] {
        let text = page(name);
        for word in text.split('`').skip(1).step_by(2) {
            let is_key =
                word.contains('_') && word.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
            assert!(
                !is_key
                    || keys.contains(word)
                    || OTHERS_KEYS.contains(&word)
                    || word.starts_with("forebay_"),
                "{name}: there is no key {word}"
            );
        }
    }
}
