//! How a question is tried again, and at which endpoints.

use forebay_loadtest::origin::{Fault, Kind, Origin};

use super::super::error::Trouble;
use super::super::tests::{
    latest, manifest_and_layer, name, origin, set_up, settings, upstream_of,
};
use super::*;
use crate::oci::{Digest, Reference};

#[tokio::test]
async fn an_error_in_hand_is_told_rather_than_waited_on() {
    // The first attempt fails at the token service; the second gets its token, and no answer.
    let origin = origin(Origin::docker_hub()).await;
    origin.on(Kind::Token).once(Fault::status(503));
    origin.on(Kind::ManifestGet).always(Fault::hang());
    let mut upstream = Arc::into_inner(upstream_of(&origin)).unwrap();
    upstream.retries = RetryPolicy {
        last_start: Duration::from_millis(900),
        give_up: Duration::from_secs(1),
        ..RetryPolicy::default()
    };
    let error = upstream.get_manifest(&name(), &latest()).await;
    let trouble = ErrorKind::Unavailable(Trouble::Status(503));
    assert_eq!(error.unwrap_err().kind(), trouble);
}

/// A first endpoint that hung took all of the time, and the second was charged, asked and given up at once.
#[tokio::test]
async fn an_endpoint_that_hangs_leaves_the_next_one_its_time() {
    let (first, second) = (
        origin(Origin::builder()).await,
        origin(Origin::builder()).await,
    );
    first.on(Kind::ManifestGet).always(Fault::hang());
    let urls = [first.registry_url(), second.registry_url()];
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    for first_byte in [Duration::from_millis(200), Duration::from_mins(1)] {
        let mut settings = settings(&urls);
        settings.timeouts.first_byte = first_byte;
        let mut upstream = Arc::into_inner(set_up(settings)).unwrap();
        upstream.retries = RetryPolicy {
            give_up: Duration::from_millis(100),
            patience: Duration::from_secs(8),
            ..RetryPolicy::default()
        };
        let (digest, _) = manifest_and_layer(&first);
        let reference = Reference::Digest(digest);
        let found = upstream.get_manifest(&name(), &reference).await.unwrap();
        assert_eq!(
            Digest::of(digest.algorithm(), &found.bytes),
            digest,
            "{first_byte:?}"
        );
    }
}

/// Whoever came while the first endpoint's quota was being found out was told what the second one lacked, or that the first
/// kept failing.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_passed_over_for_want_of_a_pull_is_asked_when_the_others_can_not_tell() {
    let (first, second) = (
        origin(Origin::builder()).await,
        Origin::builder().start().await.unwrap(),
    );
    let urls = [first.registry_url(), second.registry_url()];
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let upstream = set_up(settings(&urls));
    let (manifest, _) = manifest_and_layer(&first);
    let scout = first.on(Kind::ManifestGet).hold_head();
    let pull = || {
        let (upstream, reference) = (Arc::clone(&upstream), Reference::Digest(manifest));
        tokio::spawn(async move { upstream.get_manifest(&name(), &reference).await })
    };
    let ahead = pull();
    scout.reached(1).await;
    let behind = pull();
    second
        .until("the other endpoint is asked", |asked| !asked.is_empty())
        .await;
    scout.release();
    ahead.await.unwrap().unwrap();
    behind.await.unwrap().unwrap();
    assert_eq!(first.counts().requests(Kind::ManifestGet), 2);
}

#[test]
fn questions_can_be_asked_from_spawned_tasks() {
    fn is_send<T: Send>(_: T) {}
    fn questions(
        upstream: &Upstream,
        name: &RepositoryName,
        reference: &Reference,
        digest: &Digest,
        caller: &Caller,
    ) {
        is_send(upstream.head_manifest(name, reference));
        is_send(upstream.pull_manifest(name, reference, caller));
        is_send(upstream.get_blob(name, digest, None));
        is_send(upstream.confirm_blob(name, digest));
        is_send(upstream.tags(name, None, None));
        is_send(upstream.referrers(name, digest, None));
        is_send(upstream.connection());
    }
    let _ = questions;
}
