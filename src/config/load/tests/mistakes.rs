//! What is said of a configuration that does not load; `upstreams` has what is said of their tables.

mod upstreams;

use proptest::prelude::*;

use super::*;

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

/// What limits and proxies can't be, each told with what to write.
#[test]
fn limits_that_cannot_be_meant_are_told() {
    for (line, told) in [
        ("per_client_requests = '100'", "is not a rate"),
        ("per_client_requests = 100", "expected a string"),
        (
            "per_client_requests = '0/s'",
            "a whole number from 1 to 1000000",
        ),
        (
            "per_client_requests = '1000001/s'",
            "a whole number from 1 to 1000000",
        ),
        ("per_client_requests = '5/2d'", "over at most \"1d\""),
        ("per_client_in_flight = 0", "from 1 to 1000000"),
        ("per_client_connections = 0", "from 1 to 1000000"),
        ("per_client_bytes = '50/s'", "write at least \"64KiB/s\""),
        ("per_client_bytes = '1MiB/m'", "write at least \"64KiB/s\""),
        ("per_client_bytes = '1MiB/h'", "write at least \"64KiB/s\""),
        ("per_client_bytes = '50Mbit/s'", "is not a size"),
        ("per_client_bytes = '2TiB/s'", "leave it out"),
        ("max_delay = '21s'", "write at most \"20s\""),
        ("exempt = ['localhost']", "neither an address nor a range"),
        ("exempt = ['10.0.0.1/8']", "write \"10.0.0.0/8\""),
        ("exempt = ['::ffff:10.0.0.0/104']", "write \"10.0.0.0/8\""),
        ("exempt = ['::ffff:192.0.2.1']", "write \"192.0.2.1/32\""),
        ("exempt = ['10.0.0.0/33']", "neither an address nor a range"),
    ] {
        let errors = errors(load_text(&format!("[limits]\n{line}\n")));
        assert_eq!(errors.len(), 1, "{line}: {errors:?}");
        assert!(errors[0].starts_with("f.toml:2: limits."), "{}", errors[0]);
        assert!(errors[0].contains(told), "{line}: {}", errors[0]);
    }
    let proxies = "[server]\nproxy_protocol = true\nforwarded_header = 'via'\n";
    let told = errors(load_text(proxies));
    assert!(
        told.iter()
            .any(|error| error.contains("one of \"x-forwarded-for\", \"forwarded\"")),
        "{told:?}"
    );
    let told = errors(load_text("[server]\nproxy_protocol = true\n"));
    assert!(told[0].contains("list there who sends it"), "{told:?}");
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
        "[tags]\nconfirm_wait = '0s'",
        "f.toml:2: tags.confirm_wait: this leaves no time at all: write a duration such as \"30s\"",
    ),
    (
        "[tags]\nkeep_deleted = true\nstale_for = '0s'",
        "f.toml:2: tags.keep_deleted: a deleted tag is kept for `stale_for`, which is \"0s\": write a longer one, or false here",
    ),
    (
        "[tags]\nimmutable = true",
        "f.toml:2: tags.immutable: unknown key: did you mean `upstreams.*.tag_rules.immutable`",
    ),
    (
        "colour = 'red'",
        "f.toml:1: colour: unknown key: known here are access, admin, cache, default_registry, fetch, limits, log, server, tags, timeouts, upstreams",
    ),
    (
        "[cache]\nsize = '10GiB'",
        "f.toml:2: cache.size: unknown key: did you mean `max_size`?",
    ),
    (
        "listen = '127.0.0.1:5000'",
        "f.toml:1: listen: unknown key: did you mean `admin.listen` or `server.listen`?",
    ),
    (
        "[admin]\nlisten = ['127.0.0.1:5001']",
        "f.toml:2: admin.listen: expected a string, found a list: write it without brackets",
    ),
    (
        "default_registry = 'https://a.io'",
        "f.toml:1: default_registry: `https://a.io` is not a registry: write a host name or address with an optional port",
    ),
];

/// Each of them is told alone.
fn are_told(mistakes: &[(&str, &str)]) {
    for (text, told) in mistakes {
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
fn each_mistake_is_told_with_what_to_write_instead() {
    are_told(MISTAKES);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics(text in "(\\[?[a-z_.'\"]{1,12}\\]?( = [0-9a-z\\[\\]{}'\"]{0,12})?\n){0,6}") {
        let _ = Config::from_toml(&text);
    }
}
