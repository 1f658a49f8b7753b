//! What the pages in `config/` show is what the program takes and says.

mod quotes;
mod reference;

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::harness::{asking_files, program};

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

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

/// Passes for a certificate as far as `check` looks, and for a password.
const PEM: &str = "-----BEGIN CERTIFICATE-----\n";

/// The files that the examples point at, made below `root`: each path is checked as it will be.
fn with_its_files(text: &str, root: &Path) -> String {
    for (_, path) in text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = \"/etc/forebay/"))
    {
        let file = root.join(path.trim_end_matches('"'));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let [certificate, key, clients] = asking_files();
        let text = match file.file_name().unwrap().to_str().unwrap() {
            "tls.crt" => std::fs::read_to_string(certificate).unwrap(),
            "tls.key" => std::fs::read_to_string(key).unwrap(),
            "clients-ca.crt" => std::fs::read_to_string(clients).unwrap(),
            "htpasswd" => format!("alice:{}\n", bcrypt::hash("password", 4).unwrap()),
            "ci.token" => "0123456789abcdef".repeat(4),
            _ => PEM.to_owned(),
        };
        std::fs::write(file, text).unwrap();
    }
    text.replace("/etc/forebay/", &format!("{}/", root.display()))
}

/// An example with what it leaves to its reader: a comment that is a line of TOML has nothing between `#` and it.
fn with_its_choices(text: &str) -> String {
    let chosen = |line: &str| match line.strip_prefix('#') {
        Some(choice) if !choice.is_empty() && !choice.starts_with([' ', '#']) => choice.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(chosen).collect::<Vec<_>>().join("\n")
}

/// What `check` prints of a configuration, all of whose files are there.
async fn checked(text: &str, variables: &[(&str, &str)]) -> String {
    checked_and_warned(text, variables).await.0
}

/// The same, and what it warns of.
async fn checked_and_warned(text: &str, variables: &[(&str, &str)]) -> (String, String) {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("forebay.toml");
    std::fs::write(&file, with_its_files(text, root.path())).unwrap();
    let mut command = Command::from(program());
    command.arg("check").arg("--config").arg(file);
    command.env("HOME", "/home/me").env_remove("XDG_CACHE_HOME");
    command.envs(variables.iter().copied());
    let output = command.output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed = printed.replace(root.path().to_str().unwrap(), "/etc/forebay");
    (printed, errors.into_owned())
}

#[tokio::test]
async fn every_example_is_accepted_and_changes_something() {
    let default = checked("", &[]).await;
    let names = examples();
    assert!(names.len() >= 4, "{names:?}");
    let mut choices = 0;
    for name in names {
        let example = page(&name);
        let plain = checked(&example, &[]).await;
        assert_ne!(plain, default, "{name} says nothing new");
        let chosen = with_its_choices(&example);
        if chosen != example.trim_end() {
            choices += 1;
            assert_ne!(checked(&chosen, &[]).await, plain, "{name}");
        }
        assert!(
            page("README.md").contains(&format!("({name})")),
            "config/README.md does not tell of {name}"
        );
    }
    assert!(choices > 0, "no example leaves anything to its reader");
}

#[tokio::test]
async fn no_example_leaves_open_by_accident_who_may_pull() {
    let cluster =
        std::fs::read_to_string(pages().join("../packaging/kubernetes/cluster/forebay.toml"));
    let mut texts: Vec<_> = examples().iter().map(|name| page(name)).collect();
    texts.push(cluster.unwrap());
    for text in texts {
        let warned = checked_and_warned(&text, &[]).await.1;
        assert!(!warned.contains("access:"), "{text}\n{warned}");
    }
}

/// What is beside a service's unit, an image or a manifest is what that starts with.
#[tokio::test]
async fn what_is_packaged_is_accepted() {
    let packaging = pages().join("../packaging");
    let read = |path: &str| std::fs::read_to_string(packaging.join(path)).unwrap();
    let default = checked("", &[]).await;
    for path in [
        "container/forebay.toml",
        "kubernetes/cluster/forebay.toml",
        "kubernetes/node/forebay.toml",
    ] {
        let example = read(path);
        assert_ne!(checked(&example, &[]).await, default, "{path}");
        checked(&with_its_choices(&example), &[]).await;
    }
    // A kustomization takes no files from elsewhere.
    let copy = read("kubernetes/node/forebay.toml");
    assert_eq!(copy, page("kubernetes-node.toml"));
}

#[tokio::test]
async fn what_the_readme_configures_is_accepted_and_changes_something() {
    let readme = page("../README.md");
    let (_, block) = readme.split_once("```toml\n").unwrap();
    let example = block.split("```").next().unwrap();
    let example = example.replace("/run/secrets/", "/etc/forebay/");
    let file = checked(&example, &[]).await;
    assert_ne!(file, checked("", &[]).await);
    // Those of the page on configuration stand in lines of their own.
    let pages = [readme.clone(), page("README.md")];
    let mut variables = 0;
    for variable in pages.iter().flat_map(|page| page.split(['`', '\n'])) {
        let assigned = variable.trim().split_once('=');
        let Some((name, value)) = assigned.filter(|(name, _)| name.starts_with("FOREBAY_")) else {
            continue;
        };
        // A file that is there and is not empty passes for a secret.
        let is_file = value.starts_with("/run/secrets/");
        let value = if is_file { MANIFEST } else { value };
        let other = example
            .replace("200GiB", "100GiB")
            .replace("\"ci\"", "\"me\"");
        let before = checked(&other, &[]).await;
        let after = checked(&other, &[(name, value)]).await;
        // A secret is not shown, so that nothing differs but whether it is taken.
        assert!(is_file || after != before, "{name}");
        variables += 1;
    }
    assert!(variables >= 4, "{variables}");
}
