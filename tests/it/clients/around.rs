//! Around the mirror: a client may turn to the registry itself when the mirror is away, unless it was told never to. That
//! also shows that the tripwire sees it, in whose silence the other tests believe.

use super::node::{Node, Site};
use super::upstream::docker_hub;
use super::{AMD64, APP};
use crate::harness::mirror_of;

const HUB: [&str; 2] = ["--registry", "docker.io"];

/// What a client asks of others when it pulls while its mirror is away, in vain.
async fn asked_elsewhere<N: Node>(options: &[&str]) -> Vec<String> {
    let origin = docker_hub().await;
    let forebay = mirror_of(&origin).await;
    let address = forebay.address;
    let site = Site::with(address, options).await;
    forebay.stop().await;
    let node = N::start(&site).await;
    let pulled = node.pull(&format!("docker.io/{APP}:v1"), AMD64).await;
    let error = pulled.expect_err("there is no one to pull from");
    let mirror = address.to_string();
    assert!(
        error.contains(&mirror) || !site.tripwire.touched().is_empty(),
        "it tried nothing: {error}"
    );
    node.stop().await;
    site.tripwire.touched()
}

/// With the configuration that the program writes by default, the registry is asked instead.
pub(super) async fn falls_back<N: Node>() {
    let asked = asked_elsewhere::<N>(&HUB).await;
    let registry = |line: &String| line.starts_with("CONNECT registry-1.docker.io:443 ");
    assert!(asked.iter().any(registry), "it asked only {asked:?}");
}

/// With `--no-fallback`, nobody is.
pub(super) async fn never_falls_back<N: Node>() {
    let asked = asked_elsewhere::<N>(&[&HUB[..], &["--no-fallback"]].concat()).await;
    assert_eq!(asked, Vec::<String>::new());
}
