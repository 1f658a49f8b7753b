//! The other clients, and what each can't do.

use proptest::prelude::*;
use toml::Table;

use super::{MIRROR, edit, planned, request};
use crate::client::{Authority, Kind, Known, Request, Scope};

const ALL: [Kind; 11] = [
    Kind::Docker,
    Kind::DockerContainerd,
    Kind::Containerd,
    Kind::Podman,
    Kind::Buildkit,
    Kind::K3s,
    Kind::Rke2,
    Kind::Nerdctl,
    Kind::Kaniko,
    Kind::Dind,
    Kind::Crane,
];

fn with(scopes: &[&str], mirror: &str) -> Request {
    Request {
        mirror: mirror.parse().unwrap(),
        scopes: scopes
            .iter()
            .map(|text| crate::client::parse_scope(text).unwrap())
            .collect(),
        ..request()
    }
}

fn text(kind: Kind, request: &Request) -> String {
    let plan = planned(kind, request).unwrap();
    let files = plan.files.iter().map(|file| file.edit.fresh());
    files
        .chain(plan.lines.into_iter().map(|line| line + "\n"))
        .collect()
}

#[test]
fn tls_needs_no_word_about_plain_http() {
    for kind in ALL {
        let plain = text(kind, &request());
        let tls = text(kind, &with(&["docker.io"], "https://mirror.lan:5000"));
        for word in ["insecure", "http = true", "plain-http", "http://"] {
            assert!(!tls.contains(word), "{kind:?}: {tls}");
        }
        assert!(
            plain.contains("mirror.lan:5000") && tls.contains("mirror.lan:5000"),
            "{kind:?}"
        );
    }
}

/// What is said beside the files.
fn told_of_logins(kind: Kind, scheme: &str) -> String {
    let mirror = format!("{scheme}://mirror.lan:5000");
    let plan = planned(kind, &with(&["docker.io"], &mirror)).unwrap();
    plan.notes.join("\n")
}

#[test]
fn over_tls_each_client_is_told_where_a_login_goes() {
    for (kind, place) in [
        (Kind::Docker, "/etc/docker/certs.d/mirror.lan:5000"),
        (Kind::Docker, "docker login mirror.lan:5000"),
        (
            Kind::DockerContainerd,
            "[host.\"https://mirror.lan:5000\".header]",
        ),
        (
            Kind::Containerd,
            "[host.\"https://mirror.lan:5000\".header]",
        ),
        (Kind::Nerdctl, "client = [["),
        (Kind::Podman, "podman login mirror.lan:5000"),
        (Kind::Podman, "/etc/containers/certs.d/mirror.lan:5000"),
        (Kind::Buildkit, "docker login mirror.lan:5000"),
        (Kind::Buildkit, "[[registry.\"mirror.lan:5000\".keypair]]"),
        (Kind::K3s, "configs: \"mirror.lan:5000\":"),
        (Kind::Rke2, "cert_file: and key_file:"),
        (Kind::Kaniko, "/kaniko/.docker/config.json"),
        (
            Kind::Kaniko,
            "--registry-client-cert=mirror.lan:5000=CERTIFICATE,KEY",
        ),
        (
            Kind::Dind,
            "-v KEY:/etc/docker/certs.d/mirror.lan:5000/client.key:ro",
        ),
        (Kind::Crane, "crane auth login mirror.lan:5000"),
    ] {
        let told = told_of_logins(kind, "https");
        assert!(told.contains(place), "{told}");
    }
    for kind in ALL {
        let (secure, plain) = (told_of_logins(kind, "https"), told_of_logins(kind, "http"));
        assert!(secure.contains("wants a login"), "{kind:?}: {secure}");
        assert!(!plain.contains("wants a login"), "{kind:?}: {plain}");
    }
}

