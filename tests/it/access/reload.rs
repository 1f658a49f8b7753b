//! SIGHUP: who is kept out stays so, whatever the file says that is read then.

use http::StatusCode;
use tempfile::tempdir;

use super::{PASSWORD, ask, basic, guarded, write_users};
use crate::harness::{Forebay, manifest_path, small_images};

const NAME: &str = "library/app";

/// The configuration without what stands from `from` to the next table of another name.
fn cut(forebay: &Forebay, from: &str) {
    let text = std::fs::read_to_string(forebay.config_file()).unwrap();
    let at = text.find(from).unwrap();
    let rest = text[at..].find("[upstreams").unwrap();
    std::fs::write(
        forebay.config_file(),
        [&text[..at], &text[at + rest..]].concat(),
    )
    .unwrap();
}

async fn status(forebay: &Forebay, login: Option<&str>) -> StatusCode {
    let path = manifest_path(NAME, "v0");
    ask(&forebay.client(), http::Method::GET, &path, login)
        .await
        .status
}

async fn needs_restart(forebay: &Forebay) -> serde_json::Value {
    let status = forebay.admin().get("/api/status").await.text();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status["configuration"]["needs_restart"].clone()
}

/// A file of which half was written when it was read opened the mirror to everybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_without_access_opens_nothing() {
    let origin = small_images(1).start().await.unwrap();
    let dir = tempdir().unwrap();
    let forebay = guarded(&origin, dir.path(), "").start().await;
    let (old, new) = (basic("alice", PASSWORD), basic("alice", "new"));
    assert_eq!(status(&forebay, Some(&old)).await, StatusCode::OK);
    write_users(dir.path(), &["alice"], "new");
    let files = "forebay_access_files_total";
    forebay
        .until_metric(files, "result=\"new\"", |count| count > 0.0)
        .await;
    // What was read of its files since the start is what goes on counting.
    std::fs::write(dir.path().join("users"), "alice:plain\n").unwrap();
    forebay
        .until_metric(files, "result=\"unusable\"", |count| count > 0.0)
        .await;
    cut(&forebay, "[access]");
    forebay.reloaded().await;
    for (login, wanted) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some(&old), StatusCode::UNAUTHORIZED),
        (Some(&new), StatusCode::OK),
    ] {
        let login = login.map(String::as_str);
        assert_eq!(status(&forebay, login).await, wanted, "{login:?}");
    }
    assert_eq!(needs_restart(&forebay).await, serde_json::json!(["access"]));
    let told = "these keys have changed, and count after a restart only";
    forebay.until_logged(told, |log| log.contains(told)).await;
}

/// Without rules whoever is known may pull everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_without_its_rules_lets_nobody_see_more() {
    let origin = small_images(1).start().await.unwrap();
    let dir = tempdir().unwrap();
    let forebay = guarded(&origin, dir.path(), "").start().await;
    let (alice, bob) = (basic("alice", PASSWORD), basic("bob", PASSWORD));
    cut(&forebay, "[[access.rules]]");
    forebay.reloaded().await;
    for (login, wanted) in [(&alice, StatusCode::OK), (&bob, StatusCode::FORBIDDEN)] {
        assert_eq!(status(&forebay, Some(login)).await, wanted);
    }
    assert_eq!(
        needs_restart(&forebay).await,
        serde_json::json!(["access.rules"])
    );
}
