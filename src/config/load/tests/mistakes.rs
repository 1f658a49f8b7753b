//! What is said of a configuration that does not load.

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
        "[upstreams.'a.io']\ntags.confirm_wait = '21s'",
        "f.toml:2: upstreams.\"a.io\".tags.confirm_wait: some clients give up on a response after 30 s: write at most \"20s\"",
    ),
    (
        "[upstreams.'a.io']\nkeep_deleted = true",
        "f.toml:2: upstreams.\"a.io\".keep_deleted: unknown key: did you mean `upstreams.*.tag_rules.keep_deleted` or `upstreams.*.tags.keep_deleted`?",
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
        "[upstreams.'a.io']\ntag_rules = 'v*'",
        "f.toml:2: upstreams.\"a.io\".tag_rules: this is a list of tables: write [[upstreams.\"a.io\".tag_rules]] in a file for each",
    ),
    (
        "[upstreams.'a.io']\ntag_rules = ['v*']",
        "f.toml:2: upstreams.\"a.io\".tag_rules[0]: expected a table, found a string",
    ),
    (
        "[upstreams.'a.io']\ntag_rules = [{ fresh_for = '7d' }]",
        "f.toml:2: upstreams.\"a.io\".tag_rules[0]: it is not said which tags this is for: write `match`, such as match = \"v*.*.*\"",
    ),
    (
        "[upstreams.'a.io']\ntag_rules = [{ match = 'v*' }]",
        "f.toml:2: upstreams.\"a.io\".tag_rules[0]: this says nothing of `v*`: write `fresh_for`, or another key of [tags], or immutable = true",
    ),
    (
        "[upstreams.'a.io']\ntag_rules = [{ match = 'v*', fresh = '7d' }]",
        "f.toml:2: upstreams.\"a.io\".tag_rules[0].fresh: unknown key: did you mean `fresh_for`?",
    ),
    (
        "[upstreams.'a.io']\ntag_rules = [{ match = 'v*', fresh_for = '7d', immutable = true }]",
        "f.toml:2: upstreams.\"a.io\".tag_rules[0].fresh_for: a tag that is `immutable` is never asked for again once it is stored, so that this can't count: take one of the two away",
    ),
    (
        "[[upstreams.'a.io'.tag_rules]]\nmatch = 'v*'\nimmutable = true\nkeep_deleted = true",
        "f.toml:4: upstreams.\"a.io\".tag_rules[0].keep_deleted: a tag that is `immutable` is never asked for again",
    ),
    (
        "[[upstreams.'a.io'.tag_rules]]\nmatch = '*'\nfresh_for = '7d'\n[[upstreams.'a.io'.tag_rules]]\nmatch = 'v*'\nfresh_for = '1d'",
        "f.toml:5: upstreams.\"a.io\".tag_rules[1].match: never comes to count, since the rule for `*` stands before it: write this one before that",
    ),
    (
        "[upstreams.'a.io']\ntag_rules = [{ match = 'library/app:v*', fresh_for = '7d' }]",
        "f.toml:2: upstreams.\"a.io\".tag_rules[0].match: `library/app:v*` matches no tag: write tags alone, without a repository, such as \"v*.*.*\"",
    ),
    (
        "[upstreams.'a.io']\ntag_rules = [{ match = '', fresh_for = '7d' }]",
        "f.toml:2: upstreams.\"a.io\".tag_rules[0].match: expected a string, found an empty one",
    ),
    (
        "[upstreams.'a.io']\ntag_rules = [{ match = '-v*', fresh_for = '7d' }]",
        "f.toml:2: upstreams.\"a.io\".tag_rules[0].match: `-v*` matches no tag: write letters, digits,",
    ),
    (
        "[upstreams.'a.io']\ntag_rules = [{ match = 'v[', fresh_for = '7d' }]",
        "f.toml:2: upstreams.\"a.io\".tag_rules[0].match: `v[` matches no tag: ",
    ),
    (
        "[upstreams.'a.io']\ntag_rules = [{ match = 'v*', confirm_wait = '1s' }]",
        "f.toml:2: upstreams.\"a.io\".tag_rules[0].confirm_wait: unknown key: ",
    ),
    (
        "colour = 'red'",
        "f.toml:1: colour: unknown key: known here are access, admin, cache, default_registry, fetch, limits, log, server, tags, timeouts, upstreams",
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
        "[upstreams.'123456789012.dkr-ecr.eu-west-1.on.aws']\n[upstreams.'123456789012.dkr.ecr.eu-west-1.amazonaws.com']",
        "f.toml:2: upstreams.\"123456789012.dkr.ecr.eu-west-1.amazonaws.com\": this is the same registry as \
         `123456789012.dkr-ecr.eu-west-1.on.aws`: write one table",
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
        "f.toml:2: upstreams.\"a.io\".public: `/x` matches no repository: a `/` stands between two components; for all below `team` write \"team/**\"",
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
        "[upstreams.'a.io']\nhttp_proxy = 'proxy.a.io:3128'",
        "f.toml:2: upstreams.\"a.io\".http_proxy: this is no proxy: write \"http://HOST:PORT\" or ",
    ),
    (
        "[upstreams.'a.io']\nhttp_proxy = 'http://p.io:1'\nhttp_proxy_password_file = 'f.toml'",
        "f.toml:3: upstreams.\"a.io\".http_proxy_password_file: there is no user for it: write one into `http_proxy`, as in \"http://USER@HOST:PORT\"",
    ),
    (
        "[upstreams.'a.io']\nhttp_proxy = 'http://ci:pw@p.io:1'\nhttp_proxy_password_file = 'f.toml'",
        "f.toml:2: upstreams.\"a.io\".http_proxy: `http_proxy_password_file` is set too: write one of them",
    ),
    (
        "[upstreams.'a.io']\ntags = { fresh = '1s' }",
        "f.toml:2: upstreams.\"a.io\".tags.fresh: unknown key: did you mean `fresh_for`?",
    ),
    (
        "[upstreams.'a.io'.tags]\nfreshfor = '1s'",
        "f.toml:2: upstreams.\"a.io\".tags.freshfor: unknown key: did you mean `fresh_for`?",
    ),
    (
        "[upstreams.docker.io]\nusername = 'me'",
        "f.toml:1: upstreams.docker.io: a name with dots stands in quotes: write [upstreams.\"docker.io\"]",
    ),
    (
        "[upstreams.my.registry.example]\nallow_private = true",
        "f.toml:1: upstreams.my.registry: a name with dots stands in quotes: write [upstreams.\"my.registry.example\"]",
    ),
    (
        "[upstreams.'docker.io'.login]\nusername = 'me'",
        "f.toml:1: upstreams.\"docker.io\".login: unknown key: known here are",
    ),
    (
        "[[upstreams]]\nname = 'ghcr.io'",
        "f.toml:1: upstreams: this is a table: write [upstreams.\"ghcr.io\"] for each registry",
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics(text in "(\\[?[a-z_.'\"]{1,12}\\]?( = [0-9a-z\\[\\]{}'\"]{0,12})?\n){0,6}") {
        let _ = Config::from_toml(&text);
    }
}

