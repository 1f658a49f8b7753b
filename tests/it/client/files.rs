//! `--write` and `--undo`: merged, kept, refused, taken back.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::Machine;

const DAEMON: &str = "/etc/docker/daemon.json";
const BACKUP: &str = "/etc/docker/daemon.json.forebay-backup";
const WRITE: [&str; 4] = ["docker", "--mirror", "http://mirror.lan:5000", "--write"];
const UNDO: [&str; 4] = ["docker", "--mirror", "http://mirror.lan:5000", "--undo"];

#[test]
fn a_daemon_json_is_merged_and_comes_back_byte_for_byte() {
    let machine = Machine::new();
    let before = "{\"debug\":true,\n\"registry-mirrors\" : [ \"https://other\" ]}";
    machine.put(DAEMON, before);
    fs::set_permissions(machine.path(DAEMON), fs::Permissions::from_mode(0o640)).unwrap();

    let said = machine.client(&WRITE);
    assert!(
        said.contains(BACKUP) && said.contains("systemctl reload docker"),
        "{said}"
    );
    let written = machine.read(DAEMON);
    let value: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "debug": true,
            "registry-mirrors": ["http://mirror.lan:5000", "https://other"],
            "insecure-registries": ["mirror.lan:5000"],
        })
    );
    assert_eq!(machine.read(BACKUP), before);
    for path in [DAEMON, BACKUP] {
        assert_eq!(
            fs::metadata(machine.path(path)).unwrap().mode() & 0o7777,
            0o640
        );
    }

    let inode = fs::metadata(machine.path(DAEMON)).unwrap().ino();
    let said = machine.client(&WRITE);
    assert!(
        said.contains("says so already") && !said.contains("reload"),
        "{said}"
    );
    assert_eq!(
        fs::metadata(machine.path(DAEMON)).unwrap().ino(),
        inode,
        "it is not touched"
    );

    machine.client(&UNDO);
    assert_eq!(machine.read(DAEMON), before);
    assert_eq!(machine.files().len(), 1, "nothing else is left");
    let said = machine.client(&UNDO);
    assert!(said.contains("nothing to take out"), "{said}");
    assert_eq!(machine.read(DAEMON), before);
}

#[test]
fn undo_after_the_users_own_edit_takes_out_ours_alone() {
    let machine = Machine::new();
    machine.put(DAEMON, "{\"debug\": true}");
    machine.client(&WRITE);
    let edited = machine.read(DAEMON).replace("true", "false");
    machine.put(DAEMON, &edited);
    let said = machine.client(&UNDO);
    assert!(said.contains("your own changes"), "{said}");
    assert_eq!(machine.read(DAEMON), "{\"debug\": false}");
    assert_eq!(
        machine.read(BACKUP),
        "{\"debug\": true}",
        "it may still be wanted"
    );

    machine.client(&WRITE);
    assert_eq!(
        machine.read(BACKUP),
        "{\"debug\": true}",
        "a backup is never written over"
    );
}

#[test]
fn a_file_that_was_not_there_stays_where_a_user_has_added_to_it() {
    let machine = Machine::new();
    machine.client(&["podman", "--write"]);
    let path = "/etc/containers/registries.conf.d/50-forebay.conf";
    let mine = "[[registry]]\nprefix = \"mine.lan\"\nlocation = \"mine.lan\"\n";
    machine.put(path, &(machine.read(path) + mine));
    machine.client(&["podman", "--mirror", "http://moved.lan:5000", "--write"]);
    let moved = machine.read(path);
    assert!(
        moved.ends_with(mine) && moved.contains("moved.lan:5000/docker.io"),
        "{moved}"
    );
    assert!(
        !moved.contains("127.0.0.1"),
        "the old address is gone: {moved}"
    );
    machine.client(&["podman", "--undo"]);
    assert_eq!(machine.read(path), mine);
}

