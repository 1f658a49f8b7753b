//! A mirror on another machine: in a network of the test's own it has an address that is no loopback. dockerd takes
//! plain HTTP and any certificate from its own machine without being told to.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use forebay_loadtest::origin::Origin;

use super::containerd::Containerd;
use super::dockerd::Dockerd;
use super::node::{Node, Site};
use super::podman::Podman;
use super::upstream::{docker_hub, given};
use super::{AMD64, APP, wanted};
use crate::harness::{Apart, Setup, authority, mirror_of, tls_before};

/// The other machine, as far as clients can tell.
const MACHINE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const HUB: &str = "docker.io";
/// Whether this is the network of the test's own.
async fn apart(test: &str) -> bool {
    let apart = Apart::new(format!("clients::apart::{test}"));
    apart.addresses([MACHINE]).enter().await
}

/// A pull that goes through the mirror and to nobody else.
async fn pulls<N: Node>(node: &N, site: &Site, origin: &Origin, from: &str) {
    let pulled = node.pull(&format!("{from}/{APP}:v1"), AMD64).await;
    pulled.unwrap_or_else(|error| panic!("{error}\n{}", node.log()));
    let image = origin.image(APP, "v1").linux("amd64").clone();
    assert!(node.has(&image).await, "it does not have the image");
    assert_eq!(given(origin), (2, 4), "manifests and blobs");
    assert_eq!(site.tripwire.touched(), Vec::<String>::new());
}

/// A pull that does not get as far as a request to the mirror, for a reason that the client states.
async fn refuses<N: Node>(node: &N, origin: &Origin, from: &str, reason: &str) {
    let pulled = node.pull(&format!("{from}/{APP}:v1"), AMD64).await;
    let said = pulled.expect_err("it has no way to pull") + &node.log();
    assert!(said.contains(reason), "{said}");
    assert_eq!(origin.counts().total(), 0);
}

fn without_insecure_registries(root: &Path, mirror: &str) {
    let file = root.join("etc/docker/daemon.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let key = config
        .as_object_mut()
        .unwrap()
        .remove("insecure-registries");
    assert_eq!(key, Some(serde_json::json!([mirror])), "{text}");
    std::fs::write(&file, config.to_string()).unwrap();
}

/// A mirror is asked as its URL says. A host that an image's name begins with is asked over TLS, until told otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn dockerd_needs_each_of_its_keys_for_plain_http_from_another_machine() {
    let name = "dockerd_needs_each_of_its_keys_for_plain_http_from_another_machine";
    if !(wanted(Dockerd::PROGRAMS) && wanted(&["ip"]) && apart(name).await) {
        return;
    }
    let origin = docker_hub().await;
    let setup = Setup::new(&origin).listen((MACHINE, 0).into());
    let forebay = setup.start().await;
    let mirror = forebay.address.to_string();
    let site = Site::new(forebay.address).await;
    let edit = |root: &Path| without_insecure_registries(root, &mirror);
    let node = Dockerd::start_edited(&site, edit).await;
    let reason = "http: server gave HTTP response to HTTPS client";
    refuses(&node, &origin, &mirror, reason).await;
    pulls(&node, &site, &origin, HUB).await;
    node.stop().await;

    for from in [HUB, &mirror] {
        let node = Dockerd::start(&site).await;
        pulls(&node, &site, &origin, from).await;
        node.stop().await;
    }
}

/// With TLS before the mirror, from an authority that the client is told of, or not.
async fn trusts_whom_it_is_told_to<N: Node>() {
    let origin = docker_hub().await;
    let forebay = mirror_of(&origin).await;
    let front = tls_before(forebay.address.to_string(), MACHINE).await;
    let hub = ["--registry", HUB];
    let site = Site::over_tls(front, &hub).await;
    let node = N::start(&site).await;
    let reason = "x509: certificate signed by unknown authority";
    refuses(&node, &origin, HUB, reason).await;
    node.stop().await;

    let authority = authority();
    let told = [&hub[..], &["--ca", authority.to_str().unwrap()]].concat();
    let site = Site::over_tls(front, &told).await;
    let node = N::start(&site).await;
    pulls(&node, &site, &origin, HUB).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dockerd_trusts_the_authority_that_it_is_told_of() {
    let name = "dockerd_trusts_the_authority_that_it_is_told_of";
    if wanted(Dockerd::PROGRAMS) && wanted(&["ip"]) && apart(name).await {
        trusts_whom_it_is_told_to::<Dockerd>().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_trusts_the_authority_that_it_is_told_of() {
    let name = "containerd_trusts_the_authority_that_it_is_told_of";
    if wanted(Containerd::PROGRAMS) && wanted(&["ip"]) && apart(name).await {
        trusts_whom_it_is_told_to::<Containerd>().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_trusts_the_authority_that_it_is_told_of() {
    let name = "podman_trusts_the_authority_that_it_is_told_of";
    if wanted(Podman::PROGRAMS) && wanted(&["ip"]) && apart(name).await {
        trusts_whom_it_is_told_to::<Podman>().await;
    }
}
