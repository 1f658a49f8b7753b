//! What is told and served while there is no pull left, and how an upstream that refuses is left alone.

use super::*;
use crate::harness::Setup;
use forebay_loadtest::fleet::Node;
use forebay_loadtest::origin::{Fault, Reply};

fn image(seed: u64) -> ImageSpec {
    ImageSpec {
        seed: Some(seed),
        ..ImageSpec::default()
    }
}

fn put(origin: &Origin, tag: &str, seed: u64) {
    origin.edit(NAME, |repository| {
        repository.multi_arch_image(tag, &image(seed));
    });
}

async fn due(origin: &Origin) -> Forebay {
    Setup::new(origin).config(DUE).start().await
}

/// Another one at the same address has eaten the quota, a tag has moved, and what was pulled before still is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moved_while_the_quota_was_empty_keeps_serving_the_old_image_whole() {
    let origin = small_images(1).quota(hours(10)).start().await.unwrap();
    put(&origin, "moves", 1);
    let forebay = due(&origin).await;
    let client = forebay.client();
    let mut node = Node::new(None, forebay.address);
    let old = node.pull(NAME, "moves").await.unwrap().root;
    spend_elsewhere(&origin, 8).await;
    put(&origin, "moves", 2);
    let before = gets(&origin);
    for _ in 0..3 {
        // Index, manifest, config and layers, each byte checked.
        let pulled = node.pull(NAME, "moves").await.unwrap();
        assert_eq!(pulled.root, old);
        let status = pulled.cache_status;
        assert!(
            status.contains("fwd=stale; detail=upstream-quota"),
            "{status}"
        );
    }
    let answer = client.manifest(NAME, "moves").await;
    assert!(!answer.header("age").is_empty());
    assert_eq!(gets(&origin), before);
    assert_eq!(overdrawn(&forebay).await, "0");

    // What was never pulled is refused, in words that tell what to do.
    let answer = client.manifest(NAME, "v0").await;
    assert_is_refusal(&answer);
    let told = answer.text();
    for part in [
        "docker.io allows 127.0.0.1 10 pulls in 6 h 0 min, and renews them within",
        "set `username` and `password_file` under [upstreams.\\\"docker.io\\\"]",
    ] {
        assert!(told.contains(part), "{told}");
    }
    // A new window lets the tag move on.
    origin.set_quota(Some(hours(10)));
    let new = origin.image(NAME, "moves").root.digest;
    assert_eq!(node.pull(NAME, "moves").await.unwrap().root, new);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_tag_leaves_the_last_tenth_to_what_is_not_here() {
    let origin = small_images(1).quota(hours(100)).start().await.unwrap();
    put(&origin, "moves", 1);
    let forebay = due(&origin).await;
    let client = forebay.client();
    client.manifest(NAME, "moves").await;
    spend_elsewhere(&origin, 90).await;
    put(&origin, "moves", 2);
    let answer = client.manifest(NAME, "moves").await;
    assert!(answer.header("cache-status").contains("upstream-quota"));
    assert_eq!(client.manifest(NAME, "v0").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_others_have_eaten_is_asked_for_once() {
    let origin = small_images(10).quota(hours(5)).start().await.unwrap();
    let forebay = Setup::new(&origin).config(FRESH).start().await;
    let client = forebay.client();
    assert_eq!(served(&pull(&client, 1..2).await), 1);
    spend_elsewhere(&origin, 4).await;
    origin.reset();
    for number in 2..10 {
        assert_eq!(refused(&pull(&client, number..number + 1).await), 1);
    }
    assert_eq!(gets(&origin), 1, "the one that found out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_go_duration_in_a_refusals_body_is_waited_for_or_told() {
    let busy = |wait: &str| {
        let message = format!("retry-after: {wait}, allowed: 44000/minute");
        Fault::Answer(Reply::error(429, "TOOMANYREQUESTS", &message))
    };
    let origin = small_images(3).start().await.unwrap();
    let forebay = Setup::new(&origin).config(FRESH).start().await;
    let client = forebay.client();
    origin.on(Kind::ManifestGet).once(busy("985.86µs"));
    assert_eq!(served(&pull(&client, 0..1).await), 1);
    assert_eq!(gets(&origin), 2);

    origin.on(Kind::ManifestGet).once(busy("1h0m0.5s"));
    let answers = pull(&client, 1..2).await;
    let seconds: u64 = answers[0].header("retry-after").parse().unwrap();
    assert!((3600..=3700).contains(&seconds), "{seconds}");
    // It is left alone until then.
    let asked = origin.counts().total();
    let answers = pull(&client, 1..3).await;
    assert_eq!(refused(&answers), 2);
    assert!(answers[1].text().contains("has asked to be left alone"));
    assert_eq!(origin.counts().total(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn abuse_control_is_met_by_one_at_a_time_and_later_each_time() {
    let origin = small_images(30).start().await.unwrap();
    let forebay = Setup::new(&origin)
        .config(FRESH)
        .config("[fetch]\nwait = \"2s\"")
        .start()
        .await;
    let abuse = origin.on(Kind::ManifestGet);
    let abuse = abuse.always(Fault::Answer(Reply::abuse_limit()));
    let answers = pull(&forebay.client(), 0..30).await;
    assert_eq!(refused(&answers), 30);
    let asked = gets(&origin);
    assert!((1..10).contains(&asked), "{asked}");
    abuse.remove();
    let again = async { while served(&pull(&forebay.client(), 0..1).await) == 0 {} };
    let again = tokio::time::timeout(Duration::from_mins(1), again).await;
    again.expect("it is asked again");
}
