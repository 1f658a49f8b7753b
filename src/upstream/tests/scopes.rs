//! Tokens that are refused: because they are old, because they are too small, because they are for
//! another name; what is asked again, how often, and what the operator is told.

use std::sync::Arc;

use forebay_loadtest::origin::{
    Auth, Authorization, Builder, Fault, Kind, Origin, Passwords, Reply, Repository, Scope,
    TokenAuth,
};

use super::{NAME, count, latest, name, origin, password, set_up, settings, upstream_of};
use crate::upstream::{Access, ErrorKind, Upstream, UpstreamError};

/// Docker Hub, whose one repository is for somebody else.
fn somebody_elses() -> Builder {
    Origin::docker_hub()
        .user("user", "pass")
        .user("other", "secret")
        .repository(NAME, |repository| repository.only_for(&["other"]))
}

fn logged_in(origin: &Origin, secret: &str) -> Arc<Upstream> {
    set_up(crate::config::Upstream {
        credentials: password("user", secret),
        ..settings(&[&origin.registry_url()])
    })
}

async fn refused(upstream: &Upstream) -> UpstreamError {
    upstream.get_manifest(&name(), &latest()).await.unwrap_err()
}

/// Requests for manifests and for tokens since the last look.
fn asked(origin: &Origin) -> (u64, u64) {
    let counts = (count(origin, Kind::ManifestGet), count(origin, Kind::Token));
    origin.reset();
    counts
}

/// A registry's answer to a token that it takes no further.
fn challenge(origin: &Origin, status: u16, rest: &str) -> Reply {
    let challenge = format!(
        "Bearer realm=\"{}\",service=\"registry.docker.io\"{rest}",
        origin.token_url()
    );
    Reply::error(status, "UNAUTHORIZED", "authentication required")
        .header("www-authenticate", challenge)
}

#[tokio::test]
async fn a_login_without_the_right_is_told_from_a_wrong_password() {
    let origin = origin(somebody_elses()).await;
    let upstream = logged_in(&origin, "pass");
    let error = refused(&upstream).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!error.is_trouble() && error.is_refusal());
    let told = error.to_string();
    assert!(
        told.contains("the login is accepted, but may not pull library/app"),
        "{told}"
    );
    assert_eq!(asked(&origin), (2, 1));
    // What is too small for its own repository is not kept.
    refused(&upstream).await;
    assert_eq!(asked(&origin), (1, 1));

    let error = refused(&logged_in(&origin, "wrong")).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("refuses the login"), "{error}");

    let error = refused(&upstream_of(&origin)).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let told = error.to_string();
    assert!(told.contains("can't be pulled without a login"), "{told}");
}

#[tokio::test]
async fn a_token_service_that_gives_no_token_is_not_taken_for_a_wrong_password() {
    // As GHCR and GitLab do.
    let origin = origin(Origin::docker_hub().user("user", "pass")).await;
    let denied = Reply::error(403, "DENIED", "requested access to the resource is denied");
    origin.on(Kind::Token).always(Fault::Answer(denied));
    let error = refused(&logged_in(&origin, "pass")).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    let told = error.to_string();
    assert!(
        told.contains("gets no token for repository:library/app:pull"),
        "{told}"
    );
    assert_eq!(asked(&origin), (1, 1));

    let error = refused(&upstream_of(&origin)).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("without a login"), "{error}");
}

#[tokio::test]
async fn an_old_token_that_is_too_small_is_replaced_once_whatever_the_status() {
    for status in [401, 403] {
        let origin = origin(Origin::docker_hub().user("user", "pass")).await;
        let upstream = logged_in(&origin, "pass");
        upstream.get_manifest(&name(), &latest()).await.unwrap();
        asked(&origin);
        let too_small = challenge(&origin, status, ",error=\"insufficient_scope\"");
        let refusal = Fault::Answer(too_small);
        origin.on(Kind::ManifestGet).once(refusal.clone());
        upstream.get_manifest(&name(), &latest()).await.unwrap();
        assert_eq!(asked(&origin), (2, 1), "{status}");

        origin.on(Kind::ManifestGet).always(refusal);
        let error = refused(&upstream).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{status}: {error}");
        assert_eq!(asked(&origin), (2, 1), "{status}");
    }
}

#[tokio::test]
async fn a_plain_403_is_no_challenge() {
    let origin = origin(Origin::docker_hub().user("user", "pass")).await;
    let upstream = logged_in(&origin, "pass");
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    asked(&origin);
    let denied = Reply::error(403, "DENIED", "no");
    origin.on(Kind::ManifestGet).always(Fault::Answer(denied));
    let error = refused(&upstream).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("may not pull"), "{error}");
    assert_eq!(asked(&origin), (1, 0));
}

