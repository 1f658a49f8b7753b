//! `hosts.toml` and `config.toml`.

use proptest::prelude::*;
use toml::Table;

use super::{edit, request};
use crate::client::containerd::hosts_roots;
use crate::client::{Edit, Existing, Kind, Known, Request, Scope, plan};

const OURS: &str = "# >>> forebay client (taken out by --undo)\nserver = \"https://registry-1.docker.io\"\n\
                    [host.\"http://mirror.lan:5000\"]\n  capabilities = [\"pull\", \"resolve\"]\n# <<< forebay client\n";
const BESIDE: &str = "# >>> forebay client (taken out by --undo)\n\
                      [host.\"http://mirror.lan:5000\"]\n  capabilities = [\"pull\", \"resolve\"]\n# <<< forebay client\n";

fn hosts() -> Box<dyn Edit> {
    edit(Kind::Containerd, &request(), "hosts.toml")
}

fn config() -> Box<dyn Edit> {
    edit(Kind::Containerd, &request(), "config.toml")
}

fn only() -> Request {
    Request {
        fallback: false,
        ..request()
    }
}

#[test]
fn our_host_goes_before_others_and_keeps_their_server() {
    for (existing, merged) in [
        (String::new(), OURS.to_owned()),
        (
            "# only a comment\n".into(),
            format!("# only a comment\n{OURS}"),
        ),
        (
            "server = \"https://s\"\n\n# theirs\n[host.\"https://a\"]\n  skip_verify = true\n"
                .into(),
            format!(
                "server = \"https://s\"\n\n{BESIDE}# theirs\n[host.\"https://a\"]\n  skip_verify = true\n"
            ),
        ),
        (
            "[host.\"https://a\"]".into(),
            format!("{OURS}[host.\"https://a\"]"),
        ),
        (
            "server = \"https://s\"".into(),
            format!("server = \"https://s\"\n{BESIDE}"),
        ),
        (
            "x = [\n[\"a\"],\n]\n[host.\"https://a\"]\n".into(),
            format!("x = [\n[\"a\"],\n]\n{OURS}[host.\"https://a\"]\n"),
        ),
    ] {
        assert_eq!(hosts().merge(&existing).unwrap(), merged);
        assert_eq!(hosts().merge(&merged).unwrap(), merged, "twice is once");
    }
}

#[test]
fn a_block_of_another_mirror_is_replaced_where_it_stands() {
    let old = OURS.replace("mirror.lan", "old.lan");
    assert_eq!(hosts().merge(&old).unwrap(), OURS);
    let later = format!("{old}[host.\"https://a\"]\n");
    assert_eq!(
        hosts().merge(&later).unwrap(),
        format!("{OURS}[host.\"https://a\"]\n")
    );
    let behind = format!(
        "[host.\"https://a\"]\n{}",
        BESIDE.replace("mirror.lan", "old.lan")
    );
    assert_eq!(
        hosts().merge(&behind).unwrap(),
        format!("{OURS}[host.\"https://a\"]\n"),
        "moved to the front"
    );
}

#[test]
fn a_host_of_ours_that_somebody_wrote_by_hand_is_left_alone() {
    let first = "[host.\"http://mirror.lan:5000\"]\n[host.\"https://a\"]\n";
    assert_eq!(hosts().merge(first).unwrap(), first);
    let second = "[host.\"https://a\"]\n[host.\"http://mirror.lan:5000\"]\n";
    let message = hosts().merge(second).unwrap_err().to_string();
    assert!(message.contains("before the others"), "{message}");
}

/// A second `--write` took our lines out of a file that has a login for the mirror after them.
#[test]
fn what_the_mirror_is_sent_stays_after_our_lines() {
    let header = "[host.\"http://mirror.lan:5000\".header]\n  authorization = \"Bearer x\"\n";
    for file in [
        format!("{OURS}{header}"),
        format!("{OURS}[host.\"https://a\"]\n{header}"),
    ] {
        assert_eq!(hosts().merge(&file).unwrap(), file);
        let old = file.replacen("\"pull\", \"resolve\"", "\"pull\"", 1);
        assert_eq!(hosts().merge(&old).unwrap(), file);
    }
}

