//! Upstreams that we did not write: Debian's `docker-registry` with each way to log in and to store, pulled from cold, warm,
//! and once it is off.

mod seaweed;
pub(crate) mod token;

use forebay_loadtest::origin::{Kind, Origin};

use crate::clients::docker_registry::{
    PASSWORD, PROGRAMS, Registry, files, htpasswd, set_password, source,
};
use crate::clients::{APP, wanted};
use crate::harness::Forebay;
use seaweed::Seaweed;

/// How blobs are answered by a registry that has them, and by one that says where they are.
const GIVEN: u16 = 200;
const REDIRECTED: u16 = 307;

/// The fewest requests that do: of manifests and blobs, and as many that only ask for a login.
fn least(challenges: u64, manifests: u64, blobs: u64, answered: u16) -> Vec<(String, u64)> {
    vec![
        ("GET manifest 401".to_owned(), challenges),
        ("GET manifest 200".to_owned(), manifests),
        (format!("GET blob {answered}"), blobs),
    ]
}

/// A platform of the image, all of it and nothing else.
async fn pull(forebay: &Forebay, content: &Origin, architecture: &str) {
    let image = content.image(APP, "v1");
    let client = forebay.client();
    let index = client.manifest(APP, "v1").await;
    assert!(index.is_exactly(&image.root.digest), "{}", index.text());
    let platform = image.linux(architecture);
    client
        .pulls_manifest(APP, &platform.descriptor.digest)
        .await;
    for blob in platform.blobs() {
        client.pulls(APP, &blob.digest).await;
    }
}

/// Pulls cold and warm, then another platform.
async fn pull_cold_and_warm(
    forebay: &Forebay,
    registry: &Registry,
    content: &Origin,
    answered: u16,
) {
    registry.was_asked(&[], "not yet").await;
    // The index and a platform's manifest; a config and three layers.
    for when in ["cold", "warm"] {
        pull(forebay, content, "amd64").await;
        registry.was_asked(&least(1, 2, 4, answered), when).await;
    }
    pull(forebay, content, "arm64").await;
    let other = least(1, 3, 8, answered);
    registry.was_asked(&other, "another platform").await;
}

async fn pull_without(forebay: &Forebay, registry: &mut Registry, content: &Origin) {
    registry.stop().await;
    for architecture in ["amd64", "arm64"] {
        pull(forebay, content, architecture).await;
    }
    for secret in [PASSWORD, "X-Amz-", "canary-key"] {
        assert!(!forebay.log().contains(secret), "{}", forebay.log());
    }
}

async fn talkative(registry: &Registry) -> Forebay {
    let mirror = registry.mirror().env("FOREBAY_LOG__LEVEL", "trace");
    mirror.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_registry_with_htpasswd_is_pulled_from_once() {
    if !wanted(PROGRAMS) {
        return;
    }
    let content = source().await;
    let root = tempfile::tempdir().unwrap();
    let (storage, auth) = (files(root.path()), htpasswd(root.path()).await);
    let mut registry = Registry::configured(&content, root, &storage, &auth).await;
    let forebay = talkative(&registry).await;
    pull_cold_and_warm(&forebay, &registry, &content, GIVEN).await;
    pull_without(&forebay, &mut registry, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_registrys_new_password_is_taken_in_the_middle_of_a_pull() {
    if !wanted(PROGRAMS) {
        return;
    }
    let content = source().await;
    let (root, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let users = root.path().to_owned();
    let (storage, auth) = (files(root.path()), htpasswd(root.path()).await);
    let registry = Registry::configured(&content, root, &storage, &auth).await;
    let file = ours.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let forebay = registry
        .mirror_with(&format!("password_file = {file:?}"))
        .start()
        .await;
    pull(&forebay, &content, "amd64").await;
    set_password(&users, "canary-other").await;
    std::fs::write(&file, "canary-other").unwrap();
    pull(&forebay, &content, "arm64").await;
    registry.was_asked(&least(2, 3, 8, GIVEN), "rotated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_registry_with_signed_tokens_is_pulled_from_once_with_one_token() {
    if !wanted(PROGRAMS) {
        return;
    }
    let content = source().await;
    let root = tempfile::tempdir().unwrap();
    let service = token::service().await;
    let (storage, auth) = (files(root.path()), token::trusting(&service, root.path()));
    let mut registry = Registry::configured(&content, root, &storage, &auth).await;
    let forebay = talkative(&registry).await;
    service.reset();
    pull_cold_and_warm(&forebay, &registry, &content, GIVEN).await;
    let tokens = service.requests_for(Kind::Token);
    assert_eq!(tokens.len(), 1, "{tokens:#?}");
    // How every token of the service begins.
    assert!(!forebay.log().contains("eyJ"), "{}", forebay.log());
    service.stop().await;
    pull_without(&forebay, &mut registry, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_registry_on_an_s3_store_is_pulled_from_once() {
    if !wanted(PROGRAMS) || !wanted(seaweed::PROGRAMS) {
        return;
    }
    let content = source().await;
    let root = tempfile::tempdir().unwrap();
    let store = Seaweed::start().await;
    let (storage, auth) = (store.storage(), htpasswd(root.path()).await);
    let mut registry = Registry::configured(&content, root, &storage, &auth).await;
    let forebay = talkative(&registry).await;
    pull_cold_and_warm(&forebay, &registry, &content, REDIRECTED).await;
    store.stop().await;
    pull_without(&forebay, &mut registry, &content).await;
}
