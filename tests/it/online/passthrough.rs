//! Upstreams at which each client logs in for itself: there is no login to try.

use forebay_loadtest::origin::{Auth, Authorization, Fault, Kind, Origin, Reply, TokenAuth};

use super::{look, with_login};
use crate::harness::Setup;

fn passes(origin: &Origin) -> Setup {
    Setup::new(origin).upstream("access = \"passthrough\"")
}

/// It was said to be asked as nobody, to set credentials, which it takes none of, and that its images could not be pulled.
#[tokio::test(flavor = "multi_thread")]
async fn clients_log_in_for_themselves_and_what_needs_a_login_is_no_mistake() {
    for (auth, said) in [
        (Auth::Basic, "with a password"),
        (Auth::token(), "gives tokens"),
    ] {
        let origin = with_login(auth).await;
        let found = look(&passes(&origin), &["docker.io", "docker.io/team/app:v1"]).await;
        found.is_well(&[
            "ok    login     each client logs in for itself (`access`)",
            said,
            "note  image     team/app:v1: not without a login",
        ]);
        assert!(!found.text.contains("credentials"), "{}", found.text);
        for request in origin.requests() {
            assert_ne!(request.authorization, Authorization::Basic, "{request:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_that_refuses_nobody_s_login_answers() {
    let origin = with_login(Auth::token()).await;
    let reply = Reply::error(401, "UNAUTHORIZED", "who are you?");
    origin.on(Kind::Token).always(Fault::Answer(reply));
    let found = look(&passes(&origin), &["docker.io"]).await;
    found.is_well(&["ok    login     each client logs in for itself", "answers"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_that_no_clients_login_would_be_shown_to_is_told() {
    let origin = with_login(Auth::Token(TokenAuth {
        realm: Some("http://auth.elsewhere.example/token".to_owned()),
        ..TokenAuth::default()
    }))
    .await;
    let found = look(&passes(&origin), &["docker.io"]).await;
    found.fails("login", &["auth.elsewhere.example", "trusted_realms"]);
}

/// What lets everybody in says of every login that it may see everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_asks_for_no_login_is_looked_at_twice() {
    let origin = Origin::builder().start().await.unwrap();
    let found = look(&passes(&origin), &["docker.io"]).await;
    found.says(&["note  login     each client logs in", "the registry itself"]);
    assert_eq!(found.code, Some(0), "{}", found.text);
}
