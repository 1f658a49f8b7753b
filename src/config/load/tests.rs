//! Whole configurations: what loads, what is said of those that do not, and that the template is
//! complete.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use proptest::prelude::*;

use super::super::types::{Credentials, Upstream};
use super::*;
use crate::config::render;

fn load_text(text: &str) -> Result<Config, ConfigErrors> {
    load_with(text, &[])
}

fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.toml");
    fs::write(&file, text).unwrap();
    Config::load(Sources {
        file: Some(file),
        environment: variables(environment),
        ..sources()
    })
}

fn sources() -> Sources {
    Sources {
        user_cache: Some("/home/me/.cache".into()),
        ..Sources::default()
    }
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, OsString)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}

/// The errors without the directory of the file.
fn errors(loaded: Result<Config, ConfigErrors>) -> Vec<String> {
    let short = |error: &ConfigError| {
        let text = error.to_string();
        text.find("f.toml:")
            .map_or(text.clone(), |at| text[at..].to_owned())
    };
    loaded.unwrap_err().iter().map(short).collect()
}

fn upstream<'a>(config: &'a Config, name: &str) -> &'a Upstream {
    config
        .upstreams
        .iter()
        .find(|upstream| upstream.registry.to_string() == name)
        .unwrap()
}

#[test]
fn the_default_serves_this_machine_from_the_users_cache() {
    let config = Config::load(sources()).unwrap();
    assert_eq!(config.server.listen, ["127.0.0.1:5000".parse().unwrap()]);
    assert_eq!(config.admin.listen, Some("127.0.0.1:5001".parse().unwrap()));
    assert_eq!(config.cache.dir, Path::new("/home/me/.cache/forebay"));
    assert_eq!(config.default_registry.as_str(), "docker.io");
    assert_eq!(config.limits.max_connections, None);
    let names: Vec<_> = config
        .upstreams
        .iter()
        .map(|upstream| upstream.registry.to_string())
        .collect();
    assert_eq!(
        names,
        [
            "*.gcr.io",
            "*.pkg.dev",
            "docker.io",
            "ecr",
            "gcr.io",
            "ghcr.io",
            "mcr.microsoft.com",
            "public.ecr.aws",
            "quay.io",
            "registry.k8s.io",
        ]
    );
    let hub = upstream(&config, "docker.io");
    assert_eq!(hub.endpoints[0].as_str(), "https://registry-1.docker.io/");
    assert_eq!(hub.credentials, Credentials::None);
    assert!(hub.public.matches(&"library/nginx".parse().unwrap()));
    assert_eq!(
        upstream(&config, "quay.io").endpoints[0].as_str(),
        "https://quay.io/"
    );
    assert!(upstream(&config, "ecr").endpoints.is_empty());
}

#[test]
fn without_a_home_it_is_said_what_to_set() {
    let homeless = || Sources {
        user_cache: None,
        ..sources()
    };
    let told = errors(Config::load(homeless()));
    let wanted = "cache.dir: there is no home directory to keep the cache in: set `dir`, FOREBAY_CACHE__DIR or --cache-dir";
    assert!(told.len() == 1 && told[0].ends_with(wanted), "{told:?}");
    let overrides = Overrides {
        cache_dir: Some("/var/cache/forebay".into()),
        ..Overrides::default()
    };
    assert!(
        Config::load(Sources {
            overrides,
            ..homeless()
        })
        .is_ok()
    );
    assert!(
        Config::load(Sources {
            environment: variables(&[("FOREBAY_CACHE__DIR", "/x")]),
            ..homeless()
        })
        .is_ok()
    );
}

