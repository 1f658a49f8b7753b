//! `[access]`: what is read, and what is said of mistakes.

use super::*;
use crate::config::Access;

const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01236";

/// Beside the file there are a password file, one that is none, and tokens.
fn load(text: &str) -> Result<Config, ConfigErrors> {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = dir.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("users", &format!("alice:{HASH}\nbob:{HASH}\n"));
    let dear = HASH.replacen("05", "12", 1);
    write("mixed", &format!("alice:{HASH}\nbob:{dear}\n"));
    write("old", "alice:$apr1$4x0lbqYs$2m6G7\n");
    write("one", "0123456789abcdef0123\n");
    write("two", "abcdef0123456789abcd");
    write("short", "hunter2\n");
    write("lines", "0123456789abcdef0123\n0123456789abcdef0123\n");
    write("f.toml", text);
    Config::load(Sources {
        file: Some(dir.path().join("f.toml")),
        ..sources()
    })
}

fn access(text: &str) -> Option<Access> {
    load(text).unwrap().access
}

#[test]
fn without_a_key_there_is_no_access_to_be_checked() {
    assert_eq!(access(""), None);
    assert_eq!(access("[access]\n"), None);
}

#[test]
fn users_tokens_addresses_and_rules_are_read() {
    let access = access(
        "[access]\nhtpasswd_file = 'users'\ntrusted = ['10.0.0.0/8']\ntokens = [{ name = 'ci', file = 'one' }, \
         { name = 'cd', file = 'two' }]\n[[access.rules]]\nclients = ['user:alice']\nrepositories = ['docker.io/nginx', \
         '*/team/**', '*.pkg.dev/x', 'registry-1.docker.io/a/*']\nallow = true\n",
    )
    .unwrap();
    let users = access.passwords.unwrap().users;
    assert_eq!(users.users().collect::<Vec<_>>(), ["alice", "bob"]);
    let tokens = access.tokens.iter().map(|token| token.name.as_str());
    assert_eq!(tokens.collect::<Vec<_>>(), ["ci", "cd"]);
    assert_eq!(access.tokens[0].secret.expose(), "0123456789abcdef0123");
    for (repository, about) in [
        ("docker.io/library/nginx", true),
        ("docker.io/nginx/nginx", false),
        ("docker.io/a/b", true),
        ("docker.io/a/b/c", false),
        ("docker.io/team/b/c", true),
        ("ghcr.io/team/b", true),
        ("ghcr.io/teams/b", false),
        ("eu.pkg.dev/x", true),
        ("ghcr.io/x", false),
    ] {
        let repository: crate::oci::Repository = repository.parse().unwrap();
        let is_about = access.rules[0].is_about(&repository.registry, &repository.name);
        assert_eq!(is_about, about, "{repository}");
    }
}

#[test]
fn what_is_hardly_meant_is_told_as_a_warning() {
    let warnings = |text: &str| load(text).unwrap().warnings();
    assert!(warnings("").is_empty());
    let listen = "[server]\nlisten = ['127.0.0.1:5000', '0.0.0.0:5000']\n";
    let logins = "[access]\nhtpasswd_file = 'users'\ntokens = [{ name = 'ci', file = 'one' }]\n";
    for (open, wanted) in [
        (listen.to_owned(), 1),
        (format!("{listen}[access]\n"), 1),
        ("[server]\ntrusted_proxies = ['127.0.0.1']\n".into(), 1),
        (
            format!(
                "{listen}[access]\nrules = [{{ clients = ['*'], repositories = ['**'], allow = true }}]\n"
            ),
            0,
        ),
    ] {
        let told = warnings(&open);
        assert_eq!(told.len(), wanted, "{open}: {told:?}");
        let meant = |told: &String| {
            told.starts_with("access: whoever reaches `server.listen` may pull all")
        };
        assert!(told.iter().all(meant), "{told:?}");
    }
    assert!(warnings(logins).is_empty(), "nobody is on the way");
    let clear = warnings(&format!("{listen}{logins}"));
    assert!(
        clear[0].contains("in clear text to `server.listen`: set [server.tls]"),
        "{clear:?}"
    );
    assert_eq!(clear.len(), 1);
    let proxied = format!("{listen}trusted_proxies = ['10.0.0.1']\n{logins}");
    assert!(warnings(&proxied).is_empty(), "its proxy may speak TLS");
    let local = "[access]\ntrusted = ['127.0.0.1', '10.0.0.0/8', '::1']\nrules = [{ clients = ['address:127.0.0.0/8'], \
                 repositories = ['**'], allow = true }, { clients = ['address:127.0.0.1'], repositories = ['**'], allow = \
                 false }]\n";
    assert!(
        warnings(local).is_empty(),
        "it speaks to this machine alone"
    );
    let told = warnings(&format!("{listen}{local}"));
    for (told, of) in told.iter().zip([
        "access.trusted: `127.0.0.1/32` is whoever reaches a proxy",
        "access.trusted: `::1/128` is whoever reaches a proxy",
        "access.rules[0]: `127.0.0.0/8` is whoever reaches a proxy",
    ]) {
        assert!(told.starts_with(of), "{told}");
    }
    assert_eq!(told.len(), 3, "{told:?}");
    let mixed = warnings("[access]\nhtpasswd_file = 'mixed'\n");
    assert!(
        mixed[0].starts_with(
            "access.htpasswd_file: some passwords are hashed at a cost of 5, others at up to 12"
        ),
        "{mixed:?}"
    );
    let rules = format!(
        "{logins}[[access.rules]]\nclients = ['user:alice', 'user:al*', 'token:c*', 'address:::1', '*']\nrepositories = \
         ['docker.io/**', '*.nowhere.example/**', '**']\nallow = true\n[[access.rules]]\nclients = ['user:carol', \
         'token:x', 'certificate:a']\nrepositories = ['nowhere.example/**']\nallow = true\n"
    );
    assert_eq!(
        warnings(&rules),
        [
            "access.rules[1]: `user:carol` is nobody: no such user is in `htpasswd_file`",
            "access.rules[1]: `token:x` is nobody: there is no such token",
            "access.rules[1]: `certificate:a` is nobody: no client certificate counts without `client_ca_file` in [server.tls]",
            "access.rules[1]: no upstream is configured for `nowhere.example/**`",
        ]
    );
}

