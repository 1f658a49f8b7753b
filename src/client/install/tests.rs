//! Somebody else writes the same files at the same time.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::{Root, apply};
use crate::client::tests::{planned, request};
use crate::client::{File, Kind};

const DAEMON: &str = "etc/docker/daemon.json";

fn machine(text: &str) -> (TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("etc/docker")).unwrap();
    fs::write(directory.path().join(DAEMON), text).unwrap();
    let root = Root::new(Some(directory.path().to_owned()));
    (directory, root)
}

fn files(kind: Kind) -> Vec<File> {
    planned(kind, &request()).unwrap().files
}

/// The text was read, and what was made of it put in place without another look: an edit that was saved in between was
/// gone.
#[test]
fn what_somebody_saves_between_reading_and_writing_is_not_written_over() {
    let (directory, root) = machine("{}");
    let daemon = directory.path().join(DAEMON);
    let files = files(Kind::Docker);
    for saved in [Some("{\"debug\": true}"), None] {
        fs::write(&daemon, "{}").unwrap();
        let changes = files.iter().map(|file| root.merged(file).unwrap());
        let changes = changes.collect();
        match saved {
            Some(text) => fs::write(&daemon, text).unwrap(),
            None => fs::remove_file(&daemon).unwrap(),
        }
        let message = apply(changes).unwrap_err().to_string();
        assert!(message.contains("try again"), "{message}");
        assert_eq!(fs::read_to_string(&daemon).ok().as_deref(), saved);
        let left = fs::read_dir(daemon.parent().unwrap()).unwrap().count();
        assert_eq!(left, usize::from(saved.is_some()), "no backup, no note");
    }
    let changes = files.iter().map(|file| root.merged(file).unwrap());
    let changes = changes.collect();
    fs::write(&daemon, "{\"came\": true}").unwrap();
    assert!(apply(changes).is_err());
    assert_eq!(fs::read_to_string(&daemon).unwrap(), "{\"came\": true}");
}

#[test]
fn undo_does_not_delete_what_somebody_saves_meanwhile() {
    let (directory, root) = machine("{}");
    let daemon = directory.path().join(DAEMON);
    fs::remove_file(&daemon).unwrap();
    let files = files(Kind::Docker);
    root.write(&files).unwrap();
    let changes = files.iter().map(|file| root.removed(file).unwrap());
    let changes = changes.collect();
    fs::write(&daemon, "{\"debug\": true}").unwrap();
    assert!(apply(changes).is_err());
    assert_eq!(fs::read_to_string(&daemon).unwrap(), "{\"debug\": true}");
}

/// A later file's failure put all files back as they were read, over what somebody had saved since; and a file that had
/// been deleted came back readable by all.
#[test]
fn only_what_this_run_wrote_is_put_back_and_with_its_mode() {
    let (directory, root) = machine("{}");
    let daemon = directory.path().join(DAEMON);
    fs::remove_file(&daemon).unwrap();
    let docker = files(Kind::Docker);
    root.write(&docker).unwrap();
    let written = fs::read_to_string(&daemon).unwrap();
    fs::set_permissions(&daemon, Permissions::from_mode(0o600)).unwrap();

    let podman = files(Kind::Podman);
    let mut changes = vec![root.removed(&docker[0]).unwrap()];
    changes.push(root.merged(&podman[0]).unwrap());
    // A file in the way of a directory stops root as well.
    fs::write(directory.path().join("etc/containers"), "in the way").unwrap();
    assert!(apply(changes).is_err());
    assert_eq!(fs::read_to_string(&daemon).unwrap(), written);
    let mode = fs::metadata(&daemon).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    root.undo(&docker).unwrap();
    assert!(!daemon.exists(), "its note was put back too");
}