#[test]
fn later_sources_override_earlier_ones() {
    let text =
        "[cache]\nmax_size = '10GiB'\nmin_free = '2GiB'\ndir = '/file'\n[server]\ndrain = '1s'\n";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.toml");
    fs::write(&file, text).unwrap();
    let environment = variables(&[
        ("FOREBAY_CACHE__MAX_SIZE", "20GiB"),
        ("FOREBAY_CACHE__DIR", "/variable"),
        ("FOREBAY_CACHE__OPEN_FILES", "7"),
        ("FOREBAY_CACHE__STRICT_RANGES", "true"),
        ("FOREBAY_SERVER__LISTEN", "127.0.0.1:1, [::1]:2"),
        ("FOREBAY_UPSTREAMS__DOCKERHUB__PUBLIC", ""),
    ]);
    let overrides = Overrides {
        cache_dir: Some("/flag".into()),
        ..Overrides::default()
    };
    let config = Config::load(Sources {
        file: Some(file),
        environment,
        overrides,
        ..sources()
    })
    .unwrap();
    assert_eq!(config.cache.dir, Path::new("/flag"));
    assert_eq!(
        (config.cache.max_size, config.cache.min_free),
        (20 << 30, 2 << 30)
    );
    assert_eq!(
        (config.cache.open_files, config.cache.strict_ranges),
        (7, true)
    );
    assert_eq!(config.server.drain, Duration::from_secs(1));
    assert_eq!(
        config.server.listen,
        ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]
    );
    assert!(upstream(&config, "docker.io").public.patterns().is_empty());

    let overrides = Overrides {
        listen: vec!["0.0.0.0:80".parse().unwrap()],
        ..Overrides::default()
    };
    let environment = variables(&[("FOREBAY_SERVER__LISTEN", "127.0.0.1:1")]);
    let config = Config::load(Sources {
        environment,
        overrides,
        ..sources()
    })
    .unwrap();
    assert_eq!(config.server.listen, ["0.0.0.0:80".parse().unwrap()]);
}

#[test]
fn five_mistakes_are_five_messages_in_one_run() {
    let text = r#"
default_registry = "registry.example.com"

[server]
listen = ["localhost:5000"]

[cache]
max_sise = "10GiB"
min_free = "10 gigs"

[upstreams."ghcr.io"]
username = "me"
"#;
    assert_eq!(
        errors(load_text(text)),
        [
            "f.toml:2: default_registry: no upstream is configured for `registry.example.com`: write \
             [upstreams.\"registry.example.com\"]",
            "f.toml:5: server.listen: `localhost:5000` is not an address: write an IP address and a port, such as \
             \"127.0.0.1:5000\", or \"0.0.0.0:5000\" for every interface",
            "f.toml:8: cache.max_sise: unknown key: did you mean `max_size`?",
            "f.toml:9: cache.min_free: `10 gigs` is not a size: write a whole number of B, KB, MB, GB, TB, KiB, MiB, \
             GiB or TiB, such as \"20GiB\"",
            "f.toml:12: upstreams.\"ghcr.io\".username: there is no password for it: write `password_file` or \
             `password`",
        ]
    );
}

#[test]
fn mistakes_of_every_source_are_told_together() {
    let environment = [
        ("FOREBAY_CACHE__MAX_SISE", "1GiB"),
        ("FOREBAY_CACHE_DIR", "/x"),
        ("FOREBAY_LOG__LEVEL", "loud"),
        ("FOREBAY_TAGS", "1m"),
        ("FOREBAY_UPSTREAMS__NOBODY__USERNAME", "me"),
    ];
    let told = errors(load_with("[log]\nformat = 'xml'\n", &environment));
    assert_eq!(
        told,
        [
            "f.toml:2: log.format: `xml` is not known: write one of \"auto\", \"text\", \"json\"",
            "environment variable FOREBAY_CACHE_DIR: cache_dir: unknown key: did you mean FOREBAY_CACHE__DIR?",
            "environment variable FOREBAY_CACHE__MAX_SISE: cache.max_sise: unknown key: did you mean \
             FOREBAY_CACHE__MAX_SIZE?",
            "environment variable FOREBAY_LOG__LEVEL: log.level: `loud` is not known: write one of \"error\", \"warn\", \
             \"info\", \"debug\", \"trace\"",
            "environment variable FOREBAY_TAGS: tags: this is a table: write [tags]",
            "environment variable FOREBAY_UPSTREAMS__NOBODY__USERNAME: no upstream has this alias: write one of \
             GCR_REGIONS, GAR, DOCKERHUB, ECR, GCR, GHCR, MCR, ECR_PUBLIC, QUAY, K8S, or give the upstream an `alias` \
             in the configuration file",
        ]
    );
}

