//! A mirror with a certificate authority of its own, and a machine that does not let itself be written to.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use super::{Machine, fails, forebay, text};
use crate::harness::{PROGRAM, unset};

const MIRROR: &str = "https://mirror.lan:5000";
const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const CONFIG: &str = "/etc/containerd/config.toml";

#[test]
fn the_mirrors_authority_is_printed_written_and_taken_back_for_each_client() {
    for (kind, place) in [
        ("docker", "/etc/docker/certs.d/mirror.lan:5000/ca.crt"),
        (
            "docker-containerd",
            "/etc/docker/certs.d/docker.io/hosts.toml",
        ),
        ("containerd", "/etc/containerd/certs.d/docker.io/hosts.toml"),
        ("nerdctl", "/etc/containerd/certs.d/docker.io/hosts.toml"),
        ("podman", "/etc/containers/certs.d/mirror.lan:5000/ca.crt"),
        ("buildkit", "/etc/buildkit/buildkitd.toml"),
        ("k3s", "/etc/rancher/k3s/registries.yaml"),
        ("rke2", "/etc/rancher/rke2/registries.yaml"),
    ] {
        let machine = Machine::new();
        machine.put("/etc/ssl/mirror.pem", PEM);
        let ca = machine.path("/etc/ssl/mirror.pem");
        let asked = [
            kind,
            "--mirror",
            MIRROR,
            "--registry",
            "docker.io",
            "--ca",
            ca.to_str().unwrap(),
        ];
        let printed = machine.client(&asked);
        machine.client(&[&asked[..], &["--write"]].concat());
        for (path, written) in machine.files() {
            let is_note = path.to_str().unwrap().ends_with(".forebay-added");
            assert!(
                path == ca || is_note || printed.contains(&written),
                "{kind}: {path:?}"
            );
        }
        // By its path on the client's machine, or as it is.
        let written = machine.read(place);
        assert!(
            written == PEM || written.contains("\"/etc/ssl/mirror.pem\""),
            "{kind}: {written}"
        );
        let again = machine.client(&[&asked[..], &["--write"]].concat());
        assert!(!again.contains("written"), "{kind}: {again}");
        machine.client(&[&asked[..], &["--undo"]].concat());
        assert_eq!(machine.files(), [(ca, PEM.to_owned())], "{kind}");
        assert!(
            !machine
                .path(place)
                .parent()
                .unwrap()
                .join("ca.crt")
                .exists()
        );
    }
}

#[test]
fn a_certificate_that_is_there_already_is_not_ours_to_replace() {
    let machine = Machine::new();
    machine.put("/ca.pem", PEM);
    let place = "/etc/docker/certs.d/mirror.lan:5000/ca.crt";
    machine.put(place, "theirs");
    let before = machine.files();
    let ca = machine.path("/ca.pem");
    let asked = [
        "docker",
        "--mirror",
        MIRROR,
        "--ca",
        ca.to_str().unwrap(),
        "--write",
    ];
    let message = machine.refused(&asked);
    assert!(
        message.contains("ca.crt")
            && message.contains("add this to it yourself")
            && message.contains(PEM.trim()),
        "{message}"
    );
    assert_eq!(machine.files(), before, "daemon.json is not written either");
}

#[test]
fn an_authority_that_no_client_could_use_is_refused() {
    let machine = Machine::new();
    machine.put(
        "/key.pem",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    );
    let key = machine.path("/key.pem");
    for (ca, mirror, advice) in [
        ("/nowhere/ca.pem", MIRROR, "No such file"),
        (key.to_str().unwrap(), MIRROR, "private key"),
        ("/dev/null", MIRROR, "PEM form"),
    ] {
        let (code, message) = fails(&["podman", "--mirror", mirror, "--ca", ca]);
        assert!(code == 2 && message.contains(advice), "{code} {message}");
        assert!(!message.contains("BEGIN PRIVATE"), "{message}");
    }
}

/// Runs it as somebody who is not root, from a place that anyone can run it from.
fn as_nobody(machine: &Machine, arguments: &[&str]) -> (i32, String) {
    let copy = machine.path("/forebay");
    fs::copy(PROGRAM, &copy).unwrap();
    let mut command = unset(&copy);
    command.arg("client").args(machine.with(arguments));
    command.env_remove("HOME");
    if is_root(machine) {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    fs::remove_file(copy).unwrap();
    assert!(!output.status.success(), "{}", text(&output.stdout));
    (output.status.code().unwrap(), text(&output.stderr))
}

/// Modes hold back everyone else.
fn is_root(machine: &Machine) -> bool {
    let probe = machine.path("/probe");
    fs::create_dir(&probe).unwrap();
    fs::set_permissions(&probe, Permissions::from_mode(0o555)).unwrap();
    let wrote = fs::write(probe.join("x"), "").is_ok();
    fs::remove_dir_all(&probe).unwrap();
    wrote
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// hosts.toml was written, config.toml could not be: containerd was left with half of it.
#[test]
fn what_may_not_be_written_is_said_with_what_to_do_and_nothing_is_half_written() {
    let machine = Machine::new();
    set_mode(&machine.path("/"), 0o755);
    machine.put(CONFIG, "version = 2\n");
    let hosts = machine.path("/etc/containerd/certs.d");
    fs::create_dir_all(hosts.join("ghcr.io")).unwrap();
    let mine = "server = \"https://ghcr.io\"\n";
    fs::write(hosts.join("ghcr.io/hosts.toml"), mine).unwrap();
    for directory in ["", "ghcr.io"] {
        set_mode(&hosts.join(directory), 0o777);
    }
    if is_root(&machine) {
        // A file is replaced with its owner, which only root may give away.
        chown(hosts.join("ghcr.io/hosts.toml"), Some(65534), Some(65534)).unwrap();
    }
    set_mode(&machine.path("/etc/containerd"), 0o555);
    let before = machine.files();
    let asked = [
        "containerd",
        "--registry",
        "docker.io",
        "--registry",
        "ghcr.io",
        "--write",
    ];
    let (code, message) = as_nobody(&machine, &asked);
    assert_eq!(code, 1, "{message}");
    assert!(
        message.contains("config.toml") && message.contains("run it as root"),
        "{message}"
    );
    assert_eq!(machine.files(), before);
    assert!(!hosts.join("docker.io").exists(), "not even a directory");
    set_mode(&machine.path("/etc/containerd"), 0o755);
    assert!(forebay(&machine.with(&asked)).status.success());
}
