//! What clients read beside our files: other hosts files, certificates, other drop-ins.

use std::fs;

use super::Machine;

const CONFIG: &str = "/etc/containerd/config.toml";
const HOSTS: &str = "/etc/containerd/certs.d";
const ONLY: [&str; 4] = [
    "--mirror",
    "http://mirror.lan:5000",
    "--no-fallback",
    "--write",
];

/// Undoing one registry took `config_path` with it: the other's file was no longer read, and every pull went around the
/// mirror without a word.
#[test]
fn config_path_stays_as_long_as_there_is_something_to_read() {
    let machine = Machine::new();
    let asked = ["containerd", "--registry", "quay.io"];
    let both = [&asked[..], &["--registry", "docker.io", "--write"]].concat();
    machine.client(&both);
    let said = machine.client(&[&asked[..], &["--undo"]].concat());
    assert!(
        said.contains("docker.io/hosts.toml would not be read"),
        "{said}"
    );
    assert!(machine.read(CONFIG).contains("config_path"));
    assert!(!machine.has(&format!("{HOSTS}/quay.io")));
    machine.client(&["containerd", "--undo"]);
    assert_eq!(machine.files(), []);

    for mine in ["own.lan/hosts.toml", "own.lan/ca.crt"] {
        machine.client(&both);
        let mine = format!("{HOSTS}/{mine}");
        machine.put(&mine, "# mine\n");
        machine.client(&["containerd", "--undo"]);
        assert!(machine.read(CONFIG).contains("config_path"), "{mine}");
        fs::remove_dir_all(machine.path(HOSTS)).unwrap();
        machine.client(&["containerd", "--undo"]);
        assert_eq!(machine.files(), []);
    }
}

/// containerd looks for certificates only where there is no hosts.toml: with ours, the registry's own were ignored.
#[test]
fn certificates_beside_our_hosts_file_are_named_in_it() {
    let write = ["containerd", "--registry", "registry.lan:5000", "--write"];
    for directory in [
        "/etc/containerd/certs.d/registry.lan:5000",
        "/etc/containerd/certs.d/registry.lan_5000_",
        "/etc/containerd/certs.d/_default",
        "/etc/docker/certs.d/registry.lan:5000",
    ] {
        let machine = Machine::new();
        for name in ["ca.crt", "me.cert", "me.key", "both.cert"] {
            machine.put(&format!("{directory}/{name}"), name);
        }
        let before = machine.files();
        machine.client(&write);
        let own = if directory.ends_with("5000_") {
            directory
        } else {
            "/etc/containerd/certs.d/registry.lan:5000"
        };
        let hosts = machine.read(&format!("{own}/hosts.toml"));
        let table: toml::Table = hosts.parse().unwrap();
        let expected: toml::Table = format!(
            "ca = [\"{directory}/ca.crt\"]\nclient = [\"{directory}/both.cert\", [\"{directory}/me.cert\", \
             \"{directory}/me.key\"]]\n"
        )
        .parse()
        .unwrap();
        assert_eq!(table.get("ca"), expected.get("ca"), "{hosts}");
        assert_eq!(table.get("client"), expected.get("client"), "{hosts}");
        assert_eq!(table["server"].as_str(), Some("https://registry.lan:5000"));

        let again = machine.client(&write);
        assert!(
            !again.contains("written") && !again.contains("changed"),
            "{again}"
        );
        machine.client(&["containerd", "--registry", "registry.lan:5000", "--undo"]);
        if directory.starts_with(HOSTS) {
            assert!(machine.has(CONFIG), "without it they would not be read");
            fs::remove_file(machine.path(CONFIG)).unwrap();
        }
        assert_eq!(machine.files(), before, "{directory}");
    }
}

/// containerd takes `host_port_` before `host:port`: a file in the other one was never read.
#[test]
fn the_directory_that_containerd_reads_is_the_one_that_is_written() {
    let machine = Machine::new();
    let theirs = format!("{HOSTS}/registry.lan_5000_/hosts.toml");
    let mine = "server = \"https://registry.lan:5000\"\n";
    machine.put(&theirs, mine);
    machine.client(&["nerdctl", "--registry", "registry.lan:5000", "--write"]);
    assert!(
        machine
            .read(&theirs)
            .contains("[host.\"http://127.0.0.1:5000\"]")
    );
    assert!(!machine.has(&format!("{HOSTS}/registry.lan:5000")));
    machine.client(&["nerdctl", "--undo"]);
    assert_eq!(machine.files(), [(machine.path(&theirs), mine.to_owned())]);
}

