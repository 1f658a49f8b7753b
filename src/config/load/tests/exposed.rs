//! What is said of secrets that everybody can read.

use std::fs::Permissions;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

const TEXT: &str = "[upstreams.'a.io']\nusername = 'me'\npassword_file = 'secret'\n";

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The warnings about a configuration in a directory of `mode`, whose file and secret have modes of their own.
fn warnings(text: &str, [directory, file, secret]: [u32; 3]) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    chmod(root.path(), 0o755);
    let dir = root.path().join("d");
    fs::create_dir(&dir).unwrap();
    let write = |name: &str, text: &str, mode| {
        fs::write(dir.join(name), text).unwrap();
        chmod(&dir.join(name), mode);
    };
    write("f.toml", text, file);
    write("there", "-----BEGIN PRIVATE KEY-----\n", secret);
    symlink("there", dir.join("secret")).unwrap();
    chmod(&dir, directory);
    let loaded = Config::load(Sources {
        file: Some(dir.join("f.toml")),
        ..sources()
    });
    // For whoever takes it away again.
    chmod(&dir, 0o700);
    let root = format!("{}/", fs::canonicalize(&dir).unwrap().display());
    let warnings = loaded.unwrap().warnings().into_iter();
    warnings.map(|told| told.replace(&root, "")).collect()
}

#[test]
fn a_secret_that_everybody_can_read_is_told() {
    let told = "every user of this machine can read there, which has a secret in it: take that from them, as \
                `chmod o= there` does";
    assert_eq!(warnings(TEXT, [0o755, 0o644, 0o644]), [told]);
    let told = told.replace("can read", "can write to");
    assert_eq!(warnings(TEXT, [0o755, 0o644, 0o646]), [told]);
}

#[test]
fn what_others_can_not_get_at_is_nothing_to_tell() {
    for modes in [
        [0o755, 0o644, 0o640],
        [0o755, 0o644, 0o600],
        [0o750, 0o644, 0o644],
    ] {
        assert_eq!(warnings(TEXT, modes), [""; 0], "{modes:?}");
    }
    // Nobody's secret.
    assert_eq!(
        warnings("[cache]\nmax_size = '1GiB'\n", [0o755, 0o644, 0o644]),
        [""; 0]
    );
}

#[test]
fn a_configuration_with_a_password_in_it_is_a_secret_too() {
    let text = "[upstreams.'a.io']\nusername = 'me'\npassword = 'x'\n";
    assert_eq!(warnings(text, [0o755, 0o600, 0o600]), [""; 0]);
    let told = warnings(text, [0o755, 0o604, 0o600]);
    assert!(
        told.len() == 1 && told[0].contains("can read f.toml"),
        "{told:?}"
    );
}
