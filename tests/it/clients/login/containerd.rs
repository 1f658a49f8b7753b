//! containerd, which is told in `hosts.toml` what to send a mirror, or on `ctr`'s command line.

use super::super::containerd::Containerd;
use super::super::node::{Node as _, Site};
use super::super::{AMD64, APP, wanted};
use super::{
    ALICE, CERTIFICATE, CI, Guarded, HERE, NEEDED, PASSWORD, REFUSALS, TOKEN, WRONG, basic,
};
use crate::harness::client_certificate;

const HUB: &str = "docker.io";

/// A mirror, and a containerd that it refuses.
async fn refused() -> (Guarded, Site, Containerd) {
    let guarded = Guarded::start(HERE).await;
    let site = guarded.site(&["--no-fallback"]).await;
    let node = Containerd::start(&site).await;
    guarded.refuses(&node, HUB, NEEDED).await;
    (guarded, site, node)
}

/// Adds to what the program wrote: lines of the mirror's own table, and a table after it.
fn edit(node: &Containerd, lines: &str, table: &str) {
    let file = node.certs().join("docker.io/hosts.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let known = "  capabilities = ";
    assert!(text.contains(known), "{text}");
    let text = text.replace(known, &format!("{lines}{known}")) + table;
    std::fs::write(&file, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_sends_the_header_that_it_is_told_to() {
    if !wanted(Containerd::PROGRAMS) {
        return;
    }
    let sent = [
        (format!("Bearer {TOKEN}"), CI),
        (format!("Basic {}", basic("ci", TOKEN)), CI),
        (format!("Basic {}", basic("alice", PASSWORD)), ALICE),
    ];
    for (header, who) in sent {
        let (guarded, site, node) = refused().await;
        let host = guarded.host();
        let table = format!("[host.\"https://{host}\".header]\n  authorization = \"{header}\"\n");
        edit(&node, "", &table);
        guarded.is_pulled_from(&node, &site, HUB, who).await;
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_shows_the_certificate_that_it_is_told_to() {
    if !wanted(Containerd::PROGRAMS) {
        return;
    }
    let (guarded, site, node) = refused().await;
    let [certificate, key] = client_certificate();
    edit(
        &node,
        &format!("  client = [[{certificate:?}, {key:?}]]\n"),
        "",
    );
    guarded.is_pulled_from(&node, &site, HUB, CERTIFICATE).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctr_sends_the_mirror_the_login_of_its_command_line() {
    if !wanted(Containerd::PROGRAMS) {
        return;
    }
    let (guarded, site, node) = refused().await;
    let pull = async |login: &str| {
        let image = format!("{HUB}/{APP}:v1");
        node.pull_with(&image, &["--platform", AMD64, "--user", login])
            .await
    };
    let before = guarded.forebay.metric(REFUSALS, WRONG).await;
    let said = pull("alice:wrong").await.unwrap_err();
    guarded.has_refused(before, WRONG, &said).await;
    let before = guarded.forebay.log().len();
    pull(&format!("alice:{PASSWORD}")).await.unwrap();
    guarded.until_pulled_as(ALICE, before).await;
    let image = guarded.origin.image(APP, "v1").linux("amd64").clone();
    assert!(node.has(&image).await);
    assert_eq!(site.tripwire.touched(), Vec::<String>::new());
    node.stop().await;
}