/// A file that had our host first and no `server` was said to say so already; containerd went to the registry after it.
#[test]
fn no_fallback_is_not_said_to_be_done_where_containerd_falls_back() {
    let machine = Machine::new();
    let path = format!("{HOSTS}/docker.io/hosts.toml");
    let host = "[host.\"http://mirror.lan:5000\"]\n";
    let asked = [&["nerdctl", "--registry", "docker.io"][..], &ONLY].concat();
    for server in ["", "server = \"https://registry-1.docker.io\"\n"] {
        machine.put(&path, &format!("{server}{host}"));
        let before = machine.files();
        let message = machine.refused(&asked);
        assert!(
            message.contains("server = \"http://mirror.lan:5000\""),
            "{message}"
        );
        assert_eq!(machine.files(), before);
    }
    machine.put(
        &path,
        &format!("server = \"http://mirror.lan:5000\"\n{host}"),
    );
    assert!(machine.client(&asked).contains("says so already"));
}

/// Without `--no-fallback` its file was not looked at: fallback stayed forbidden after `--write` and after `--undo`.
#[test]
fn what_no_fallback_wrote_for_k3s_goes_with_a_plain_write_and_a_plain_undo() {
    let drop_in = "/etc/rancher/k3s/config.yaml.d/50-forebay.yaml";
    let plain = ["k3s", "--mirror", "http://mirror.lan:5000"];
    for then in ["--write", "--undo"] {
        let machine = Machine::new();
        machine.client(&[&["k3s"][..], &ONLY].concat());
        assert!(machine.has(drop_in));
        let said = machine.client(&[&plain[..], &[then]].concat());
        assert!(said.contains("50-forebay.yaml: removed"), "{said}");
        assert!(!machine.has(drop_in));
        assert_eq!(
            machine.has("/etc/rancher/k3s/registries.yaml"),
            then == "--write"
        );
    }
    let machine = Machine::new();
    let said = machine.client(&[&plain[..], &["--write"]].concat());
    assert!(!said.contains("50-forebay.yaml"), "{said}");
}

/// podman reads one of two tables with the same prefix: ours took away a user's `blocked = true`.
#[test]
fn a_table_of_the_same_registry_elsewhere_is_refused_with_the_merged_one() {
    let write = [
        "podman",
        "--mirror",
        "http://mirror.lan:5000",
        "--registry",
        "docker.io",
        "--registry",
        "quay.io",
        "--write",
    ];
    let drop_in = "/etc/containers/registries.conf.d/50-forebay.conf";
    for path in [
        "/etc/containers/registries.conf",
        "/etc/containers/registries.conf.d/00-own.conf",
        "/etc/containers/registries.conf.d/99-own.conf",
    ] {
        let machine = Machine::new();
        machine.put(
            path,
            "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n[[registry.mirror]]\nlocation = \"own.lan\"\n",
        );
        let before = machine.files();
        let message = machine.refused(&write);
        assert!(message.contains(path), "{message}");
        assert_eq!(machine.files(), before);
        let (_, merged) = message.split_once("\n\n").unwrap();
        let expected = "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n[[registry.mirror]]\nlocation = \
                        \"mirror.lan:5000/docker.io\"\ninsecure = true\n[[registry.mirror]]\nlocation = \"own.lan\"\n";
        let parse = |text: &str| text.parse::<toml::Table>().unwrap();
        assert_eq!(parse(merged), parse(expected), "{merged}");

        machine.put(path, merged);
        let before = machine.files();
        machine.client(&write);
        let ours = machine.read(drop_in);
        assert!(
            ours.contains("quay.io") && !ours.contains("docker.io"),
            "{ours}"
        );
        machine.client(&["podman", "--undo"]);
        assert_eq!(machine.files(), before);
    }
}
