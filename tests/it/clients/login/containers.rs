//! podman, buildah and skopeo, which keep logins in an `auth.json` and certificates in a `certs.d`.

use super::super::buildah::Buildah;
use super::super::containers::Keeper;
use super::super::node::Site;
use super::super::podman::Podman;
use super::super::skopeo::Skopeo;
use super::super::wanted;
use super::{
    ALICE, CERTIFICATE, Guarded, HERE, NEEDED, PASSWORD, REFUSALS, WRONG, add_own, certificates,
};

const HUB: &str = "docker.io";

/// A node of a client that is there and has been refused, with the mirror and the site.
async fn refused<K: Keeper>() -> Option<(Guarded, Site, K)> {
    if !wanted(K::PROGRAMS) {
        return None;
    }
    let guarded = Guarded::start(HERE).await;
    let site = guarded.site(&["--no-fallback"]).await;
    let node = K::start(&site).await;
    guarded.refuses(&node, HUB, NEEDED).await;
    Some((guarded, site, node))
}

/// It is refused, logs in, and pulls with what it kept of that.
async fn logs_in<K: Keeper>() {
    let Some((guarded, site, node)) = refused::<K>().await else {
        return;
    };
    let (certificates, host) = (certificates(guarded.home.path()), guarded.host());
    let log_in = async |password| node.log_in(&certificates, "alice", password, &host).await;
    let before = guarded.forebay.metric(REFUSALS, WRONG).await;
    let said = log_in("wrong").await.unwrap_err();
    guarded.has_refused(before, WRONG, &said).await;
    guarded.refuses(&node, HUB, NEEDED).await;
    let said = log_in(PASSWORD).await.unwrap();
    assert!(said.contains("Login Succeeded"), "{said}");
    guarded.is_pulled_from(&node, &site, HUB, ALICE).await;
    node.stop().await;
}

/// It shows the certificate that is there for the mirror, and pulls with no login.
async fn shows_its_certificate<K: Keeper>() {
    let Some((guarded, site, node)) = refused::<K>().await else {
        return;
    };
    let places = node.home().path().join("etc/containers/certs.d");
    add_own(&places.join(guarded.host()));
    guarded.is_pulled_from(&node, &site, HUB, CERTIFICATE).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_logs_in_and_pulls_with_what_it_kept() {
    logs_in::<Podman>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_pulls_with_its_certificate_and_no_login() {
    shows_its_certificate::<Podman>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buildah_logs_in_and_pulls_with_what_it_kept() {
    logs_in::<Buildah>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buildah_pulls_with_its_certificate_and_no_login() {
    shows_its_certificate::<Buildah>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_logs_in_and_pulls_with_what_it_kept() {
    logs_in::<Skopeo>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_pulls_with_its_certificate_and_no_login() {
    shows_its_certificate::<Skopeo>().await;
}
