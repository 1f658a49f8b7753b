//! docker's and podman's file of logins.

use forebay_loadtest::origin::{Auth, Authorization, Kind, Refresh, TokenAuth, When};
use http::StatusCode;

use super::home::{Home, pulls, two_users};
use super::{manifest, manifest_of};

/// An entry with a user and a password.
fn entry(user: &str, password: &str) -> String {
    format!(r#"{{"username": {user:?}, "password": {password:?}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_dockers_file_opens_a_private_repository() {
    for auth in [Auth::token(), Auth::Basic] {
        let origin = two_users(auth).await;
        let home = Home::new();
        home.log_in(
            &origin,
            r#"{"auths": {"https://HOST/v2/": {"auth": "Y2k6Y2FuYXJ5LXNlY3JldA=="}}}"#,
        );
        pulls(&home.mirror(&origin).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_token_is_posted_and_a_service_that_knows_get_only_gets_it_so() {
    for (refresh, asked) in [(Refresh::Posted, 1), (Refresh::Unknown, 2)] {
        let auth = Auth::Token(TokenAuth {
            refresh,
            ..TokenAuth::default()
        });
        let origin = two_users(auth).await;
        let home = Home::new();
        home.log_in(
            &origin,
            r#"{"auths": {"HOST": {"identitytoken": "canary-secret"}}}"#,
        );
        pulls(&home.mirror(&origin).await).await;
        let tokens = origin.requests_for(Kind::Token);
        assert_eq!(tokens.len(), asked);
        assert_eq!(tokens[0].method, "POST");
        assert_eq!(tokens[0].authorization, Authorization::None);
        assert!(!tokens[0].target.contains("canary"), "in no address");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_is_read_again_and_one_that_is_gone_is_remembered() {
    let origin = two_users(Auth::Basic).await;
    let home = Home::new();
    let log_in = |password| {
        let entry = entry("ci", password);
        home.log_in(&origin, &format!(r#"{{"auths": {{"HOST": {entry}}}}}"#));
    };
    log_in("canary-secret");
    let forebay = home.mirror(&origin).await;
    pulls(&forebay).await;
    origin.set_password("ci", "canary-rotated");
    log_in("canary-rotated");
    let answer = manifest_of(&forebay, "team/other").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", forebay.log());
    std::fs::remove_file(home.path().join("config.json")).unwrap();
    let answer = manifest_of(&forebay, "third/app").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", forebay.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_path_below_a_registry_has_the_login_of_its_own() {
    let origin = two_users(Auth::Basic).await;
    let home = Home::new();
    let (ci, third) = (entry("ci", "canary-secret"), entry("third", "canary-third"));
    home.log_in(
        &origin,
        &format!(r#"{{"auths": {{"HOST": {third}, "HOST/team": {ci}}}}}"#),
    );
    let forebay = home.mirror(&origin).await;
    for name in ["team/app", "third/app"] {
        assert_eq!(manifest_of(&forebay, name).await.status, StatusCode::OK);
    }
    for (name, login) in [
        ("team/app", "Basic Y2k6Y2FuYXJ5LXNlY3JldA=="),
        ("third/app", "Basic dGhpcmQ6Y2FuYXJ5LXRoaXJk"),
    ] {
        let asked = origin.requests_for(When::from(Kind::ManifestGet).repository(name));
        let sent = asked.last().unwrap().header("authorization");
        assert_eq!(sent, [login], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_auth_file_comes_before_dockers_own() {
    let origin = two_users(Auth::Basic).await;
    let (home, other) = (Home::new(), Home::new());
    for (home, password) in [(&home, "wrong"), (&other, "canary-secret")] {
        let entry = entry("ci", password);
        home.log_in(&origin, &format!(r#"{{"auths": {{"HOST": {entry}}}}}"#));
    }
    let setup = home.setup(&origin);
    let setup = setup.env("REGISTRY_AUTH_FILE", other.path().join("config.json"));
    pulls(&setup.start().await).await;
}

/// Whoever had docker's logins used was told to set `username` and `password_file`, which is refused beside them.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_the_file_lacks_is_told_as_such() {
    let origin = two_users(Auth::Basic).await;
    let home = Home::new();
    home.log_in(&origin, "{}");
    let answer = manifest(&home.mirror(&origin).await).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let text = answer.text();
    assert!(text.contains("docker-config has none for it"), "{text}");
    assert!(!text.contains("set username"), "{text}");
}
