//! What is the user's own stays, whatever `--write` and `--undo` are told.

use std::fs;
use std::os::unix::fs::symlink;

use super::Machine;

const DAEMON: &str = "/etc/docker/daemon.json";
const WRITE: [&str; 4] = ["docker", "--mirror", "http://mirror.lan:5000", "--write"];
const UNDO: [&str; 4] = ["docker", "--mirror", "http://mirror.lan:5000", "--undo"];

/// What said part of ours was taken for a file of ours: no backup was made, and undo took the user's entry with ours.
#[test]
fn an_entry_that_was_there_by_hand_stays_after_undo() {
    let machine = Machine::new();
    let mine = "{\"insecure-registries\": [\"mirror.lan:5000\"], \"debug\": true}";
    machine.put(DAEMON, mine);
    machine.client(&WRITE);
    assert!(machine.read(DAEMON).contains("registry-mirrors"));
    machine.client(&UNDO);
    assert_eq!(machine.read(DAEMON), mine);

    machine.client(&WRITE);
    machine.put(DAEMON, &machine.read(DAEMON).replace("true", "false"));
    machine.client(&UNDO);
    assert_eq!(machine.read(DAEMON), mine.replace("true", "false"));
}

/// `--write` said that the file says so already, and `--undo` deleted it.
#[test]
fn a_file_that_somebody_wrote_by_hand_is_not_deleted_by_undo() {
    let machine = Machine::new();
    let mine = "{\"registry-mirrors\": [\"http://mirror.lan:5000\"], \"insecure-registries\": [\"mirror.lan:5000\"]}";
    machine.put(DAEMON, mine);
    assert!(machine.client(&WRITE).contains("says so already"));
    let said = machine.client(&UNDO);
    assert!(said.contains("take it out yourself"), "{said}");
    assert_eq!(machine.files(), [(machine.path(DAEMON), mine.to_owned())]);
}

/// The same certificate, put there by hand, went with its directory.
#[test]
fn a_certificate_that_somebody_put_there_is_not_deleted_by_undo() {
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let place = "/etc/docker/certs.d/mirror.lan:5000/ca.crt";
    let machine = Machine::new();
    machine.put("/ca.pem", pem);
    machine.put(place, pem);
    let ca = machine.path("/ca.pem");
    let before = machine.files();
    let asked = [
        "docker",
        "--mirror",
        "https://mirror.lan:5000",
        "--ca",
        ca.to_str().unwrap(),
    ];
    machine.client(&[&asked[..], &["--write"]].concat());
    machine.client(&[&asked[..], &["--undo"]].concat());
    assert_eq!(machine.files(), before);
}

#[test]
fn a_second_mirror_is_taken_out_without_the_first() {
    let second = |what| ["docker", "--mirror", "http://second.lan:5000", what];
    for existing in [None, Some("{\"debug\": true}")] {
        let machine = Machine::new();
        if let Some(text) = existing {
            machine.put(DAEMON, text);
        }
        let before = machine.files();
        machine.client(&WRITE);
        machine.client(&second("--write"));
        machine.client(&second("--undo"));
        let left = machine.read(DAEMON);
        assert!(
            left.contains("http://mirror.lan:5000") && !left.contains("second.lan"),
            "{left}"
        );
        machine.client(&second("--write"));
        machine.client(&UNDO);
        let left = machine.read(DAEMON);
        assert!(
            left.contains("http://second.lan:5000") && !left.contains("mirror.lan"),
            "{left}"
        );
        machine.client(&second("--undo"));
        assert_eq!(machine.files(), before);
    }
}

/// The backup was made once for ever: what a later write replaced was kept nowhere, and undo brought back the text of
/// months ago.
#[test]
fn each_write_into_a_file_without_ours_keeps_it_as_it_is_then() {
    let machine = Machine::new();
    let hosts = "/etc/containerd/certs.d/docker.io/hosts.toml";
    for (path, kind, first, second) in [
        (DAEMON, "docker", "{\"debug\": true}", "{\"debug\": false}"),
        (
            hosts,
            "nerdctl",
            "server = \"https://one\"\n",
            "server = \"https://two\"\n",
        ),
    ] {
        let write = [kind, "--registry", "docker.io", "--write"];
        let undo = [kind, "--registry", "docker.io", "--undo"];
        machine.put(path, first);
        machine.client(&write);
        let edited = machine.read(path) + "\n";
        machine.put(path, &edited);
        let said = machine.client(&undo);
        assert!(said.contains("your own changes"), "{said}");
        machine.put(path, second);

        let said = machine.client(&write);
        let backup = format!("{path}.forebay-backup");
        assert!(said.contains(&format!("{backup}.2")), "{said}");
        assert_eq!(machine.read(&backup), first);
        assert_eq!(machine.read(&format!("{backup}.2")), second);
        machine.client(&undo);
        assert_eq!(machine.read(path), second);
        assert_eq!(machine.read(&backup), first, "it may still be wanted");
        assert!(!machine.has(&format!("{backup}.2")));
    }
}

/// A backup of a file that was deleted long ago is none of the file that we made later.
#[test]
fn a_file_of_ours_is_deleted_by_undo_although_an_old_backup_is_there() {
    let machine = Machine::new();
    machine.put(&format!("{DAEMON}.forebay-backup"), "{\"debug\": true}");
    let before = machine.files();
    machine.client(&WRITE);
    machine.client(&UNDO);
    assert_eq!(machine.files(), before);
}

/// Both were said to be written, and the second had taken the place of the first.
#[test]
fn two_files_that_are_one_through_a_link_are_refused() {
    let machine = Machine::new();
    let hosts = machine.path("/etc/containerd/certs.d");
    fs::create_dir_all(hosts.join("_default")).unwrap();
    symlink("_default", hosts.join("docker.io")).unwrap();
    let both = ["nerdctl", "--registry", "docker.io", "--registry", "*"];
    let message = machine.refused(&[&both[..], &["--write"]].concat());
    assert!(message.contains("the same file as"), "{message}");
    assert_eq!(machine.files(), []);

    machine.client(&["nerdctl", "--registry", "*", "--write"]);
    machine.client(&["nerdctl", "--undo"]);
    assert_eq!(machine.files(), []);
}