#[test]
fn each_client_is_told_of_the_mirrors_authority_in_its_own_way() {
    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let authority = Authority::new("/etc/ca.pem".as_ref(), PEM).unwrap();
    let request = Request {
        authority: Some(authority),
        ..with(&["docker.io"], "https://mirror.lan:5000")
    };
    for (kind, line) in [
        (Kind::Docker, PEM),
        (Kind::DockerContainerd, "\n  ca = \"/etc/ca.pem\"\n"),
        (Kind::Containerd, "\n  ca = \"/etc/ca.pem\"\n"),
        (Kind::Nerdctl, "\n  ca = \"/etc/ca.pem\"\n"),
        (Kind::Podman, PEM),
        (
            Kind::Buildkit,
            "[registry.\"mirror.lan:5000\"]\n  ca = [\"/etc/ca.pem\"]\n",
        ),
        (
            Kind::K3s,
            "configs:\n  \"mirror.lan:5000\":\n    tls:\n      ca_file: \"/etc/ca.pem\"\n",
        ),
        (
            Kind::Rke2,
            "configs:\n  \"mirror.lan:5000\":\n    tls:\n      ca_file: \"/etc/ca.pem\"\n",
        ),
        (
            Kind::Kaniko,
            "--registry-certificate=mirror.lan:5000=/etc/ca.pem\n",
        ),
        (Kind::Crane, "SSL_CERT_FILE=\"/etc/ca.pem\" crane pull "),
        (Kind::Crane, "oras pull --ca-file \"/etc/ca.pem\" "),
        (Kind::Crane, "helm pull --ca-file \"/etc/ca.pem\" oci://"),
        (
            Kind::Crane,
            "cosign tree --registry-cacert \"/etc/ca.pem\" ",
        ),
    ] {
        let text = text(kind, &request);
        assert!(text.contains(line), "{kind:?}: {text}");
    }
    for (kind, place) in [
        (Kind::Docker, "/etc/docker/certs.d/mirror.lan:5000/ca.crt"),
        (
            Kind::Podman,
            "/etc/containers/certs.d/mirror.lan:5000/ca.crt",
        ),
    ] {
        let files = planned(kind, &request).unwrap().files;
        assert!(
            files.iter().any(|file| file.path.as_os_str() == place),
            "{kind:?}"
        );
    }
    let notes = planned(Kind::Dind, &request).unwrap().notes.join("\n");
    let mount = "-v /etc/ca.pem:/etc/docker/certs.d/mirror.lan:5000/ca.crt:ro";
    assert!(notes.contains(mount), "{notes}");
    let plain = Request {
        mirror: MIRROR.parse().unwrap(),
        ..request
    };
    for kind in ALL {
        let message = planned(kind, &plain).unwrap_err().to_string();
        assert!(message.contains("give its https:// address"), "{message}");
        let unsure = planned(kind, &with(&["docker.io"], "https://mirror.lan:5000"));
        let notes = unsure.unwrap().notes.join("\n");
        assert!(notes.contains("--ca FILE"), "{kind:?}: {notes}");
    }
}

#[test]
fn an_authority_is_a_certificate_at_a_path_that_needs_no_escapes() {
    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (path, pem, advice) in [
        ("ca.pem", PEM, "absolute"),
        ("/a\"b/ca.pem", PEM, "without quotes"),
        ("/a\nb/ca.pem", PEM, "without quotes"),
        ("/ca.pem", "0\u{1}", "PEM form"),
        (
            "/ca.pem",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "private key",
        ),
    ] {
        let message = Authority::new(path.as_ref(), pem).unwrap_err();
        assert!(message.contains(advice), "{path:?}: {message}");
    }
}

#[test]
fn dockerd_is_not_told_what_it_knows_of_its_own_machine() {
    let loopback = text(Kind::Docker, &with(&["docker.io"], "http://127.0.0.1:5000"));
    assert!(!loopback.contains("insecure"), "{loopback}");
    assert!(
        text(Kind::Docker, &request()).contains("\"insecure-registries\": [\"mirror.lan:5000\"]")
    );
}

#[test]
fn what_a_client_cannot_do_is_said_with_what_to_do_instead() {
    let strict = Request {
        fallback: false,
        ..request()
    };
    let cases = [
        (Kind::Docker, strict.clone(), "block registry-1.docker.io"),
        (Kind::Dind, strict.clone(), "block registry-1.docker.io"),
        (Kind::Buildkit, strict, "block the registries"),
        (
            Kind::Docker,
            with(&["ghcr.io"], MIRROR),
            "mirror.lan:5000/ghcr.io/IMAGE",
        ),
        (Kind::Podman, with(&["*"], MIRROR), "name each"),
        (Kind::Kaniko, with(&["ghcr.io"], MIRROR), "alias"),
    ];
    for (kind, request, advice) in cases {
        let message = planned(kind, &request).unwrap_err().to_string();
        assert!(message.contains(advice), "{message}");
    }
}