/// Each is one mistake, and what has to be said of it.
const MISTAKES: &[(&str, &str)] = &[
    (
        "cache = 1",
        "f.toml:1: cache: this is a table: write [cache]",
    ),
    (
        "[cache]\ndir = 1",
        "f.toml:2: cache.dir: expected a string, found an integer",
    ),
    (
        "[cache]\ndir = ''",
        "f.toml:2: cache.dir: expected a string, found an empty one",
    ),
    (
        "[cache]\ndir = '~/x'",
        "f.toml:2: cache.dir: `~/x`: a home directory has to be written out in full",
    ),
    (
        "[cache]\nmax_size = '1MiB'",
        "f.toml:2: cache.max_size: this is too little: write at least \"16MiB\"",
    ),
    (
        "[cache]\nmax_size = -1",
        "f.toml:2: cache.max_size: a size cannot be negative",
    ),
    (
        "[cache]\nmax_size = 1.5",
        "f.toml:2: cache.max_size: expected a size such as \"20GiB\", found a number with a fraction",
    ),
    (
        "[cache]\nopen_files = 0",
        "f.toml:2: cache.open_files: write a whole number from 1 to 1000000",
    ),
    (
        "[cache]\nopen_files = '7'",
        "f.toml:2: cache.open_files: expected a whole number from 1 to 1000000, found a string",
    ),
    (
        "[cache]\nstrict_ranges = 'yes'",
        "f.toml:2: cache.strict_ranges: expected true or false, found a string",
    ),
    (
        "[server]\nlisten = []",
        "f.toml:2: server.listen: nothing is listened on: write an address such as \"127.0.0.1:5000\"",
    ),
    (
        "[server]\nlisten = '0.0.0.0:1'",
        "f.toml:2: server.listen: expected a list, found a string: write it in brackets, such as [\"...\"]",
    ),
    (
        "[server]\nlisten = ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:1']",
        "f.toml:2: server.listen: `127.0.0.1:1` is there twice: write each address once",
    ),
    (
        "[admin]\nlisten = '127.0.0.1:5000'",
        "f.toml:2: admin.listen: `127.0.0.1:5000` is the clients' address too: write another port",
    ),
    (
        "[server]\nidle_timeout = '0s'",
        "f.toml:2: server.idle_timeout: this leaves no time at all: write a duration such as \"30s\"",
    ),
    (
        "[server]\ndrain = 30",
        "f.toml:2: server.drain: a duration needs a unit: write \"30s\" for seconds",
    ),
    (
        "[tags]\nfresh_for = '1 minute'",
        "f.toml:2: tags.fresh_for: `1 minute` is not a duration: write whole numbers of d, h, m, s or ms, such as \"90s\" or \"1h30m\"",
    ),
    (
        "colour = 'red'",
        "f.toml:1: colour: unknown key: known here are admin, cache, default_registry, fetch, limits, log, server, tags, timeouts, upstreams",
    ),
    (
        "[upstreams.'a b']",
        "f.toml:1: upstreams.\"a b\": `a b` is not a registry: write a host such as \"ghcr.io\" or \"localhost:5000\", a pattern with one `*` a label such as \"*.pkg.dev\", or \"ecr\"",
    ),
    (
        "[upstreams.'a.io']\nendpoints = ['a.io']",
        "f.toml:2: upstreams.\"a.io\".endpoints: this is not a URL: write scheme, host and port, such as \"https://registry.example.com\"",
    ),
    (
        "[upstreams.'a.io']\nendpoints = ['https://a.io/v2/']",
        "f.toml:2: upstreams.\"a.io\".endpoints: write scheme, host and port only: \"https://a.io\"",
    ),
    (
        "[upstreams.'*.a.io']\nendpoints = ['https://a.io']",
        "f.toml:2: upstreams.\"*.a.io\".endpoints: a family of registries has no endpoints: each is fetched from its own host",
    ),
    (
        "[upstreams.'*.a.io']\nhosts = ['b.io']",
        "f.toml:2: upstreams.\"*.a.io\".hosts: a host cannot stand for a family of registries: write a table for the one that it means",
    ),
    (
        "[upstreams.'a.io']\nalias = 'quay'",
        "f.toml:2: upstreams.\"a.io\".alias: `quay` already means",
    ),
    (
        "[upstreams.'a.io']\nalias = 'a.io'",
        "f.toml:2: upstreams.\"a.io\".alias: `a.io` is not an alias: write lower-case letters, digits and single hyphens, such as \"my-registry\"",
    ),
    (
        "[upstreams.'a.io']\nalias = 'v2'",
        "f.toml:2: upstreams.\"a.io\".alias: `v2` already means something as the first part of a path: write another name",
    ),
    (
        "[upstreams.'a.io']\nhosts = ['m.io:5000']",
        "f.toml:2: upstreams.\"a.io\".hosts: the port of a host is ignored: write \"m.io\"",
    ),
    (
        "[upstreams.'a.io']\ntrusted_realms = ['https://b.io/token']",
        "f.toml:2: upstreams.\"a.io\".trusted_realms: `https://b.io/token` is not a registry: write a host name or address with an optional port, without scheme and path",
    ),
    (
        "[upstreams.'a.io']\npublic = ['/x']",
        "f.toml:2: upstreams.\"a.io\".public: `/x` matches no repository: write lower-case names without the registry, such as \"library/**\"",
    ),
    (
        "[upstreams.'a.io']\npassword = 'x'",
        "f.toml:2: upstreams.\"a.io\".password: there is no `username` for it: write one",
    ),
    (
        "[upstreams.'a.io']\nusername = 'a:b'",
        "f.toml:2: upstreams.\"a.io\".username: a user's name has no colon: write the name alone",
    ),
    (
        "[upstreams.'a.io']\ntags = { fresh = '1s' }",
        "f.toml:2: upstreams.\"a.io\".tags.fresh: unknown key: known here are",
    ),
    (
        "[upstreams.'a.io'.tags]\nfreshfor = '1s'",
        "f.toml:2: upstreams.\"a.io\".tags.freshfor: unknown key: did you mean `fresh_for`?",
    ),
    (
        "[upstreams]\nghcr = true",
        "f.toml:2: upstreams.ghcr: this is a table: write [upstreams.ghcr]",
    ),
    (
        "default_registry = 'https://a.io'",
        "f.toml:1: default_registry: `https://a.io` is not a registry: write a host name or address with an optional port",
    ),
    (
        "[upstreams.'docker.io']\nenabled = false",
        "default_registry: no upstream is configured for `docker.io`: write [upstreams.\"docker.io\"]",
    ),
];