#[test]
fn what_cannot_be_merged_is_refused_with_what_to_add() {
    let message = hosts()
        .merge("host = { \"https://a\" = {} }")
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("[host.\"http://mirror.lan:5000\"]"),
        "{message}"
    );
    let message = hosts()
        .merge("server = \"https://a\"\nx =\n")
        .unwrap_err()
        .to_string();
    assert!(message.contains("line 2"), "{message}");
}

#[test]
fn no_fallback_makes_the_mirror_the_server() {
    let edit = edit(Kind::Containerd, &only(), "hosts.toml");
    assert!(
        edit.fresh()
            .contains("server = \"http://mirror.lan:5000\"\n")
    );
    let message = edit
        .merge("server = \"https://registry-1.docker.io\"\n")
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("server = \"http://mirror.lan:5000\""),
        "{message}"
    );
    assert!(edit.merge("server = \"http://mirror.lan:5000/\"\n").is_ok());
}

#[test]
fn all_registries_are_the_default_directory_without_a_server() {
    let request = Request {
        scopes: vec![Scope::All],
        ..request()
    };
    let plan = plan(Kind::Nerdctl, &request, &Existing::default()).unwrap();
    assert!(plan.files[0].path.ends_with("certs.d/_default/hosts.toml"));
    assert_eq!(plan.files[0].edit.fresh(), BESIDE);
}

#[test]
fn hosts_files_go_where_containerd_reads_them() {
    let path = |config: &str| {
        let existing = Existing {
            hosts_roots: hosts_roots(config).unwrap(),
            ..Existing::default()
        };
        let plan = plan(Kind::Containerd, &request(), &existing).unwrap();
        plan.files[0].path.to_str().unwrap().to_owned()
    };
    let usual = "/etc/containerd/certs.d/docker.io/hosts.toml";
    assert_eq!(path(""), usual);
    assert_eq!(
        path("version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"\""),
        usual
    );
    assert_eq!(
        path(
            "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/a/b/:/c'"
        ),
        "/a/b/docker.io/hosts.toml"
    );
}