#[test]
fn without_fallback_no_client_is_told_of_the_registry() {
    let request = Request {
        fallback: false,
        ..with(&["ghcr.io"], MIRROR)
    };
    for kind in [Kind::Containerd, Kind::Nerdctl] {
        assert!(!text(kind, &request).contains("https://"), "{kind:?}");
    }
    let podman = text(Kind::Podman, &request);
    assert!(
        podman.contains("location = \"mirror.lan:5000/ghcr.io\"") && !podman.contains("mirror]]"),
        "{podman}"
    );
    for kind in [Kind::K3s, Kind::Rke2] {
        let text = text(kind, &request);
        assert!(
            text.contains("disable-default-registry-endpoint: true"),
            "{text}"
        );
    }
}

#[test]
fn kaniko_gets_names_without_dots() {
    let request = Request {
        aliases: vec![
            ("docker.io".parse().unwrap(), "dockerhub".into()),
            ("quay.io".parse().unwrap(), "quay".into()),
        ],
        fallback: false,
        ..with(&["docker.io", "quay.io"], MIRROR)
    };
    assert_eq!(
        planned(Kind::Kaniko, &request).unwrap().lines,
        [
            "--registry-mirror=mirror.lan:5000/_/dockerhub",
            "--registry-map=quay.io=mirror.lan:5000/_/quay",
            "--insecure-registry=mirror.lan:5000",
            "--skip-default-registry-fallback",
        ]
    );
}

#[test]
fn toml_is_toml_for_any_registry() {
    let request = with(
        &["docker.io", "localhost:5001", "[::1]:5000"],
        "http://mirror",
    );
    let podman: Table = text(Kind::Podman, &request).parse().unwrap();
    let registries = podman["registry"].as_array().unwrap();
    assert_eq!(registries.len(), 3);
    assert_eq!(
        registries[1]["mirror"][0]["location"].as_str(),
        Some("mirror:80/localhost:5001")
    );
    let buildkit: Table = text(Kind::Buildkit, &request).parse().unwrap();
    assert_eq!(
        buildkit["registry"]["mirror:80"]["http"].as_bool(),
        Some(true)
    );
    assert_eq!(
        buildkit["registry"]["[::1]:5000"]["mirrors"][0].as_str(),
        Some("mirror:80/[::1]:5000")
    );
}

#[test]
fn a_file_of_somebody_else_in_the_place_of_ours_is_refused_with_what_to_add() {
    for (kind, name) in [
        (Kind::Podman, "50-forebay.conf"),
        (Kind::K3s, "registries.yaml"),
    ] {
        let edit = edit(kind, &request(), name);
        let message = edit.merge("mirrors:\n").unwrap_err().to_string();
        assert!(message.contains("mirror.lan:5000"), "{message}");
        let kept = format!("# mine\n{}# mine too\n", edit.fresh());
        assert_eq!(
            edit.merge(&kept).unwrap(),
            kept,
            "what stands around ours stays"
        );
        assert_eq!(
            edit.remove(&kept, Known::default()).unwrap(),
            "# mine\n# mine too\n"
        );
    }
}

#[test]
fn buildkit_tables_go_beside_others_but_not_into_them() {
    let edit = edit(Kind::Buildkit, &request(), "buildkitd.toml");
    let existing = "debug = true\n[registry.\"ghcr.io\"]\n  mirrors = [\"a\"]";
    let merged = edit.merge(existing).unwrap();
    assert_eq!(merged, format!("{existing}\n{}", edit.fresh()));
    assert_eq!(edit.merge(&merged).unwrap(), merged);
    let message = edit
        .merge("[registry.\"docker.io\"]\n  mirrors = [\"a\"]\n")
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("docker.io\"] of its own")
            && message.contains("mirror.lan:5000/docker.io"),
        "{message}"
    );
    assert!(
        edit.merge("registry = {}\n")
            .unwrap_err()
            .to_string()
            .contains("add this")
    );
}

proptest! {
    #[test]
    fn every_registry_is_named_once_in_each_file(names in prop::collection::btree_set("[a-z]{1,8}\\.[a-z]{2,4}", 1..6)) {
        let scopes: Vec<_> = names.iter().map(|name| Scope::One(name.parse().unwrap())).collect();
        let request = Request { scopes, ..request() };
        for kind in [Kind::Podman, Kind::Buildkit] {
            let table: Table = text(kind, &request).parse().unwrap();
            let count = match &table["registry"] {
                toml::Value::Array(list) => list.len(),
                toml::Value::Table(table) => table.len() - 1,
                _ => 0,
            };
            prop_assert_eq!(count, names.len());
        }
    }
}
