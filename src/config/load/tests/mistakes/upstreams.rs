//! What is said of the tables of `[upstreams]`.

use super::*;

/// Each is one mistake, and what has to be said of it.
const MISTAKES: &[(&str, &str)] = &[
    (
        "[upstreams.'a.io']\ntags.confirm_wait = '21s'",
        "f.toml:2: upstreams.\"a.io\".tags.confirm_wait: some clients give up on a response after 30 s: write at most \"20s\"",
    ),
    (
        "[upstreams.'a.io']\nkeep_deleted = true",
        "f.toml:2: upstreams.\"a.io\".keep_deleted: unknown key: did you mean `upstreams.*.tag_rules.keep_deleted` or `upstreams.*.tags.keep_deleted`?",
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
        "[upstreams.dockerhub]\nendpoints = ['https://a.io']",
        "f.toml:1: upstreams.dockerhub: this is the alias of `docker.io`: write [upstreams.\"docker.io\"]",
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
        "[upstreams]\nother = true",
        "f.toml:2: upstreams.other: this is a table: write [upstreams.other]",
    ),
    (
        "[upstreams.'docker.io']\nenabled = false",
        "default_registry: no upstream is configured for `docker.io`: write [upstreams.\"docker.io\"]",
    ),
];

#[test]
fn each_mistake_is_told_with_what_to_write_instead() {
    are_told(MISTAKES);
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
