//! Upstreams that let each client see what is theirs: who may see something sees it, and nobody else does, whichever way it
//! is asked for and whatever state it is in.

mod leader;
mod people;
mod reload;
mod tokens;

use forebay::metrics::RequestKind;
use forebay_loadtest::origin::{Fault, Kind, Reply};
use http::{Method, StatusCode};

use crate::harness::{
    Client, Held, Listed, REFUSED_METHODS, Setup, all_requests, blob_path, manifest_path,
};
use people::{APP, BOBS, People, bearer, origin, outsiders, token_of};

/// A way to ask for something of alice's.
struct Way {
    method: Method,
    path: String,
    range: Option<&'static str>,
    kind: RequestKind,
    there: bool,
}

impl Way {
    /// Everyone gets a token: it is worth what the login is that it was asked for with.
    fn is_for_token(&self) -> bool {
        self.path.starts_with("/_/token")
    }
}

/// All ways there are: each request that can be made, with its methods and ranges.
fn ways(people: &People) -> Vec<Way> {
    let layer = blob_path(APP, &people.layer);
    let held = Held {
        tag: "latest",
        manifest: &people.manifest,
        blobs: vec![&people.layer, &people.config],
    };
    let mut all = all_requests(APP, &held);
    // The same by other names.
    let alias = layer.replacen("/v2/", "/dockerhub/v2/", 1);
    all.extend([format!("{layer}?ns=docker.io"), alias].map(|path| Listed {
        kind: RequestKind::Blob,
        path,
        there: true,
    }));
    let of = |listed: Listed| {
        let ranges: &[_] = match listed.kind {
            RequestKind::Blob => &["bytes=0-", "bytes=0-9", "bytes=-5", "bytes=7-8"],
            _ => &["bytes=0-0"],
        };
        let whole = [Method::HEAD, Method::GET].into_iter();
        let whole = whole.chain(REFUSED_METHODS).map(|method| (method, None));
        let parts = ranges.iter().map(|range| (Method::GET, Some(*range)));
        let all = whole.chain(parts);
        let way = move |(method, range)| Way {
            there: listed.there && !REFUSED_METHODS.contains(&method),
            method,
            range,
            kind: listed.kind,
            path: listed.path.clone(),
        };
        all.map(way).collect::<Vec<_>>()
    };
    all.into_iter().flat_map(of).collect()
}

async fn ask(client: &Client, way: &Way, token: Option<&str>) -> crate::harness::Answer {
    let authorization = token.map(bearer);
    let mut headers: Vec<(&str, &str)> = Vec::new();
    headers.extend(
        authorization
            .as_deref()
            .map(|value| ("authorization", value)),
    );
    headers.extend(way.range.map(|range| ("range", range)));
    client.ask(way.method.clone(), &way.path, &headers).await
}

/// Nobody but alice is told anything, in whatever state the mirror is.
async fn nobody_else_sees_it(people: &People, state: &str) {
    let client = people.forebay.client();
    for (who, token) in outsiders(people) {
        for way in ways(people) {
            let told = ask(&client, &way, token.as_deref()).await;
            let asked = format!("{state}: {who} {} {} {:?}", way.method, way.path, way.range);
            if way.is_for_token() && told.status != StatusCode::OK {
                assert!(told.status.is_client_error(), "{asked}: {}", told.status);
                continue;
            }
            if way.is_for_token() {
                let token = bearer(&token_of(&told));
                let path = manifest_path(APP, &people.manifest);
                let headers = [("authorization", &*token)];
                let told = client.ask(Method::GET, &path, &headers).await;
                assert!(!told.status.is_success(), "{asked}: {}", told.status);
                continue;
            }
            if way.kind == RequestKind::Catalog && !REFUSED_METHODS.contains(&way.method) {
                assert_eq!(told.status, StatusCode::OK, "{asked}");
                assert!(!told.text().contains(APP), "{asked}: {}", told.text());
                continue;
            }
            assert!(
                [401, 403, 404, 405, 502, 503, 504].contains(&told.status.as_u16()),
                "{asked}: {}",
                told.status
            );
            let text = told.text();
            for secret in [&people.manifest, &people.config] {
                assert!(
                    !text.contains(secret) || way.path.contains(secret),
                    "{asked}"
                );
            }
            assert!(
                told.headers.get("docker-content-digest").is_none(),
                "{asked}"
            );
            assert!(told.headers.get("etag").is_none(), "{asked}");
            let refused = told.status == StatusCode::UNAUTHORIZED;
            if refused && !REFUSED_METHODS.contains(&way.method) {
                assert!(
                    told.header("www-authenticate").contains("ns=docker.io"),
                    "{asked}"
                );
            }
        }
    }
}

