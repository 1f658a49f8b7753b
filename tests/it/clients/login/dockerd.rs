//! dockerd, which has certificates in `certs.d`, logins for hosts that an image's name begins with, and no logins for
//! mirrors.

use std::path::Path;

use super::super::dockerd::Dockerd;
use super::super::node::Node as _;
use super::super::{APP, attempt, wanted};
use super::{
    ALICE, AMD64, CERTIFICATE, Guarded, MACHINE, NEEDED, PASSWORD, REFUSALS, WRONG, add_own, basic,
    keeps_secrets,
};
use crate::harness::Apart;

const HUB: &str = "docker.io";

/// Whether this is the network of the test's own.
pub(super) async fn apart(test: &str) -> bool {
    let apart = Apart::new(format!("clients::login::{test}"));
    wanted(Dockerd::PROGRAMS) && wanted(&["ip"]) && apart.addresses([MACHINE]).enter().await
}

/// What `docker login` keeps of a login for Docker Hub.
pub(super) fn keep_login_for_docker_hub(root: &Path, user: &str, password: &str) {
    let login = serde_json::json!({"auth": basic(user, password)});
    let config = serde_json::json!({"auths": {"https://index.docker.io/v1/": login}});
    std::fs::write(root.join("config.json"), config.to_string()).unwrap();
}

/// Whether it turned to Docker Hub itself.
pub(super) fn went_on(touched: &[String]) -> bool {
    let registry = |line: &String| line.starts_with("CONNECT registry-1.docker.io:443 ");
    touched.iter().any(registry)
}

#[tokio::test(flavor = "multi_thread")]
async fn dockerd_shows_its_mirror_the_certificate_that_is_there_for_it() {
    if !apart("dockerd::dockerd_shows_its_mirror_the_certificate_that_is_there_for_it").await {
        return;
    }
    let guarded = Guarded::start(MACHINE).await;
    let site = guarded.site(&[]).await;
    let place = format!("etc/docker/certs.d/{}", guarded.host());
    let node = Dockerd::start_edited(&site, |root| add_own(&root.join(place))).await;
    guarded.is_pulled_from(&node, &site, HUB, CERTIFICATE).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dockerd_pulls_by_the_mirrors_own_name_with_the_login_for_it() {
    if !apart("dockerd::dockerd_pulls_by_the_mirrors_own_name_with_the_login_for_it").await {
        return;
    }
    let guarded = Guarded::start(MACHINE).await;
    let site = guarded.site(&[]).await;
    let node = Dockerd::start(&site).await;
    let host = guarded.host();
    let by = format!("{host}/{HUB}");
    guarded.refuses(&node, &by, NEEDED).await;
    let log_in = async |password| {
        let mut docker = node.docker();
        docker.args([
            "login",
            "--username",
            "alice",
            "--password",
            password,
            &host,
        ]);
        attempt(&mut docker).await
    };
    let before = guarded.forebay.metric(REFUSALS, WRONG).await;
    let said = log_in("wrong").await.unwrap_err();
    guarded.has_refused(before, WRONG, &said).await;
    let said = log_in(PASSWORD).await.unwrap();
    assert!(said.contains("Login Succeeded"), "{said}");
    guarded.is_pulled_from(&node, &site, &by, ALICE).await;
    node.stop().await;
}

/// What `config/access.md` warns of: the login for Docker Hub is what a mirror that asks gets, and a mirror where it is
/// wrong is left aside.
#[tokio::test(flavor = "multi_thread")]
async fn dockerd_sends_a_mirror_that_asks_the_login_for_docker_hub() {
    if !apart("dockerd::dockerd_sends_a_mirror_that_asks_the_login_for_docker_hub").await {
        return;
    }
    let guarded = Guarded::start(MACHINE).await;
    let other = "canary-of-docker-hub";
    for (password, why) in [(None, NEEDED), (Some(other), WRONG)] {
        let site = guarded.site(&[]).await;
        let edit = |root: &Path| {
            if let Some(password) = password {
                keep_login_for_docker_hub(root, "alice", password);
            }
        };
        let node = Dockerd::start_edited(&site, edit).await;
        let before = guarded.forebay.metric(REFUSALS, why).await;
        let pulled = node.pull(&format!("{HUB}/{APP}:v1"), AMD64).await;
        let said = pulled.expect_err("Docker Hub itself is away") + &node.log();
        guarded.has_refused(before, why, &said).await;
        assert!(went_on(&site.tripwire.touched()), "{said}");
        node.stop().await;
    }
    keeps_secrets(&guarded.forebay, &[other]);

    let site = guarded.site(&[]).await;
    let edit = |root: &Path| keep_login_for_docker_hub(root, "alice", PASSWORD);
    let node = Dockerd::start_edited(&site, edit).await;
    guarded.is_pulled_from(&node, &site, HUB, ALICE).await;
    node.stop().await;
}
