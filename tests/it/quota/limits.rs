//! As many pulls as there are, and no more; the next ones when there are.

use std::net::IpAddr;

use super::*;
use crate::harness::{Setup, mirror_of};

#[tokio::test(flavor = "multi_thread")]
async fn of_200_manifests_and_100_pulls_100_are_served_and_none_is_refused_upstream() {
    let origin = small_images(200).quota(hours(100)).start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let answers = pull(&forebay.client(), 0..200).await;
    assert_eq!((served(&answers), refused(&answers)), (100, 100));
    assert_eq!(gets(&origin), 100);
    assert_eq!(overdrawn(&forebay).await, "0");
    assert_eq!(
        figure(&forebay, "forebay_quota_limit", "docker.io").await,
        "100"
    );
    assert_eq!(
        figure(&forebay, "forebay_quota_left", "docker.io").await,
        "0"
    );
    assert_eq!(
        figure(&forebay, "forebay_quota_refusals_total", "reported").await,
        "100"
    );
    // What was fetched is served all the while.
    let again = pull(&forebay.client(), 0..200).await;
    assert_eq!(served(&again), 100);
    assert_eq!(gets(&origin), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_can_wait_for_the_next_window_are_served_in_it() {
    let origin = small_images(40)
        .quota(seconds(15, 3))
        .start()
        .await
        .unwrap();
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    let mut left: Vec<u64> = (0..40).collect();
    // On a machine that is too busy for one attempt each, they come again.
    for _ in 0..5 {
        let answers = join_all(left.iter().map(|number| {
            let (client, tag) = (client.clone(), format!("v{number}"));
            async move { client.manifest(NAME, tag).await.status }
        }));
        let mut answers = answers.await.into_iter();
        left.retain(|_| answers.next() != Some(StatusCode::OK));
        if left.is_empty() {
            break;
        }
    }
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(gets(&origin), 40);
    assert_eq!(overdrawn(&forebay).await, "0");
    let waits = forebay.metric("forebay_quota_wait_seconds_count", "admitted");
    assert!(waits.await > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_question_of_many_clients_costs_one_pull() {
    let origin = small_images(1).quota(hours(100)).start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let client = forebay.client();
    let answers = join_all((0..50).map(|_| client.manifest(NAME, "v0"))).await;
    assert_eq!(served(&answers), 50);
    assert_eq!(gets(&origin), 1);
    assert_eq!(figure(&forebay, "forebay_quota_left", "").await, "99");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_upstreams_that_report_one_source_share_its_quota() {
    let origin = small_images(20).quota(hours(6)).start().await.unwrap();
    let forebay = Setup::new(&origin)
        .config(FRESH)
        .also("other.example", &origin, "")
        .start()
        .await;
    let client = forebay.client();
    let elsewhere = |tag: String| {
        let client = client.clone();
        async move { client.manifest("other.example/library/app", tag).await }
    };
    // Each has to hear of it once.
    assert_eq!(client.manifest(NAME, "v0").await.status, StatusCode::OK);
    assert_eq!(elsewhere("v1".to_owned()).await.status, StatusCode::OK);
    let both = tokio::join!(
        pull(&client, 2..11),
        join_all((11..20).map(|number| elsewhere(format!("v{number}"))))
    );
    assert_eq!(served(&both.0) + served(&both.1), 4);
    assert_eq!(gets(&origin), 6);
    assert_eq!(overdrawn(&forebay).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_quota_holds_where_nothing_is_reported() {
    let origin = small_images(20).start().await.unwrap();
    let forebay = Setup::new(&origin)
        .upstream("quota = \"5/6h\"")
        .start()
        .await;
    let answers = pull(&forebay.client(), 0..20).await;
    assert_eq!((served(&answers), refused(&answers)), (5, 15));
    assert_eq!(gets(&origin), 5);
    let told = answers
        .iter()
        .find(|answer| answer.status != StatusCode::OK);
    let told = told.unwrap().text();
    assert!(told.contains("raise `quota` under"), "{told}");
    // What is not there costs nothing.
    let forebay = Setup::new(&origin)
        .config(FRESH)
        .upstream("quota = \"5/6h\"")
        .start()
        .await;
    let client = forebay.client();
    for number in 0..9 {
        let answer = client.manifest(NAME, format!("none{number}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(served(&pull(&client, 0..9).await), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_many_waiting_misses_does_not_starve_one_with_one() {
    let origin = small_images(17).start().await.unwrap();
    let forebay = Setup::new(&origin)
        .upstream("quota = \"1/1s\"")
        .start()
        .await;
    let greedy = forebay.client();
    let waiting = tokio::spawn(async move { pull(&greedy, 0..16).await });
    forebay
        .until_metric("forebay_quota_waiting", "", |waiting| waiting >= 10.0)
        .await;
    let modest = Client::at(IpAddr::from([127, 0, 0, 2]), forebay.address);
    let answer = modest.manifest(NAME, "v16").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(!waiting.is_finished(), "first come, first served");
    waiting.abort();
}