#[test]
fn each_mistake_is_told_with_what_to_write_instead() {
    for (text, told) in MISTAKES {
        let errors = errors(load_text(text));
        assert!(
            errors[0].contains(told),
            "{text}\n  told: {}\n  want: {told}",
            errors[0]
        );
        assert_eq!(errors.len(), 1, "{text}: {errors:#?}");
    }
}

#[test]
fn a_host_means_one_upstream() {
    let text = "[upstreams.'a.io']\nhosts = ['m.io']\n[upstreams.'b.io']\nhosts = ['M.io']\n";
    let told =
        "f.toml:4: upstreams.\"b.io\".hosts: `m.io` already means `a.io`: write each name once";
    assert_eq!(errors(load_text(text)), [told]);
    let disabled = text.replace("['m.io']\n", "['m.io']\nenabled = false\n");
    assert!(load_text(&disabled).is_ok());
}

#[test]
fn an_upstream_can_be_taken_away() {
    let config = load_text("[upstreams.'ghcr.io']\nenabled = false").unwrap();
    assert!(
        config
            .upstreams
            .iter()
            .all(|upstream| upstream.registry.to_string() != "ghcr.io")
    );
}

#[test]
fn an_upstream_inherits_what_it_does_not_say() {
    let text = "[tags]\nfresh_for = '5m'\n[fetch]\nconnections_per_upstream = 9\n[timeouts]\nconnect = '1s'\n\
        [upstreams.'a.io']\ntags = { stale_for = '1d' }\ntimeouts = { body_idle = '7s' }\n\
        [upstreams.'b.io']\nmax_connections = 2\n";
    let config = load_text(text).unwrap();
    let (a, b) = (upstream(&config, "a.io"), upstream(&config, "b.io"));
    assert_eq!(a.tags.fresh_for, Duration::from_mins(5));
    assert_eq!(a.tags.stale_for, Duration::from_hours(24));
    assert_eq!(
        (a.timeouts.connect, a.timeouts.body_idle),
        (Duration::from_secs(1), Duration::from_secs(7))
    );
    assert_eq!((a.max_connections, b.max_connections), (9, 2));
    assert_eq!(b.tags, config.tags);
}