#[test]
fn what_cannot_be_parsed_is_refused_and_untouched_and_so_is_all_else() {
    for (arguments, path, garbage) in [
        (&["docker"][..], DAEMON, "{ // a comment\n}"),
        (&["docker"], DAEMON, "{} trailing"),
        (&["docker"], DAEMON, "\u{feff}{}"),
        (
            &["containerd"],
            "/etc/containerd/config.toml",
            "version = \n",
        ),
        (
            &["containerd"],
            "/etc/containerd/certs.d/quay.io/hosts.toml",
            "not toml",
        ),
        (
            &["podman"],
            "/etc/containers/registries.conf.d/50-forebay.conf",
            "[[registry]]\n",
        ),
        (&["buildkit"], "/etc/buildkit/buildkitd.toml", "]"),
        (
            &["k3s"],
            "/etc/rancher/k3s/registries.yaml",
            "mirrors: {}\n",
        ),
    ] {
        let machine = Machine::new();
        machine.put(path, garbage);
        let message = machine.refused(&[arguments, &["--write"]].concat());
        assert!(message.contains(path), "{message}");
        assert_eq!(machine.files(), [(machine.path(path), garbage.to_owned())]);
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_and_untouched() {
    let machine = Machine::new();
    machine.put(DAEMON, "");
    fs::write(machine.path(DAEMON), b"{\"a\": \"\xff\"}").unwrap();
    assert!(machine.refused(&WRITE).contains("UTF-8"));
    assert_eq!(
        fs::read(machine.path(DAEMON)).unwrap(),
        b"{\"a\": \"\xff\"}"
    );
}

#[test]
fn links_are_followed_but_not_out_of_the_root() {
    let machine = Machine::new();
    machine.put("/opt/docker/real.json", "{\"debug\": true}");
    fs::create_dir_all(machine.path("/etc/docker")).unwrap();
    symlink("../../opt/docker/real.json", machine.path(DAEMON)).unwrap();
    machine.client(&WRITE);
    assert!(
        fs::symlink_metadata(machine.path(DAEMON))
            .unwrap()
            .is_symlink()
    );
    assert!(machine.read("/opt/docker/real.json").contains("mirror.lan"));
    assert!(machine.has("/opt/docker/real.json.forebay-backup"));
    machine.client(&UNDO);
    assert_eq!(machine.read("/opt/docker/real.json"), "{\"debug\": true}");

    let outside = Machine::new();
    outside.put("/daemon.json", "{}");
    let inside = Machine::new();
    fs::create_dir_all(inside.path("/etc/docker")).unwrap();
    symlink(outside.path("/daemon.json"), inside.path(DAEMON)).unwrap();
    assert!(inside.refused(&WRITE).contains("symbolic link out of"));
    assert_eq!(outside.read("/daemon.json"), "{}");

    let inside = Machine::new();
    fs::create_dir_all(inside.path("/etc")).unwrap();
    symlink(outside.0.path(), inside.path("/etc/docker")).unwrap();
    assert!(inside.refused(&WRITE).contains("symbolic link out of"));
    symlink("nowhere", inside.path("/etc/containers")).unwrap();
    assert!(inside.refused(&["podman", "--write"]).contains("not there"));
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let machine = Machine::new();
    // A file in the way of a directory stops root as well.
    machine.put("/etc/docker", "in the way");
    let message = machine.refused(&WRITE);
    assert!(message.contains("/etc/docker"), "{message}");
    assert_eq!(machine.read("/etc/docker"), "in the way");
    let machine = Machine::new();
    fs::create_dir_all(machine.path(DAEMON)).unwrap();
    assert!(machine.refused(&WRITE).contains("is not a file"));
}

#[test]
fn containerd_gets_its_hosts_where_its_configuration_says() {
    let machine = Machine::new();
    let config = "/etc/containerd/config.toml";
    let text = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n  config_path = '/opt/hosts'\n";
    machine.put(config, text);
    machine.client(&["containerd", "--registry", "docker.io", "--write"]);
    assert!(machine.has("/opt/hosts/docker.io/hosts.toml"));
    assert_eq!(machine.read(config), text);
    machine.client(&["containerd", "--undo"]);
    assert!(
        !machine.has("/opt/hosts/docker.io"),
        "the directory goes with its file"
    );
}

#[test]
fn undo_finds_the_hosts_files_of_registries_that_it_is_not_told_of() {
    let machine = Machine::new();
    machine.client(&[
        "containerd",
        "--registry",
        "registry.lan:5000",
        "--registry",
        "*",
        "--write",
    ]);
    assert!(machine.has("/etc/containerd/certs.d/_default/hosts.toml"));
    assert!(machine.has("/etc/containerd/certs.d/registry.lan:5000/hosts.toml"));
    machine.client(&["containerd", "--undo"]);
    assert_eq!(machine.files(), []);
}
