//! `forebay client`, as a process: what it prints, and what it does to files.

mod beside;
mod files;
mod shown;
mod theirs;
mod trust;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use crate::harness::program;

/// Runs `forebay client` with no configuration but the built-in one.
fn forebay(arguments: &[&str]) -> Output {
    let mut command = program();
    command.arg("client").args(arguments).env_remove("HOME");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What it prints where it succeeds.
fn prints(arguments: &[&str]) -> String {
    let output = forebay(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Its status and what it says where it doesn't.
fn fails(arguments: &[&str]) -> (i32, String) {
    let output = forebay(arguments);
    assert!(
        !output.status.success(),
        "{arguments:?}: {}",
        text(&output.stdout)
    );
    (output.status.code().unwrap(), text(&output.stderr))
}

/// A directory that stands for a client's machine.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    fn with<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [arguments, &["--root", self.0.path().to_str().unwrap()]].concat()
    }

    fn client(&self, arguments: &[&str]) -> String {
        prints(&self.with(arguments))
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let (code, message) = fails(&self.with(arguments));
        assert_eq!(code, 1, "{message}");
        message
    }

    /// All files, with what they hold.
    fn files(&self) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        collect(self.0.path(), &mut found);
        found.sort();
        found
    }
}

fn collect(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push((path.clone(), fs::read_to_string(&path).unwrap()));
        }
    }
}
