//! What is known of a quota outlives the process.

use super::*;
use crate::harness::{Setup, mirror_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_overdraws_nothing() {
    for killed in [false, true] {
        let origin = small_images(30).quota(hours(10)).start().await.unwrap();
        let forebay = mirror_of(&origin).await;
        assert_eq!(served(&pull(&forebay.client(), 0..6).await), 6);
        let forebay = if killed {
            forebay.kill().await.start().await
        } else {
            forebay.restart().await
        };
        let answers = pull(&forebay.client(), 10..30).await;
        assert_eq!((served(&answers), refused(&answers)), (4, 16), "{killed}");
        assert_eq!(gets(&origin), 10);
        assert_eq!(overdrawn(&forebay).await, "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_was_spent_before_a_restart_is_asked_about_for_free() {
    let origin = small_images(20).quota(hours(5)).start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    assert_eq!(served(&pull(&forebay.client(), 0..8).await), 5);
    let forebay = forebay.restart().await;
    origin.reset();
    assert_eq!(refused(&pull(&forebay.client(), 10..15).await), 5);
    let counts = origin.counts();
    assert_eq!(counts.requests(Kind::ManifestGet), 0);
    assert_eq!(counts.requests(Kind::ManifestHead), 1);
    origin.set_quota(Some(hours(5)));
    let forebay = forebay.restart().await;
    assert_eq!(served(&pull(&forebay.client(), 10..15).await), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_hubs_quota_is_read_for_free_at_the_start() {
    let probe = small_images(20)
        .quota(hours(10))
        .repository("ratelimitpreview/test", |repository| {
            repository.image("latest", &ImageSpec::default())
        });
    let origin = probe.start().await.unwrap();
    spend_elsewhere(&origin, 7).await;
    let forebay = Setup::new(&origin)
        .env("FOREBAY_UPSTREAMS__DOCKERHUB__READ_QUOTA", "true")
        .start()
        .await;
    forebay
        .until_metric("forebay_quota_limit", "docker.io", |limit| limit > 9.0)
        .await;
    assert_eq!(
        figure(&forebay, "forebay_quota_left", "docker.io").await,
        "3"
    );
    origin.reset();
    assert_eq!(served(&pull(&forebay.client(), 0..20).await), 3);
    assert_eq!(gets(&origin), 3);
    assert_eq!(overdrawn(&forebay).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_quota_counts_what_was_pulled_before_a_restart() {
    let origin = small_images(20).start().await.unwrap();
    let setup = Setup::new(&origin).upstream("quota = \"5/6h\"");
    let forebay = setup.start().await;
    assert_eq!(served(&pull(&forebay.client(), 0..3).await), 3);
    let forebay = forebay.restart().await;
    assert_eq!(served(&pull(&forebay.client(), 10..20).await), 2);
    assert_eq!(gets(&origin), 5);
}