#[test]
fn each_mistake_is_told_with_what_to_write_instead() {
    let rule = |keys: &str| format!("[[access.rules]]\n{keys}");
    let token = |keys: &str| format!("[[access.tokens]]\n{keys}");
    for (text, told) in [
        (
            "[access]\ntrusted = []\n".to_owned(),
            "f.toml:1: access: this lets nobody in: write `htpasswd_file`, ",
        ),
        (
            "[access]\nhtpasswd_file = 'old'\n".into(),
            "old:1: the password of `alice` is not hashed with bcrypt at a cost of 4 to 15: write it anew with `htpasswd -B`",
        ),
        (
            "[access]\nhtpasswd_file = 'none'\n".into(),
            "cannot be read",
        ),
        (
            "[access]\ntrusted = ['10.0.0.1/8']\n".into(),
            "write \"10.0.0.0/8\"",
        ),
        (
            token("name = 'ci'"),
            "f.toml:1: access.tokens[0]: it is not said where the token is: write `file`",
        ),
        (
            token("file = 'one'"),
            "it is not said whose token this is: write `name`",
        ),
        (
            token("name = 'ci'\nfile = 'short'"),
            "holds too short a token: make one with `openssl rand -hex 32`",
        ),
        (
            token("name = 'ci'\nfile = 'lines'"),
            "is no token: write it on one line",
        ),
        (token("name = 'c:i'\nfile = 'one'"), "`c:i` is no name: "),
        (
            "[access]\ntokens = [{ name = 'ci', file = 'one' }, { name = 'ci', file = 'two' }]"
                .into(),
            "f.toml:2: access.tokens[1].name: `ci` is there twice",
        ),
        (
            "[access]\ntokens = [{ name = 'ci', file = 'one' }, { name = 'cd', file = 'one' }]"
                .into(),
            "access.tokens[1].file: another name has the same token",
        ),
        (
            rule("repositories = ['**']\nallow = true"),
            "f.toml:1: access.rules[0]: it is not said whom this rule is for",
        ),
        (
            rule("clients = ['*']\nallow = true"),
            "it is not said what this rule is about: write `repositories`",
        ),
        (
            rule("clients = ['*']\nrepositories = ['**']"),
            "it is not said what holds: write allow = true or allow = false",
        ),
        (
            rule("clients = ['alice']\nrepositories = ['**']\nallow = true"),
            "f.toml:2: access.rules[0].clients: `alice` is no client: write \"user:NAME\"",
        ),
        (
            rule("clients = ['address:10.1.1.1/8']\nrepositories = ['**']\nallow = true"),
            "write \"10.0.0.0/8\"",
        ),
        (
            rule("clients = ['*']\nrepositories = ['library/nginx']\nallow = true"),
            "f.toml:3: access.rules[0].repositories: `library/nginx`: begin with the registry, such as \"docker.io/library/**\"",
        ),
        (
            rule("clients = ['*']\nrepositories = ['docker.io']\nallow = true"),
            "`docker.io`: begin with the registry",
        ),
        (
            rule("clients = ['*']\nrepositories = ['ghcr.io/Team']\nallow = true"),
            "`Team` matches no repository",
        ),
        (
            rule("clients = ['*']\nrepositories = ['**']\nallow = true\npull = 1"),
            "access.rules[0].pull: unknown key",
        ),
    ] {
        let errors = errors(load(&text));
        assert!(
            errors[0].contains(told),
            "{text}\n  told: {}\n  want: {told}",
            errors[0]
        );
        assert_eq!(errors.len(), 1, "{text}: {errors:#?}");
        assert!(
            !errors[0].contains("hunter2") && !errors[0].contains("apr1"),
            "{}",
            errors[0]
        );
    }
}