#[test]
fn clients_log_in_for_themselves_only_where_nobody_logs_in_for_them() {
    for (lines, told) in [
        ("username = 'me'\npassword = 'x'", "leave out `credentials`"),
        (
            "endpoints = ['https://a.io', 'https://b.io']",
            "write one endpoint",
        ),
        ("grant_for = '61m'", "write at most \"1h\""),
        ("grant_for = '0s'", "upstreams.\"a.io\".grant_for"),
    ] {
        let text = format!("[upstreams.\"a.io\"]\naccess = 'passthrough'\n{lines}\n");
        let errors = errors(load_text(&text));
        assert_eq!(errors.len(), 1, "{lines}: {errors:?}");
        assert!(errors[0].contains(told), "{lines}: {}", errors[0]);
    }
    let told = errors(load_text(
        "[upstreams.\"a.io\"]\naccess = 'passthrough'\nclient_cert = '/none.pem'\nclient_key = '/none.key'\n",
    ));
    let is_told = |told: &String| told.contains("`client_cert` is a login of the mirror's own");
    assert!(told.iter().any(is_told), "{told:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a-token-that-is-long-enough-0123456789").unwrap();
    let text = format!(
        "[[access.tokens]]\nname = 'ci'\nfile = {:?}\n[upstreams.\"a.io\"]\naccess = 'passthrough'\n",
        file.path()
    );
    let told = errors(load_text(&text));
    assert!(told[0].contains("room for one login"), "{told:?}");
    let told = errors(load_text("[upstreams.\"a.io\"]\naccess = 'everyone'\n"));
    assert!(told[0].contains("\"mirror\", \"passthrough\""), "{told:?}");
    let of = |lines: &str| {
        let config = load_text(&format!("[upstreams.\"a.io\"]\n{lines}\n")).unwrap();
        let found = config
            .upstreams
            .iter()
            .find(|found| found.registry.to_string() == "a.io");
        found.unwrap().passthrough
    };
    assert_eq!(of("grant_for = '1m'"), None);
    let default = std::time::Duration::from_mins(5);
    assert_eq!(of("access = 'passthrough'"), Some(default));
}
