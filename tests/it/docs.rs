//! What the pages in `config/` show is what the program takes and says.

mod quotes;
mod reference;

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::harness::program;

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
        let mut command = Command::from(program());
        command.args(arguments).env("HOME", "/home/me");
        command.env_remove("XDG_CACHE_HOME");
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
