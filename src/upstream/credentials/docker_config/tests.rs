//! Which login of a file counts for a repository, and how a file names it.

use super::*;
use crate::config::Secret;

const FILE: &str = r#"{
    "auths": {
        "https://index.docker.io/v1/": {"auth": "aHViOmEtc2VjcmV0"},
        "ghcr.io": {"auth": "Z2g6YjpjAAA="},
        "ghcr.io/team": {"username": "team", "password": "d"},
        "ghcr.io/team/app": {"auth": "YXBwOmU="},
        "https://registry.example:5000/v2/": {"identitytoken": "refresh", "auth": "dTpw"},
        "helped.example": {},
        "odd.example": {"auth": "%%%"},
        "bare.example": {"auth": "bm9jb2xvbg=="},
        "bearer.example": {"registrytoken": "t"}
    },
    "credHelpers": {"gcr.io": "gcloud"},
    "credsStore": "desktop",
    "HttpHeaders": {"User-Agent": "x"}
}"#;

fn file() -> File {
    File::parse(FILE.as_bytes()).unwrap()
}

fn login(username: &str, password: &str) -> Login {
    Login::Password {
        username: username.to_owned(),
        password: Secret::new(password),
    }
}

/// The place of the login for a repository, as it is looked for.
fn place(registry: &str, name: &str) -> String {
    let registry = Place::registry_at(registry);
    file()
        .most_specific(&registry, &name.parse().unwrap())
        .to_string()
}

#[test]
fn keys_name_a_registry_in_every_way_that_docker_and_podman_write() {
    for (key, means) in [
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("http://Registry.Example:5000/v2/", "registry.example:5000"),
        ("registry.example/v1", "registry.example"),
        ("ghcr.io/team", "ghcr.io/team"),
        ("docker.io/library/", "docker.io/library"),
    ] {
        assert_eq!(Place::of_key(key).to_string(), means, "{key}");
    }
    assert_eq!(
        Place::registry_at("registry-1.docker.io").server(),
        "https://index.docker.io/v1/"
    );
    assert_eq!(Place::registry_at("ghcr.io").server(), "ghcr.io");
}

#[test]
fn the_longest_path_that_a_repository_is_in_counts() {
    assert_eq!(place("ghcr.io", "team/app"), "ghcr.io/team/app");
    assert_eq!(place("ghcr.io", "team/app/sub"), "ghcr.io/team/app");
    assert_eq!(place("ghcr.io", "team/apple"), "ghcr.io/team");
    assert_eq!(place("ghcr.io", "teams/app"), "ghcr.io");
    assert_eq!(place("registry-1.docker.io", "library/nginx"), "docker.io");
    assert_eq!(place("unknown.example", "a/b"), "unknown.example");
}

#[test]
fn entries_are_read_in_all_their_forms() {
    let of = |key: &str| file().login(&Place::of_key(key));
    assert_eq!(of("docker.io"), Ok(Some(login("hub", "a-secret"))));
    // A password may hold colons, and old versions of docker pad it.
    assert_eq!(of("ghcr.io"), Ok(Some(login("gh", "b:c"))));
    assert_eq!(of("ghcr.io/team"), Ok(Some(login("team", "d"))));
    assert_eq!(
        of("registry.example:5000"),
        Ok(Some(Login::IdentityToken(Secret::new("refresh"))))
    );
    assert_eq!(of("helped.example"), Ok(None));
    for key in ["odd.example", "bare.example", "bearer.example"] {
        assert!(matches!(of(key), Err(LoginError::Broken(_))), "{key}");
    }
}

#[test]
fn a_registrys_own_helper_comes_before_the_one_for_all() {
    let file = file();
    assert_eq!(file.helper(&Place::of_key("gcr.io")), Some("gcloud"));
    assert_eq!(file.helper(&Place::of_key("ghcr.io")), Some("desktop"));
    assert_eq!(File::default().helper(&Place::of_key("ghcr.io")), None);
}

#[test]
fn nothing_of_a_file_is_printed() {
    let printed = format!("{:?}", file());
    for secret in ["a-secret", "aHVi", "refresh", "YXBw"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
    let broken = r#"{"auths": {"ghcr.io": {"auth": canary}}}"#;
    let error = File::parse(broken.as_bytes()).unwrap_err();
    assert!(!error.contains("canary"), "{error}");
    assert!(error.contains("line 1"), "{error}");
}

/// A path's entry came first, and podman and forebay read one repository with different logins.
#[test]
fn a_registrys_own_helper_comes_before_an_entry_for_a_path_as_in_podman() {
    let place = |helpers: &str| {
        let text = format!(r#"{{"auths": {{"ghcr.io/team": {{"auth": "YTpi"}}}}, {helpers}}}"#);
        let file = File::parse(text.as_bytes()).unwrap();
        let (registry, name) = (Place::of_key("ghcr.io"), "team/app".parse().unwrap());
        file.most_specific(&registry, &name).to_string()
    };
    assert_eq!(place(r#""credHelpers": {"ghcr.io": "own"}"#), "ghcr.io");
    assert_eq!(place(r#""credHelpers": {"ghcr.io": ""}"#), "ghcr.io/team");
    assert_eq!(place(r#""credsStore": "all""#), "ghcr.io/team");
}

/// An empty name was taken for that of a program, and every pull failed.
#[test]
fn an_empty_helper_means_the_file() {
    let text = r#"{"credHelpers": {"ghcr.io": "", "quay.io": null}, "credsStore": "all"}"#;
    let file = File::parse(text.as_bytes()).unwrap();
    assert_eq!(file.helper(&Place::of_key("ghcr.io")), None);
    assert_eq!(file.helper(&Place::of_key("quay.io")), None);
    assert_eq!(file.helper(&Place::of_key("gcr.io")), Some("all"));
}

/// Files that docker reads were refused for a null, and with them every login.
#[test]
fn a_null_is_as_good_as_nothing() {
    let nothing = r#"{"auths": null, "credHelpers": null, "credsStore": null}"#;
    File::parse(nothing.as_bytes()).unwrap();
    let entries = r#"{"auths": {
        "ghcr.io": {"auth": null, "identitytoken": null, "username": "u", "password": "p"},
        "quay.io": null
    }}"#;
    let file = File::parse(entries.as_bytes()).unwrap();
    assert_eq!(
        file.login(&Place::of_key("ghcr.io")),
        Ok(Some(login("u", "p")))
    );
    assert_eq!(file.login(&Place::of_key("quay.io")), Ok(None));
}

/// The error named no kind of login, and "no login that can be used" sent people to look for a typing mistake.
#[test]
fn a_registry_token_is_named_in_its_error() {
    let error = file().login(&Place::of_key("bearer.example")).unwrap_err();
    assert!(error.to_string().contains("`registrytoken`"), "{error}");
}
