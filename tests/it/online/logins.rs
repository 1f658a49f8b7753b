//! Logins: which one it is, where its token comes from, and why it is refused or not to be had.

use std::os::unix::fs::PermissionsExt as _;

use forebay_loadtest::cloud::{Aws, Key};
use forebay_loadtest::origin::{
    Auth, Authorization, Fault, Kind, Origin, Reply, Server, TokenAuth,
};

use super::{PASSWORD, logged_in, look, with_login};
use crate::harness::Setup;

#[tokio::test(flavor = "multi_thread")]
async fn a_good_login_is_told_by_its_user_and_by_who_gives_the_token() {
    let basic = with_login(Auth::Basic).await;
    let found = look(&logged_in(&basic), &["docker.io"]).await;
    found.is_well(&["ok    login     user `ci` (`username`) is accepted"]);
    let token = with_login(Auth::token()).await;
    let found = look(&logged_in(&token), &["docker.io"]).await;
    let url = token.token_url();
    let service = url.strip_prefix("http://").unwrap();
    let service = service.split('/').next().unwrap();
    let seen = format!("user `ci` (`username`) gets a token of {service}, which is accepted");
    found.is_well(&[&seen]);
    let scopes = token.requests_for(Kind::Token);
    assert!(!scopes[0].target.contains("scope"), "{}", scopes[0].target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_by_whoever_refuses_it() {
    for (auth, words, pings) in [
        (
            Auth::Basic,
            "the login is refused: the registry answered 401",
            2,
        ),
        (Auth::token(), "the token service refuses the login", 1),
    ] {
        let origin = with_login(auth).await;
        origin.set_password("ci", "another");
        let found = look(&logged_in(&origin), &["docker.io", "docker.io/team/app:v1"]).await;
        found.fails("login", &[words, "`password_file`"]);
        let counts = origin.counts();
        assert_eq!(counts.requests(Kind::Ping), pings);
        assert!(counts.total() <= 2, "a refused login is not tried again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_repeats_the_login_is_not_repeated() {
    let origin = with_login(Auth::Basic).await;
    let words = format!("no {PASSWORD}, no Y2k6{}", "Y2FuYXJ5LXBhc3N3b3Jk");
    let reply = Reply::error(403, "DENIED", &words);
    origin.on(Kind::Ping).always(Fault::Answer(reply));
    let found = look(&logged_in(&origin), &["docker.io"]).await;
    found.fails("login", &["its message is withheld"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_registry_refuses_is_told() {
    let origin = with_login(Auth::token()).await;
    let reply = Fault::Answer(Reply::error(403, "DENIED", "suspended"));
    origin.on(Kind::Ping).always(reply);
    let found = look(&logged_in(&origin), &["docker.io"]).await;
    found.fails("login", &["the login is refused", "suspended"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_on_a_foreign_domain_gets_nothing_and_is_named_with_the_key_that_trusts_it() {
    let origin = with_login(Auth::Token(TokenAuth {
        realm: Some("http://auth.elsewhere.example/token".to_owned()),
        ..TokenAuth::default()
    }))
    .await;
    let found = look(&logged_in(&origin), &["docker.io"]).await;
    found.fails("login", &["auth.elsewhere.example", "trusted_realms"]);
    assert_eq!(origin.requests()[0].authorization, Authorization::None);
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_in_trouble_is_told_apart_from_its_registry() {
    let origin = with_login(Auth::token()).await;
    let service = origin.token_url();
    let service = service.strip_prefix("http://").unwrap();
    let service = service.split('/').next().unwrap().to_owned();
    let asked = format!("asks for a token of {service}");
    for (fault, said) in [
        (Some(Fault::status(503)), "the token service answered 503"),
        (Some(Fault::status(429)), "wait"),
        (Some(Fault::Answer(super::page(200))), "is not JSON"),
        (Some(Fault::hang()), "no answer within 300ms"),
        (None, "Connection refused"),
    ] {
        match fault {
            Some(fault) => drop(origin.on(Kind::Token).once(fault)),
            None => origin.stop_server(Server::Token).await,
        }
        let setup = logged_in(&origin).upstream("timeouts = { first_byte = \"300ms\" }");
        let found = look(&setup, &["docker.io"]).await;
        found.says(&[&asked]);
        found.fails("login", &[said, &service]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_needs_a_token_without_a_repository() {
    let origin = with_login(Auth::token()).await;
    let reply = Reply::error(403, "DENIED", "requested access to the resource is denied");
    origin.on(Kind::Token).once(Fault::Answer(reply));
    let found = look(&Setup::new(&origin), &["docker.io"]).await;
    found.says(&[
        "note  login     anonymous (no credentials are set); ",
        "name an image",
    ]);
    assert_eq!(found.code, Some(0), "{}", found.text);
}

/// A mirror that has its login from docker's file and from a helper: a shell script.
fn with_helper(origin: &Origin, home: &std::path::Path, script: Option<&str>) -> Setup {
    std::fs::write(home.join("config.json"), r#"{"credsStore": "stub"}"#).unwrap();
    if let Some(script) = script {
        let path = home.join("docker-credential-stub");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::var("PATH").unwrap_or_default();
    Setup::new(origin)
        .upstream("credentials = \"docker-config\"")
        .env("DOCKER_CONFIG", home)
        .env("PATH", format!("{}:{path}", home.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_a_helper_is_told_with_the_file_that_names_it() {
    let origin = with_login(Auth::Basic).await;
    let home = tempfile::tempdir().unwrap();
    let patient = "helper_timeout = \"1m\"";
    let script = format!(r#"echo '{{"Username":"ci","Secret":"{PASSWORD}"}}'"#);
    let found = look(
        &with_helper(&origin, home.path(), Some(&script)).upstream(patient),
        &["docker.io"],
    )
    .await;
    let file = home.path().join("config.json");
    found.is_well(&[&format!("user `ci` ({}) is accepted", file.display())]);
    let script = "echo 'credentials not found in native keychain'; exit 1";
    let found = look(
        &with_helper(&origin, home.path(), Some(script)).upstream(patient),
        &["docker.io"],
    )
    .await;
    found.fails(
        "login",
        &["anonymous (no login in ", "asks for a password", "log in"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_helper_is_told_with_what_is_wrong_with_it() {
    const HANG: &str = "exec sleep 600";
    for (script, said) in [
        (None, "can't be run: No such file or directory"),
        (Some(HANG), "has not answered within 2s"),
        (
            Some("echo canary { garbage"),
            "prints something else than a login",
        ),
        (
            Some("echo the keychain is locked; exit 1"),
            "fails: the keychain is locked",
        ),
    ] {
        let origin = with_login(Auth::token()).await;
        let home = tempfile::tempdir().unwrap();
        let patience = if script == Some(HANG) { "2s" } else { "1m" };
        let setup = with_helper(&origin, home.path(), script);
        let setup = setup.upstream(&format!("helper_timeout = {patience:?}"));
        let found = look(&setup, &["docker.io"]).await;
        let told = format!("the credential helper docker-credential-stub {said}");
        found.fails("login", &[&told, "`helper_timeout`"]);
        assert_eq!(
            origin.counts().requests(Kind::Token),
            0,
            "nobody is asked without it"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_aws_key_is_told() {
    const REGISTRY: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let origin = Origin::builder().auth(Auth::Basic).user("AWS", PASSWORD);
    let origin = origin.start().await.unwrap();
    let key = Key::new("AKIDCANARY", "canary-key", None);
    let aws = Aws::start(key, PASSWORD).await.unwrap();
    let lines = format!("credentials = \"ecr\"\necr_endpoint = {:?}", aws.url());
    let setup = || {
        Setup::with_endpoint("http://127.0.0.1:9")
            .also(REGISTRY, &origin, &lines)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    };
    let with_key = |id: &str| {
        setup()
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", "canary-key")
    };
    let found = look(&with_key("AKIDCANARY"), &[REGISTRY]).await;
    found.is_well(&["user `AWS` (Amazon ECR's API) is accepted"]);
    let found = look(&with_key("AKIDOTHER"), &[REGISTRY]).await;
    found.fails(
        "login",
        &["UnrecognizedClientException", "ecr:GetAuthorizationToken"],
    );
    let found = look(&setup(), &[REGISTRY]).await;
    found.fails("login", &["no AWS key is found", "`aws_profile`"]);
}
