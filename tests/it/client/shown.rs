//! What is printed: the README's examples, notes, refusals of wrong use.

use std::fs;
use std::path::Path;

use super::{Machine, fails, forebay, prints, text};
use crate::harness::asking_files;

/// The README's examples: a command after `$`, and what it prints.
fn examples() -> Vec<(String, String)> {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let blocks = readme.split("```console\n").skip(1);
    let examples = blocks.filter_map(|block| {
        let block = block.split("```").next().unwrap();
        let (command, printed) = block.split_once('\n').unwrap();
        let command = command.strip_prefix("$ forebay client ")?;
        Some((command.to_owned(), printed.to_owned()))
    });
    examples.collect()
}

#[test]
fn the_readme_shows_what_the_command_prints() {
    let examples = examples();
    for kind in [
        "docker",
        "containerd",
        "podman",
        "buildkit",
        "k3s",
        "kaniko",
    ] {
        assert!(
            examples
                .iter()
                .any(|(command, _)| command.starts_with(kind)),
            "{kind} is not in the README"
        );
    }
    for (command, shown) in examples {
        let arguments: Vec<_> = command.split(' ').collect();
        assert_eq!(prints(&arguments), shown, "forebay client {command}");
    }
}

#[test]
fn what_is_written_is_what_is_printed() {
    for kind in [
        "docker",
        "docker-containerd",
        "containerd",
        "podman",
        "buildkit",
        "k3s",
        "rke2",
        "nerdctl",
    ] {
        let machine = Machine::new();
        let printed = machine.client(&[kind]);
        machine.client(&[kind, "--write"]);
        let files = machine.files();
        assert!(!files.is_empty());
        for (path, text) in files {
            if path.to_str().unwrap().ends_with(".forebay-added") {
                continue;
            }
            let shown = format!("==> {} <==\n{text}\n", path.display());
            assert!(printed.contains(&shown), "{shown} is not in\n{printed}");
        }
        machine.client(&[kind, "--undo"]);
        assert_eq!(machine.files(), [], "{kind} leaves nothing behind");
    }
}

#[test]
fn the_address_and_the_registries_come_from_the_configuration() {
    let machine = Machine::new();
    machine.put(
        "/forebay.toml",
        "[server]\nlisten = [\"10.1.2.3:5005\"]\n[upstreams.\"registry.lan:5000\"]\nalias = \"lan\"\n",
    );
    let config = machine.path("/forebay.toml");
    let printed = prints(&["podman", "--config", config.to_str().unwrap()]);
    assert!(
        printed.contains("location = \"10.1.2.3:5005/registry.lan:5000\""),
        "{printed}"
    );
    let printed = prints(&["kaniko", "--config", config.to_str().unwrap()]);
    assert!(
        printed.contains("--registry-map=registry.lan:5000=10.1.2.3:5005/_/lan"),
        "{printed}"
    );

    let [certificate, key, _] = asking_files();
    let tls = format!(
        "[server]\nlisten = [\"10.1.2.3:5005\"]\n[server.tls]\ncert_file = {certificate:?}\nkey_file = {key:?}\n"
    );
    machine.put("/forebay.toml", &tls);
    let printed = prints(&["docker", "--config", config.to_str().unwrap()]);
    assert!(printed.contains("\"https://10.1.2.3:5005\""), "{printed}");

    machine.put("/forebay.toml", "[server]\nlisten = [\"0.0.0.0:5000\"]\n");
    let (code, message) = fails(&["podman", "--config", config.to_str().unwrap()]);
    assert!(code == 2 && message.contains("--mirror"), "{message}");
    machine.put("/forebay.toml", "[server]\nlisen = []\n");
    let (code, message) = fails(&["podman", "--config", config.to_str().unwrap()]);
    assert!(code == 78 && message.contains("lisen"), "{message}");
}

#[test]
fn what_it_does_not_print_it_says_on_stderr() {
    let output = forebay(&["containerd"]);
    let said = text(&output.stderr);
    assert!(
        said.contains("*.pkg.dev") && said.contains("--registry '*'"),
        "{said}"
    );
    let output = forebay(&["containerd", "--registry", "registry.lan"]);
    let said = text(&output.stderr);
    assert!(said.contains("[upstreams.\"registry.lan\"]"), "{said}");
}

#[test]
fn wrong_use_ends_with_two_and_says_why() {
    for (arguments, reason) in [
        (&["docker", "--no-fallback"][..], "Docker Hub itself"),
        (&["buildkit", "--no-fallback"], "BuildKit"),
        (&["docker", "--registry", "ghcr.io"], "ghcr.io"),
        (&["podman", "--registry", "*"], "name each"),
        (&["kaniko", "--write"], "no file"),
        (&["dind", "--undo"], "no file"),
        (&["podman", "--write", "--undo"], "cannot be used with"),
        (&["podman", "--mirror", "http://m/path"], "write http://m"),
        (
            &["podman", "--registry", "https://ghcr.io"],
            "write its host",
        ),
        (&["dokcer"], "docker"),
        (&[], "KIND"),
    ] {
        let (code, message) = fails(arguments);
        assert_eq!(code, 2, "{message}");
        assert!(message.contains(reason), "{arguments:?}: {message}");
    }
}

#[test]
fn other_names_of_a_client_mean_the_same() {
    for (name, kind) in [
        ("skopeo", "podman"),
        ("buildah", "podman"),
        ("cri-o", "podman"),
        ("oras", "crane"),
        ("helm", "crane"),
        ("cosign", "crane"),
    ] {
        assert_eq!(prints(&[name]), prints(&[kind]));
    }
}
