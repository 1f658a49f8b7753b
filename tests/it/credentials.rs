//! Logins that forebay has to ask for.

mod acr;
mod docker_config;
mod ecr;
mod gcp;
mod helpers;
mod home;
mod password_file;

use forebay_loadtest::origin::{Auth, ImageSpec, Origin};
use http::StatusCode;

use crate::harness::{Answer, Forebay, assert_unseen, manifest_path, secrets_of};

/// An upstream whose `team/app` only this user may read.
async fn private_origin(auth: Auth, user: &str, password: &str) -> Origin {
    origin_of(auth, &[(user, password)], &["team/app"]).await
}

/// An upstream whose repositories only these users may read.
async fn origin_of(auth: Auth, users: &[(&str, &str)], names: &[&str]) -> Origin {
    let mut builder = Origin::docker_hub().auth(auth);
    for (user, password) in users {
        builder = builder.user(user, password);
    }
    for name in names {
        builder = builder.repository(name, |repository| {
            repository.private();
            repository.image("v1", &ImageSpec::default());
        });
    }
    builder.start().await.expect("the origin starts")
}

/// The lines of an upstream at `origin` that logs in at a cloud: which kind it is, and that its login may go there.
fn cloud_login(origin: &Origin, kind: &str) -> String {
    let host = origin.registry_url().replace("http://", "");
    let host = host.trim_end_matches('/');
    format!("credentials = {kind:?}\ntrusted_realms = [{host:?}]")
}

async fn manifest(forebay: &Forebay) -> Answer {
    manifest_of(forebay, "team/app").await
}

async fn manifest_of(forebay: &Forebay, name: &str) -> Answer {
    forebay.client().get(&manifest_path(name, "v1")).await
}

/// Reads the private manifest, and holds the log against all secrets of the origin and those that begin with `canary`.
async fn reads(forebay: &Forebay, origin: &Origin) {
    let answer = manifest(forebay).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", forebay.log());
    let mut secrets = secrets_of(origin);
    assert!(!secrets.is_empty(), "it takes a login");
    secrets.insert("canary".to_owned());
    assert_unseen(&secrets, "the log", &forebay.log());
}

/// Waits until an operator has been told, which may come after the client's answer.
async fn told(forebay: &Forebay, what: &str) {
    forebay.until_logged(what, |log| log.contains(what)).await;
}
