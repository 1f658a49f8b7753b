//! Files that a configuration names, or is.

use std::io::Write as _;
use std::sync::mpsc;
use std::thread;

use super::*;

/// The directory of the file that says it, and what is said of `client_cert` and `client_key` there.
fn told_of_client(lines: &str, key: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("cert.pem", "-----BEGIN CERTIFICATE-----\n");
    write("key.pem", key);
    write("f.toml", lines);
    let loaded = Config::load(Sources {
        file: Some(dir.path().join("f.toml")),
        ..sources()
    });
    let told = loaded.map_or_else(|errors| errors.to_string(), |_| String::new());
    told.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn a_client_certificate_has_a_key_that_can_be_read_and_somebody_to_see_it() {
    const PLAIN: &str = "-----BEGIN EC PRIVATE KEY-----\n";
    const BOTH: &str = "client_cert = 'cert.pem'\nclient_key = 'key.pem'\n";
    let own = |lines: &str| format!("[upstreams.'a.io']\n{lines}");
    assert_eq!(told_of_client(&own(BOTH), PLAIN), "");
    let encrypted = "the key in key.pem is encrypted, and nobody is there to type its passphrase";
    for (lines, key, told) in [
        (
            own("client_cert = 'cert.pem'\n"),
            PLAIN,
            "f.toml:2: upstreams.\"a.io\".client_cert: there is no key for it",
        ),
        (
            own("client_key = 'key.pem'\n"),
            PLAIN,
            "f.toml:2: upstreams.\"a.io\".client_key: there is no certificate",
        ),
        (
            own(BOTH),
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
            encrypted,
        ),
        (
            own(BOTH),
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
            encrypted,
        ),
        (
            own(BOTH),
            "-----BEGIN CERTIFICATE-----\n",
            "client_key: key.pem holds no private key",
        ),
        (
            own(&BOTH.replace("cert.pem", "key.pem")),
            PLAIN,
            "client_cert: key.pem holds no certificate",
        ),
        (
            own(&BOTH.replace("key.pem", "none.pem")),
            PLAIN,
            "client_key: none.pem cannot be read",
        ),
        (
            own(&format!("{BOTH}endpoints = ['http://a.io']\n")),
            PLAIN,
            "nobody would see it",
        ),
        (
            own(&format!("{BOTH}http_proxy = 'https://p.io'\n")),
            PLAIN,
            "would be shown it too",
        ),
        (
            format!("[upstreams.'*.a.io']\n{BOTH}"),
            PLAIN,
            "write a table for the one that it is for",
        ),
    ] {
        let said = told_of_client(&lines, key);
        assert!(
            said.contains(told),
            "{lines}\n  told: {said}\n  want: {told}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_ca_file_holds_a_certificate() {
    let told = errors(load_text("[upstreams.'a.io']\nca_file = 'f.toml'"));
    assert!(
        told[0].ends_with("f.toml holds no certificate: write the path of a PEM file"),
        "{told:?}"
    );
}

#[test]
fn a_file_that_cannot_be_read_or_parsed_is_one_error() {
    let told = Config::load(Sources {
        file: Some("/nonexistent/f.toml".into()),
        ..sources()
    })
    .unwrap_err();
    assert_eq!(
        told.to_string(),
        "/nonexistent/f.toml: cannot be read: No such file or directory (os error 2)"
    );
    assert_eq!(errors(load_text("[cache]\ndir = /x\n")).len(), 1);
}

/// It was read to its end before anyone looked at its length, and a device has none.
#[test]
fn no_more_is_read_of_a_file_than_it_may_hold() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let (user, fifo) = (rustix::fs::Mode::RWXU, rustix::fs::FileType::Fifo);
    rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, user, 0).unwrap();
    let (done, until_done) = mpsc::channel::<()>();
    let writer = thread::spawn({
        let path = path.clone();
        move || {
            let mut pipe = fs::OpenOptions::new().write(true).open(path).unwrap();
            // The reader may go away before it has all of it.
            let _ = pipe.write_all(&vec![b'#'; (1 << 20) + 1]);
            // There is no end before the test's own.
            let _ = until_done.recv();
        }
    });
    let told = Config::load(Sources {
        file: Some(path),
        ..sources()
    });
    let told = told.unwrap_err().to_string();
    assert!(told.ends_with("pipe: is larger than 1MiB"), "{told}");
    drop(done);
    writer.join().unwrap();
}