#[test]
fn a_password_comes_from_a_file_beside_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.toml");
    let load = |secret: &[u8]| {
        fs::write(
            &file,
            "[upstreams.'a.io']\nusername = 'me'\npassword_file = 'secret'\n",
        )
        .unwrap();
        fs::write(dir.path().join("secret"), secret).unwrap();
        Config::load(Sources {
            file: Some(file.clone()),
            ..sources()
        })
    };
    for (secret, password) in [
        ("s3cret\n", "s3cret"),
        ("s3cret\r\n", "s3cret"),
        (" s3 \n\n", " s3 \n"),
        ("x", "x"),
    ] {
        let config = load(secret.as_bytes()).unwrap();
        let Credentials::Password {
            username,
            password: read,
        } = &upstream(&config, "a.io").credentials
        else {
            panic!()
        };
        assert_eq!((username.as_str(), read.expose()), ("me", password));
    }
    for secret in [&b"\n"[..], b"", b"\xff\n"] {
        assert!(
            errors(load(secret))[0].starts_with("f.toml:3: upstreams.\"a.io\".password_file: ")
        );
    }
    fs::remove_file(dir.path().join("secret")).unwrap();
    let told = errors(Config::load(Sources {
        file: Some(file.clone()),
        ..sources()
    }));
    assert!(
        told[0].contains("secret cannot be read: No such file"),
        "{told:?}"
    );
}

#[test]
fn of_two_passwords_the_later_source_counts() {
    let text = "[upstreams.'a.io']\nalias = 'a'\nusername = 'me'\npassword_file = '/nonexistent'\n";
    let config = load_with(text, &[("FOREBAY_UPSTREAMS__A__PASSWORD", "hunter2")]).unwrap();
    let Credentials::Password { password, .. } = &upstream(&config, "a.io").credentials else {
        panic!()
    };
    assert_eq!(password.expose(), "hunter2");
    let both = format!("{text}password = 'hunter2'\n");
    let told = errors(load_text(&both));
    assert_eq!(
        told,
        ["f.toml:5: upstreams.\"a.io\".password: `password_file` is set too: write one of them"]
    );
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

#[test]
fn no_error_or_print_shows_a_secret() {
    let canary = "c4nary-s3cret";
    for text in [
        format!("[upstreams.'a.io']\npassword = '{canary}'\n"),
        format!("[upstreams.'a.io']\npassword = {canary}\n"),
        format!("[upstreams.'a.io']\npassword = ['{canary}']\n"),
        format!("[upstreams.'a.io']\npassword = '{canary}\n"),
        format!("[upstreams.'a.io']\npasswort = '{canary}'\n"),
        format!(
            "[upstreams.'a.io']\nusername = 'me'\npassword = '{canary}'\npassword_file = 'x'\n"
        ),
        format!("[upstreams.'a.io']\nendpoints = ['https://me:{canary}@a.io']\n"),
        format!("[upstreams.'a.io']\nendpoints = ['me:{canary}@a.io']\n"),
    ] {
        let told = load_text(&text).unwrap_err();
        assert!(!format!("{told} {told:?}").contains(canary), "{told}");
    }
    let config = load_text(&format!(
        "[upstreams.'a.io']\nusername = 'me'\npassword = '{canary}'\n"
    ))
    .unwrap();
    assert!(!format!("{config:?} {}", render(&config)).contains(canary));
}

/// What a line of the template sets: its table, its key, and whether it is commented out.
fn template_keys() -> Vec<(String, String, bool)> {
    let mut table = String::new();
    let mut keys = Vec::new();
    for line in DEFAULT.lines() {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.strip_suffix(']').unwrap();
            table = if header.starts_with("upstreams.") {
                "upstreams.*.".into()
            } else {
                format!("{header}.")
            };
            continue;
        }
        let line_key = line.strip_prefix('#').unwrap_or(line);
        if let Some((key, _)) = line_key.split_once(" = ")
            && key
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            keys.push((table.clone(), key.to_owned(), line.starts_with('#')));
        }
    }
    keys
}

