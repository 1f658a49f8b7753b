//! Upstreams that we did not write: Debian's `docker-registry` with each way to log in and to store, pulled from cold, warm,
//! and once it is off.

mod seaweed;
mod token;

use forebay_loadtest::origin::{Kind, Origin};

use crate::clients::docker_registry::{PASSWORD, PROGRAMS, Registry, files, htpasswd, source};
use crate::clients::{APP, wanted};
use crate::harness::Forebay;
use seaweed::Seaweed;

/// The index and a platform's manifest; a config and three layers.
const COST: (u64, u64) = (2, 4);
const FREE: (u64, u64) = (0, 0);

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
async fn pull_cold_and_warm(forebay: &Forebay, registry: &Registry, content: &Origin) {
    assert_eq!(registry.given(FREE).await, FREE);
    pull(forebay, content, "amd64").await;
    assert_eq!(registry.given(COST).await, COST, "cold");
    pull(forebay, content, "amd64").await;
    assert_eq!(registry.given(COST).await, COST, "warm");
    pull(forebay, content, "arm64").await;
    assert_eq!(registry.given((3, 8)).await, (3, 8), "another platform");
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
    pull_cold_and_warm(&forebay, &registry, &content).await;
    pull_without(&forebay, &mut registry, &content).await;
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
    pull_cold_and_warm(&forebay, &registry, &content).await;
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
    pull_cold_and_warm(&forebay, &registry, &content).await;
    store.stop().await;
    pull_without(&forebay, &mut registry, &content).await;
}