/// containerd's configurations as packages bring them, and whether ours has to go in.
const CONFIGS: [(&str, bool); 8] = [
    ("", true),
    // Debian's.
    (
        "version = 2\n\n[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n    \
         [plugins.\"io.containerd.grpc.v1.cri\".cni]\n      bin_dir = \"/usr/lib/cni\"\n",
        true,
    ),
    // Docker's.
    (
        "#   comment\n\ndisabled_plugins = [\"cri\"]\n\n#root = \"/var/lib/containerd\"\n",
        false,
    ),
    // What `containerd config default` prints, in 1.x and in 2.x.
    (
        "version = 2\n[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n    \
         [plugins.\"io.containerd.grpc.v1.cri\".registry]\n      config_path = \"\"\n\n      \
         [plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors]\n",
        true,
    ),
    (
        "version = 3\n[plugins]\n  [plugins.'io.containerd.other']\n    config_path = ''\n  \
         [plugins.'io.containerd.cri.v1.images']\n    [plugins.'io.containerd.cri.v1.images'.registry]\n      \
         config_path = ''\n",
        true,
    ),
    // A table without the setting.
    (
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  [plugins.\"io.containerd.grpc.v1.cri\".registry.headers]",
        true,
    ),
    // Set already.
    (
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/elsewhere\"\n",
        false,
    ),
    // Nothing that depends on the version.
    ("root = \"/data\"", true),
];

#[test]
fn config_path_goes_into_each_form_of_the_configuration_and_out_again() {
    for (existing, changes) in CONFIGS {
        let merged = config().merge(existing).unwrap();
        assert_eq!(merged != existing, changes, "{merged}");
        assert_eq!(config().merge(&merged).unwrap(), merged, "twice is once");
        let table: Table = merged.parse().unwrap();
        if changes {
            let version = table["version"].as_integer().unwrap();
            let plugin = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"]
                [usize::from(version == 3)];
            let set = table["plugins"][plugin]["registry"]["config_path"].as_str();
            assert_eq!(
                set,
                Some("/etc/containerd/certs.d:/etc/docker/certs.d"),
                "{merged}"
            );
        }
        let left = config().remove(&merged, Known::default()).unwrap();
        assert_eq!(left.trim_end(), existing.trim_end());
    }
}

#[test]
fn a_configuration_that_containerd_would_refuse_or_misread_is_left_alone() {
    for (existing, advice) in [
        ("[plugins.cri]\n", "version 2"),
        (
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\nendpoint = []\n",
            "hosts.toml",
        ),
        (
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"a\".tls]\nca_file = \"x\"\n",
            "hosts.toml",
        ),
        ("version = 2\nplugins = {}\n", "add this"),
    ] {
        let message = config().merge(existing).unwrap_err().to_string();
        assert!(message.contains(advice), "{existing}: {message}");
    }
}

#[test]
fn a_version_that_a_user_builds_on_stays() {
    let added = config().fresh() + "[plugins.\"x\"]\n";
    assert_eq!(
        config().remove(&added, Known::default()).unwrap(),
        "version = 2\n[plugins.\"x\"]\n"
    );
    assert_eq!(
        config()
            .remove(&config().fresh(), Known::default())
            .unwrap(),
        ""
    );
}

/// A hosts.toml as somebody could have written it.
fn files() -> impl Strategy<Value = String> {
    let server = prop::option::of(Just("server = \"https://s\"\n"));
    let table = prop_oneof![
        Just("[host.\"https://NAME\"]\n"),
        Just("# about it\n[host.\"https://NAME\"] # here\n  capabilities = [\"pull\"]\n"),
        Just(
            "  [host.'https://NAME']\r\n  [host.'https://NAME'.header]\r\n    x = [\r\n[\"a\"],\r\n]\r\n"
        ),
        Just("[host.\"https://NAME\"]\n  ca = '''\n[not.a.table]\n'''\n"),
    ];
    (
        server,
        "(\n|# [a-z]{0,4}\n){0,3}",
        prop::collection::vec(table, 0..4),
        any::<bool>(),
    )
        .prop_map(|(server, comments, tables, end)| {
            let tables = tables.iter().enumerate();
            let tables: String = tables
                .map(|(i, table)| table.replace("NAME", &i.to_string()))
                .collect();
            let text = format!("{comments}{}{tables}", server.unwrap_or_default());
            if end { text } else { text.trim_end().into() }
        })
}

proptest! {
    #[test]
    fn hosts_that_others_wrote_are_kept_behind_ours(text in files()) {
        let merged = hosts().merge(&text).unwrap();
        prop_assert_eq!(hosts().merge(&merged).unwrap(), merged.clone());
        let mut found: Table = merged.parse().unwrap();
        let before: Table = text.parse().unwrap();
        let first = merged.find("[host.\"http://mirror.lan:5000\"]").unwrap();
        prop_assert!(merged.find("https://0").is_none_or(|other| first < other));
        found["host"].as_table_mut().unwrap().remove("http://mirror.lan:5000").unwrap();
        if before.get("host").is_none() {
            found.remove("host");
        }
        if before.get("server").is_none() {
            found.remove("server");
        }
        prop_assert_eq!(&found, &before);
        let left = hosts().remove(&merged, Known::default()).unwrap();
        prop_assert_eq!(left.trim_end(), text.trim_end());
    }

    #[test]
    fn no_text_panics(text in "([#\\[\\]\"'=a-c\r ]{0,9}\n|# >>> forebay client\n|# <<< forebay client\n|version = 2 # forebay client){0,6}") {
        for edit in [hosts(), config()] {
            let _ = edit.merge(&text);
            let _ = edit.remove(&text, Known::default());
        }
    }
}