#[test]
fn the_template_has_every_key_that_is_read() {
    let table = files(None, &mut Vec::new()).unwrap();
    let report = Report::new(Vec::new());
    read::config(&Section::root(&table, &report), Some("/cache".into())).unwrap();
    let in_template: BTreeSet<_> = template_keys()
        .into_iter()
        .map(|(table, key, _)| table + &key)
        .collect();
    for known in report.known() {
        let is_table = report
            .known()
            .iter()
            .any(|other| other.starts_with(&format!("{known}.")));
        // An upstream's overrides have the keys of the tables for all.
        let shared = known
            .strip_prefix("upstreams.*.")
            .filter(|key| key.contains('.'));
        let key = shared.unwrap_or(&known);
        assert!(
            is_table || in_template.contains(key),
            "config/default.toml does not show {known}"
        );
    }
}

#[test]
fn the_templates_examples_can_be_taken_as_they_are() {
    for (_, key, commented) in template_keys() {
        if !commented {
            continue;
        }
        let marked = format!("\n#{key} = ");
        let text = DEFAULT.replacen(&marked, &format!("\n{key} = "), 1);
        assert_ne!(text, DEFAULT);
        let told = load_text(&text).map_or_else(|errors| errors.to_string(), |_| String::new());
        // An example of a file or of half a login is right as far as it goes.
        let expected = match key.as_str() {
            "username" => "there is no password for it",
            "password" => "there is no `username` for it",
            "password_file" | "ca_file" => "cannot be read",
            "enabled" => "no upstream is configured for `docker.io`",
            _ => "",
        };
        assert!(
            told.contains(expected) && told.is_empty() == expected.is_empty(),
            "{key}: {told}"
        );
    }
}

#[test]
fn what_is_printed_loads_as_the_same() {
    for text in [
        "",
        "[upstreams.'docker.io']\npublic = []\n",
        "[admin]\nlisten = 'off'\n[limits]\nmax_connections = 5\n[cache]\nmax_size = 1234567890\n",
        "[upstreams.'[::1]:5000']\nendpoints = ['http://[::1]:5000', 'https://b.io']\nhosts = ['m.io']\n\
         trusted_realms = ['c.io:8443']\nallow_private = true\ntags = { fresh_for = '1ms' }\n\
         timeouts = { connect = '1h30m' }\npublic = ['**', 'a/{b,c}']\nusername = '\"quoted\"'\n\
         password = '[redacted]'\n",
    ] {
        let config = load_text(text).unwrap();
        let printed = render(&config);
        let read = load_text(&printed).unwrap_or_else(|errors| panic!("{printed}\n{errors}"));
        assert_eq!(read, config, "{printed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics(text in "(\\[?[a-z_.'\"]{1,12}\\]?( = [0-9a-z\\[\\]{}'\"]{0,12})?\n){0,6}") {
        let _ = Config::from_toml(&text);
    }

    /// A value of the wrong kind in any key is reported, and nothing else is.
    #[test]
    fn a_wrong_value_is_told_at_its_key(at in any::<prop::sample::Index>()) {
        let keys: Vec<_> = template_keys().into_iter().filter(|(table, ..)| !table.starts_with("upstreams")).collect();
        let (table, key, _) = &keys[at.index(keys.len())];
        let header = table.strip_suffix('.').map(|table| format!("[{table}]\n")).unwrap_or_default();
        let told = errors(load_text(&format!("{header}{key} = 2020-01-01\n")));
        prop_assert_eq!(told.len(), 1);
        prop_assert!(told[0].contains(&format!(": {table}{key}: expected ")), "{}", told[0]);
    }
}
