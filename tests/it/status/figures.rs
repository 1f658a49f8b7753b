//! What the document tells.

use forebay_loadtest::origin::{Auth, Fault, ImageSpec, Kind, Origin, Reply};
use http::StatusCode;

use super::*;
use crate::harness::{Setup, assert_unseen, mirror_of, secrets_of};

async fn pull(forebay: &Forebay, numbers: std::ops::Range<u64>) {
    for number in numbers {
        forebay.client().manifest(NAME, format!("v{number}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_goes_down_and_when_it_is_spent_the_mirror_says_until_when_and_what_to_do() {
    let origin = images(6, 4).start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    assert_eq!(hub(&forebay).await["quotas"], serde_json::json!([]));
    let well = shown(&forebay).await;
    assert_eq!(well.code, Some(0), "{}{}", well.out, well.errors);
    assert!(well.out.contains("nothing is wrong"), "{}", well.out);

    pull(&forebay, 0..2).await;
    // Again, from the cache.
    pull(&forebay, 0..2).await;
    let hub_now = hub(&forebay).await;
    let quota = &hub_now["quotas"][0];
    assert_eq!((&quota["limit"], &quota["left"]), (&4.into(), &2.into()));
    assert_eq!(quota["source"], "127.0.0.1");
    assert_eq!(
        (&quota["by"], &quota["registry"]),
        (&"reported".into(), &"docker.io".into())
    );
    let seconds = quota["resets_in_seconds"].as_u64().unwrap();
    assert!((1..=6 * 3_600).contains(&seconds), "{seconds}");
    assert_eq!(hub_now["asked"]["pulls"], 2);
    assert_eq!(hub_now["served"]["pulls"], 4);
    assert_eq!(hub_now["saved"]["requests"], 2);

    pull(&forebay, 2..6).await;
    let hub_now = hub(&forebay).await;
    assert_eq!(hub_now["quotas"][0]["left"], 0);
    assert_eq!(hub_now["refused"]["reported"], 2);
    let spent = shown(&forebay).await;
    assert_eq!(spent.code, Some(3), "{}", spent.errors);
    for part in [
        "FAIL  docker.io  no pull is left of 4 in 6 h, counted for 127.0.0.1, renewed within ",
        "set `username` and `password_file` under [upstreams.\"docker.io\"]",
        "docker.io  127.0.0.1    0 of 4  6 h     within ",
        "2 reported",
    ] {
        assert!(spent.out.contains(part), "{part}: {}", spent.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_wants_to_be_left_alone_is_closed_until_it_said() {
    let origin = images(1, 100).start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let message = "retry-after: 1h0m0.5s, allowed: 44000/minute";
    let busy = Reply::error(429, "TOOMANYREQUESTS", message);
    origin.on(Kind::ManifestGet).always(Fault::Answer(busy));
    pull(&forebay, 0..1).await;
    let quota = hub(&forebay).await["quotas"][0].clone();
    let seconds = quota["closed_for_seconds"].as_u64().unwrap();
    assert!((3_000..=3_601).contains(&seconds), "{seconds}");
    assert!(quota["closed_until"].as_u64().is_some() && quota["resets_at"].is_null());
    let told = shown(&forebay).await;
    assert_eq!(told.code, Some(3));
    let part = "has asked to be left alone (429), and is asked again within ";
    assert!(told.out.contains(part), "{}", told.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_keeps_failing_is_shown_with_why() {
    let origin = images(1, 100).start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let endpoint = origin.registry_url();
    assert_eq!(hub(&forebay).await["hosts"][0]["breaker"], "closed");
    origin.stop().await;
    // More attempts than it takes.
    for number in 0..6 {
        let answer = forebay
            .client()
            .manifest(NAME, format!("none{number}"))
            .await;
        assert_ne!(answer.status, StatusCode::OK);
    }
    let hub_now = hub(&forebay).await;
    let host = &hub_now["hosts"][0];
    assert_eq!(
        host["url"].as_str().unwrap(),
        endpoint.trim_end_matches('/')
    );
    assert_ne!(host["breaker"], "closed");
    assert!(!host["error"].as_str().unwrap().is_empty());
    assert!(hub_now["asked"]["failed"].as_u64().unwrap() >= 5);
    // Wrong while nobody is let through, which is for longer each time; a note when that is over.
    let told = async {
        loop {
            let told = shown(&forebay).await;
            if told.code == Some(3) {
                return told;
            }
            assert!(told.out.contains("kept failing"), "{}", told.out);
            forebay.client().manifest(NAME, "none").await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await;
    let told = told.expect("it is left alone for long enough at last");
    assert!(told.out.contains("has kept failing"), "{}", told.out);
    assert!(
        told.out.contains("check --online docker.io"),
        "{}",
        told.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_answers_are_counted_by_reason() {
    let origin = images(2, 1).start().await.unwrap();
    let forebay = Setup::new(&origin).config(DUE).start().await;
    pull(&forebay, 0..1).await;
    origin.edit(NAME, |repository| {
        repository.image("v0", &ImageSpec::default());
    });
    let answer = forebay.client().manifest(NAME, "v0").await;
    assert!(answer.header("cache-status").contains("upstream-quota"));
    assert_eq!(hub(&forebay).await["stale"]["upstream-quota"], 1);
    let told = shown(&forebay).await;
    assert!(told.out.contains("  1 quota"), "{}", told.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_that_waited_for_a_quota_says_so() {
    let origin = images(3, 100).start().await.unwrap();
    let forebay = Setup::new(&origin)
        .upstream("quota = \"1/2s\"")
        .start()
        .await;
    let first = forebay.client().manifest(NAME, "v0").await;
    assert_eq!(first.header("cache-status"), "forebay; fwd=miss");
    // Both at once, so that one waits however late they come.
    let client = forebay.client();
    let both = tokio::join!(client.manifest(NAME, "v1"), client.manifest(NAME, "v2"));
    let waited = [both.0, both.1].map(|answer| {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.header("cache-status").to_owned()
    });
    let says_so = "forebay; fwd=miss; detail=quota-wait".to_owned();
    assert!(waited.contains(&says_so), "{waited:?}");
    let waits = hub(&forebay).await["waits"]["count"].as_u64().unwrap();
    assert!(waits >= 1);
}

/// Left alone for seconds at a time, and asked in between.
#[tokio::test(flavor = "multi_thread")]
async fn answers_say_that_an_upstream_is_left_alone() {
    let origin = images(1, 100).start().await.unwrap();
    let forebay = Setup::new(&origin).config(DUE).start().await;
    pull(&forebay, 0..1).await;
    origin.stop().await;
    let told = async {
        loop {
            let stale = forebay.client().manifest(NAME, "v0").await;
            assert_eq!(stale.status, StatusCode::OK);
            let status = stale.header("cache-status");
            assert_eq!(status, "forebay; fwd=stale; detail=upstream-unavailable");
            let refused = forebay.client().manifest(NAME, "none").await;
            let status = refused.header("cache-status").to_owned();
            if status == "forebay; fwd=miss; detail=upstream-breaker" {
                assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
                let seconds: u64 = refused.header("retry-after").parse().unwrap();
                assert!((1..=5).contains(&seconds), "{seconds}");
                let text = refused.text();
                assert!(text.contains("is asked again within"), "{text}");
                return;
            }
            assert_eq!(status, "forebay; fwd=miss; detail=upstream-unavailable");
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await;
    told.expect("it is left alone at last");
    let stale = hub(&forebay).await["stale"]["upstream-unavailable"].as_u64();
    assert!(stale.unwrap() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_are_held_to_is_counted() {
    let origin = images(1, 100).start().await.unwrap();
    let limits = "[limits]\nper_client_requests = \"1/h\"\nmax_delay = \"0s\"";
    let forebay = Setup::new(&origin).config(limits).start().await;
    for _ in 0..3 {
        forebay.client().manifest(NAME, "v0").await;
    }
    let clients = document(&forebay).await["clients"].clone();
    assert_eq!(clients["refused"]["requests"], 2);
    assert_eq!(clients["tracked"], 1);
    let told = shown(&forebay).await;
    assert!(told.out.contains("1 limited; "), "{}", told.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_it() {
    const PASSWORD: &str = "canary-password";
    let builder = Origin::builder()
        .auth(Auth::token())
        .user("ci", PASSWORD)
        .repository("team/app", |repository| {
            repository.private();
            repository.image("v1", &ImageSpec::default());
        });
    let quota = Quota::default();
    let origin = builder.quota(quota).start().await.unwrap();
    let login = format!("username = \"ci\"\npassword = {PASSWORD:?}");
    let forebay = Setup::new(&origin).upstream(&login).start().await;
    let client = forebay.client();
    let answer = client.manifest("team/app", "v1").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    origin.stop().await;
    for number in 0..6 {
        client.manifest("team/app", format!("none{number}")).await;
    }
    let hub_now = hub(&forebay).await;
    assert_eq!(hub_now["login"], "username");
    assert_eq!(hub_now["quotas"][0]["account"], "user ci");
    assert_ne!(hub_now["hosts"][0]["breaker"], "closed");
    let mut secrets = secrets_of(&origin);
    secrets.insert(PASSWORD.to_owned());
    assert!(secrets.len() > 2, "a token, too: {secrets:?}");
    let document = document(&forebay).await.to_string();
    let told = shown(&forebay).await;
    for (place, text) in [("the document", document), ("what is shown", told.out)] {
        assert_unseen(&secrets, place, &text);
    }
}

/// Clients name the members of a family.
#[tokio::test(flavor = "multi_thread")]
async fn however_many_members_of_a_family_are_asked_for_the_document_stays_small() {
    let origin = images(1, 100).start().await.unwrap();
    let forebay = Setup::new(&origin)
        .config("[upstreams.\"*.registry.invalid\"]\nquota = \"5/6h\"\n")
        .start()
        .await;
    let asked = (0..60).map(|number| {
        let client = forebay.client();
        async move {
            let name = format!("r{number}.registry.invalid/app");
            client.manifest(&name, "v1").await
        }
    });
    futures_util::future::join_all(asked).await;
    let document = document(&forebay).await;
    let upstreams = document["upstreams"].as_array().unwrap();
    let family = upstreams
        .iter()
        .find(|one| one["name"] == "*.registry.invalid");
    let family = family.unwrap();
    assert_eq!(family["is_family"], true);
    for (listed, left_out) in [("hosts", "hosts_left_out"), ("quotas", "quotas_left_out")] {
        assert_eq!(family[listed].as_array().unwrap().len(), 32, "{listed}");
        assert_eq!(family[left_out], 28, "{left_out}");
    }
}