#[tokio::test]
async fn a_registry_that_does_not_know_its_services_tokens_is_told_so() {
    let origin = origin(Origin::docker_hub().user("user", "pass")).await;
    let invalid = challenge(&origin, 401, ",error=\"invalid_token\"");
    origin.on(Kind::ManifestGet).always(Fault::Answer(invalid));
    let error = refused(&logged_in(&origin, "pass")).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(
        error.to_string().contains("calls the token invalid"),
        "{error}"
    );
    assert_eq!(asked(&origin), (2, 1));
}

#[tokio::test]
async fn a_password_without_the_right_is_told_from_a_wrong_one() {
    let basic = || Origin::builder().auth(Auth::Basic).user("user", "pass");
    let others = basic().repository(NAME, |repository| repository.only_for(&["other"]));
    let origin = origin(others).await;
    let error = refused(&logged_in(&origin, "pass")).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("may not pull"), "{error}");
    let error = refused(&logged_in(&origin, "wrong")).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("refuses the login"), "{error}");
}

fn tokens(change: impl FnOnce(&mut TokenAuth)) -> Builder {
    let mut auth = TokenAuth::default();
    change(&mut auth);
    Origin::builder().auth(Auth::Token(auth))
}

#[tokio::test]
async fn a_registry_that_sees_other_names_gets_tokens_for_those() {
    let origin = origin(tokens(|auth| auth.scope = Scope::Below("library/"))).await;
    let upstream = upstream_of(&origin);
    let pulled = upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(pulled.access, Access::Anonymous);
    let scopes: Vec<String> = origin
        .requests_for(Kind::Token)
        .iter()
        .filter_map(|request| Some(request.target.split_once("scope=")?.1.to_owned()))
        .collect();
    assert_eq!(
        scopes,
        [
            "repository%3Alibrary%2Fapp%3Apull",
            "repository%3Aapp%3Apull"
        ]
    );
    assert_eq!(asked(&origin), (3, 2));
    // From then on it costs no more than any other.
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(asked(&origin), (1, 0));
    origin.expire_tokens();
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(asked(&origin), (2, 1));
}

#[tokio::test]
async fn no_challenge_makes_anybody_ask_for_more_than_pull_or_on_and_on() {
    let origin = origin(Origin::docker_hub().user("user", "pass")).await;
    let greedy = challenge(
        &origin,
        401,
        ",scope=\"repository:other/x:pull,push,delete registry:catalog:*\",error=\"insufficient_scope\"",
    );
    origin.on(Kind::ManifestGet).always(Fault::Answer(greedy));
    let upstream = logged_in(&origin, "pass");
    for cost in [(3, 2), (2, 2)] {
        let error = refused(&upstream).await;
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains("library/app"), "{error}");
        let requests = origin.requests_for(Kind::Token);
        for request in &requests {
            assert!(request.target.ends_with("%3Apull"), "{}", request.target);
        }
        assert_eq!(asked(&origin), cost);
    }
}

#[tokio::test]
async fn a_placeholder_costs_a_private_repository_one_question_more() {
    let builder = tokens(|auth| auth.scope = Scope::Placeholder("user/image"));
    let origin = origin(builder.repository(NAME, Repository::private)).await;
    let upstream = upstream_of(&origin);
    let error = refused(&upstream).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("library/app"), "{error}");
    assert_eq!(asked(&origin), (3, 2));
}

/// Harbor answers a token that has expired with a challenge for a password, and so a public image failed once for everyone
/// without one.
#[tokio::test]
async fn an_expired_token_is_replaced_though_the_registry_asks_for_a_password() {
    let origin = origin(tokens(|auth| auth.passwords = Passwords::Taken)).await;
    let upstream = upstream_of(&origin);
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    origin.expire_tokens();
    asked(&origin);
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(asked(&origin), (2, 1));
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(asked(&origin), (1, 0));
}

#[tokio::test]
async fn a_registry_that_takes_passwords_from_now_on_gets_one() {
    let origin =
        origin(tokens(|auth| auth.passwords = Passwords::Taken).user("user", "pass")).await;
    let upstream = logged_in(&origin, "pass");
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    let basic = Reply::error(401, "UNAUTHORIZED", "who are you?")
        .header("www-authenticate", "Basic realm=\"harbor\"");
    // The old token, its replacement, none.
    let refusals = origin.on(Kind::ManifestGet).before_auth();
    refusals.times(3, Fault::Answer(basic));
    refused(&upstream).await;
    asked(&origin);
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    let requests = origin.requests_for(Kind::ManifestGet);
    let seen: Vec<_> = requests
        .iter()
        .map(|request| request.authorization)
        .collect();
    assert_eq!(seen, [Authorization::None, Authorization::Basic]);
}