async fn alice_sees_it(people: &People, state: &str) {
    let client = people.forebay.client();
    for way in ways(people) {
        let told = ask(&client, &way, Some(&people.alice)).await;
        let asked = format!("{state}: {} {} {:?}", way.method, way.path, way.range);
        if way.is_for_token() {
            continue;
        }
        let is_part = way.range.is_some() && way.kind == RequestKind::Blob;
        match way.there {
            true if is_part => assert_eq!(told.status.as_u16(), 206, "{asked}: {}", told.text()),
            true => assert_eq!(told.status.as_u16(), 200, "{asked}: {}", told.text()),
            false => assert!(!told.status.is_success(), "{asked}: {}", told.status),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_what_another_may_cold_warm_due_or_with_its_upstream_away() {
    let people = People::start(
        origin(61).await,
        "[tags]\nfresh_for = \"0s\"\nnegative_for = \"0s\"\n",
    )
    .await;
    nobody_else_sees_it(&people, "cold").await;
    alice_sees_it(&people, "cold").await;
    nobody_else_sees_it(&people, "warm, and due").await;
    let client = people.forebay.client();
    let listed = client
        .ask(
            Method::GET,
            "/v2/_catalog",
            &[("authorization", &bearer(&people.alice))],
        )
        .await;
    assert!(listed.text().contains(APP), "{}", listed.text());
    let people = people.without_upstream().await;
    alice_sees_it(&people, "its upstream away").await;
    nobody_else_sees_it(&people, "its upstream away").await;
    people.keeps_secrets().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_joins_a_running_fill_without_the_right_to_it() {
    let people = People::start(origin(62).await, "[tags]\nnegative_for = \"0s\"").await;
    let gate = people.origin().on_body(&people.layer).hold_at(0);
    let client = people.forebay.client();
    let path = blob_path(APP, &people.layer);
    let token = bearer(&people.alice);
    let asking = tokio::spawn({
        let (client, path) = (client.clone(), path.clone());
        async move {
            client
                .ask(Method::GET, &path, &[("authorization", &token)])
                .await
        }
    });
    people
        .forebay
        .until_metric("forebay_fills_running", "", |running| running > 0.0)
        .await;
    nobody_else_sees_it(&people, "a fill runs").await;
    // By a repository of bob's own, too.
    let elsewhere = blob_path(BOBS, &people.layer);
    let bob = bearer(&people.bob);
    let told = client
        .ask(Method::GET, &elsewhere, &[("authorization", &bob)])
        .await;
    assert_eq!(told.status, StatusCode::NOT_FOUND);
    gate.release();
    assert!(asking.await.unwrap().is_exactly(&people.layer));
    let told = client
        .ask(Method::GET, &elsewhere, &[("authorization", &bob)])
        .await;
    assert_eq!(told.status, StatusCode::NOT_FOUND, "it is here now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_asks_its_upstream_and_the_token_service_nothing() {
    let people = People::start(origin(63).await, "").await;
    alice_sees_it(&people, "cold").await;
    people.origin().reset();
    let client = people.forebay.client();
    for _ in 0..2 {
        for way in ways(&people).iter().filter(|way| way.there) {
            let told = ask(&client, way, Some(&people.alice)).await;
            assert!(told.status.is_success(), "{}", way.path);
        }
    }
    assert_eq!(people.origin().counts().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_pull_costs_one_head_more() {
    let people = People::start(origin(64).await, "").await;
    let client = people.forebay.client();
    people.origin().reset();
    let alice = bearer(&people.alice);
    for path in [
        manifest_path(APP, "latest"),
        manifest_path(APP, &people.manifest),
        blob_path(APP, &people.layer),
    ] {
        let told = client
            .ask(Method::GET, &path, &[("authorization", &alice)])
            .await;
        assert_eq!(told.status, StatusCode::OK, "{path}");
    }
    let asked = |kind| {
        let requests = people.origin().requests_for(kind);
        requests.iter().filter(|request| request.is_ok()).count()
    };
    assert_eq!(asked(Kind::ManifestHead), 1);
    assert_eq!(asked(Kind::ManifestGet), 1);
    assert_eq!(asked(Kind::BlobGet), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_its_upstream_ends_the_right_at_once_and_others_keep_theirs() {
    let people = People::start(
        origin(65).await,
        "[tags]\nfresh_for = \"0s\"\nnegative_for = \"0s\"",
    )
    .await;
    let client = people.forebay.client();
    let (alice, carol) = (bearer(&people.alice), bearer(&people.carol));
    let ask = |path: String, who: String| {
        let client = client.clone();
        async move {
            client
                .ask(Method::GET, &path, &[("authorization", &who)])
                .await
        }
    };
    for who in [&alice, &carol] {
        let told = ask(manifest_path(APP, "latest"), who.clone()).await;
        assert_eq!(told.status, StatusCode::OK);
    }
    people
        .origin()
        .edit(APP, |repository| repository.only_for(&["carol"]));
    people.origin().expire_tokens();
    // It is due, so that her upstream is asked, and says no.
    let told = ask(manifest_path(APP, "latest"), alice.clone()).await;
    assert_eq!(told.status, StatusCode::FORBIDDEN, "{}", told.text());
    people.origin().reset();
    let told = ask(manifest_path(APP, &people.manifest), alice.clone()).await;
    assert_eq!(told.status, StatusCode::FORBIDDEN, "what is cached, too");
    let told = ask(manifest_path(APP, "latest"), carol.clone()).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text());
    let people = people.without_upstream().await;
    let told = ask(manifest_path(APP, "latest"), carol).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text());
    let told = ask(manifest_path(APP, "latest"), alice).await;
    assert!(told.status.is_server_error(), "{}", told.status);
    drop(people);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_login_is_refused_under_way_another_still_gets() {
    let people = People::start(origin(66).await, "[tags]\nnegative_for = \"0s\"").await;
    let client = people.forebay.client();
    let path = blob_path(APP, &people.layer);
    let get = |who: &str| {
        let (client, path, who) = (client.clone(), path.clone(), bearer(who));
        tokio::spawn(async move {
            client
                .ask(Method::GET, &path, &[("authorization", &who)])
                .await
        })
    };
    // Her fill waits for an answer, which is to be no.
    let held = people.origin().on(Kind::BlobGet).hold_head();
    let denied = Fault::Answer(Reply::error(403, "DENIED", "not any more"));
    people.origin().on(Kind::BlobGet).once(denied);
    let first = get(&people.alice);
    people
        .forebay
        .until_metric("forebay_fills_running", "", |running| running > 0.0)
        .await;
    let second = get(&people.carol);
    people
        .forebay
        .until_metric("forebay_followers", "", |_| true)
        .await;
    held.release();
    let second = second.await.unwrap();
    assert_eq!(second.status, StatusCode::OK, "{}", second.text());
    assert!(second.is_exactly(&people.layer));
    // Hers was refused, or joined what carol's got for both.
    let first = first.await.unwrap();
    assert!(
        [200, 403].contains(&first.status.as_u16()),
        "{}",
        first.status
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_without_it_takes_no_logins_and_gives_no_tokens() {
    let origin = origin(67).await;
    let forebay = Setup::new(&origin).start().await;
    let client = forebay.client();
    assert_eq!(client.get("/v2/").await.status, StatusCode::OK);
    let told = client.get("/_/token").await;
    assert_eq!(told.status, StatusCode::NOT_FOUND);
}
