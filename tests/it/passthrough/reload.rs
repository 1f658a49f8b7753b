//! Logins, tokens and rights where the configuration is read again.

use forebay::metrics::RequestKind;
use http::{Method, StatusCode};

use super::people::{APP, OPEN, People, ask_for_token, bearer, origin, token_of};
use super::{alice_sees_it, ask as ask_way, ways};
use crate::harness::{Answer, Setup, blob_path, manifest_path};

async fn ask(people: &People, token: &str) -> Answer {
    let path = manifest_path(APP, &people.manifest);
    let headers = [("authorization", &*bearer(token))];
    people
        .forebay
        .client()
        .ask(Method::GET, &path, &headers)
        .await
}

/// Each reload had everyone log in again: the API was a new one, and with it the table of tokens.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_rights_outlive_a_reload_that_is_not_about_them() {
    let people = People::start(origin(81).await, "[limits]\nmax_delay = '9s'").await;
    assert_eq!(ask(&people, &people.alice).await.status, StatusCode::OK);
    people.origin().reset();
    people.forebay.rewrite("'9s'", "'8s'");
    people.forebay.reloaded().await;
    assert_eq!(ask(&people, &people.alice).await.status, StatusCode::OK);
    assert_eq!(people.origin().counts().total(), 0);
    let bobs = ask(&people, &people.bob).await;
    assert_eq!(bobs.status, StatusCode::FORBIDDEN, "{}", bobs.text());
    // Another table is asked anew what she may see there.
    people
        .forebay
        .rewrite("\"passthrough\"", "\"passthrough\"\ndeny = ['none/a']");
    people.forebay.reloaded().await;
    people.origin().reset();
    assert_eq!(ask(&people, &people.alice).await.status, StatusCode::OK);
    assert!(people.origin().counts().total() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_registry_that_takes_none_any_more_are_dropped() {
    let people = People::start(origin(82).await, "").await;
    assert_eq!(ask(&people, &people.alice).await.status, StatusCode::OK);
    people.forebay.rewrite("\"passthrough\"", "\"mirror\"");
    people.forebay.reloaded().await;
    people.forebay.rewrite("\"mirror\"", "\"passthrough\"");
    people.forebay.reloaded().await;
    let told = ask(&people, &people.alice).await;
    assert_eq!(told.status, StatusCode::UNAUTHORIZED);
    let challenge = told.header("www-authenticate");
    assert!(challenge.contains("invalid_token"), "{challenge}");
}

/// A token stood for the login at whatever endpoint its registry had then, which was shown to the new one unasked.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_not_shown_to_an_endpoint_that_a_reload_brings() {
    let people = People::start(origin(86).await, "").await;
    assert_eq!(ask(&people, &people.alice).await.status, StatusCode::OK);
    let other = origin(86).await;
    let (old, new) = (people.origin().registry_url(), other.registry_url());
    people.forebay.rewrite(&old, &new);
    people.forebay.reloaded().await;
    let told = ask(&people, &people.alice).await;
    assert_eq!(told.status, StatusCode::UNAUTHORIZED, "{}", told.text());
    let challenge = told.header("www-authenticate");
    assert!(challenge.contains("invalid_token"), "{challenge}");
    assert_eq!(other.counts().total(), 0);
    // Nobody's shows nothing.
    let anyone = bearer(&people.anyone);
    let client = people.forebay.client();
    let path = manifest_path(OPEN, "latest");
    let headers = [("authorization", &*anyone)];
    let told = client.ask(Method::GET, &path, &headers).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text());
    let login = Some(("alice", "alices-canary"));
    let alice = token_of(&ask_for_token(&client, "ns=docker.io", login).await);
    assert_eq!(ask(&people, &alice).await.status, StatusCode::OK);
}

/// What would let another than the registry say who may see what is no more taken while running than at the start.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_lets_nobody_but_the_registry_say_who_may_see_what() {
    let people = People::start(origin(83).await, "").await;
    let endpoint = people.origin().registry_url();
    let passthrough = "access = \"passthrough\"";
    for (lines, told) in [
        (
            "client_cert = '/none.pem'\nclient_key = '/none.key'",
            "`client_cert` is a login of the mirror's own",
        ),
        ("username = 'me'\npassword = 'x'", "leave out `credentials`"),
    ] {
        let with = format!("{passthrough}\n{lines}");
        people.forebay.rewrite(passthrough, &with);
        people.forebay.reloaded().await;
        let logged = |log: &String| log.contains(told);
        people.forebay.until_logged(told, logged).await;
        assert_eq!(ask(&people, &people.alice).await.status, StatusCode::OK);
        let nobody = ask(&people, "none").await;
        assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
        people.forebay.rewrite(&with, passthrough);
    }
    let one = format!("\"{endpoint}\"");
    let two = format!("{one}, \"http://127.0.0.1:9\"");
    people.forebay.rewrite(&one, &two);
    people.forebay.reloaded().await;
    let told = "write one endpoint";
    let logged = |log: &String| log.contains(told);
    people.forebay.until_logged(told, logged).await;
    assert_eq!(ask(&people, &people.alice).await.status, StatusCode::OK);
}

/// Whoever asks a mirror of which all see what its own login may, which has none.
async fn everyone_is_told_nothing(people: &People, state: &str) {
    let client = people.forebay.client();
    for way in ways(people) {
        let told = ask_way(&client, &way, None).await;
        let asked = format!("{state}: {} {} {:?}", way.method, way.path, way.range);
        if way.kind == RequestKind::Catalog {
            assert!(!told.text().contains(APP), "{asked}: {}", told.text());
            continue;
        }
        assert!(!told.status.is_success(), "{asked}: {}", told.status);
        for name in ["docker-content-digest", "etag", "age"] {
            assert!(!told.headers.contains_key(name), "{asked}: {name}");
        }
    }
}

/// Links, tag records, lists and the catalog did not know with whose login they had been learned: where an upstream was one
/// of which all see what the mirror's own login may from then on, everyone was served what a client had seen before.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_clients_login_has_seen_is_nobody_elses_when_the_mirrors_own_login_counts() {
    let people = People::start(origin(84).await, "[tags]\nnegative_for = \"0s\"").await;
    alice_sees_it(&people, "cold").await;
    let open = manifest_path(OPEN, "latest");
    let anyone = bearer(&people.anyone);
    let headers = [("authorization", &*anyone)];
    let client = people.forebay.client();
    let told = client.ask(Method::GET, &open, &headers).await;
    assert_eq!(told.status, StatusCode::OK);
    let in_its_cache = Setup::new(people.origin())
        .config("[tags]\nnegative_for = \"0s\"")
        .in_cache_of(&people.forebay);

    people.forebay.rewrite("\"passthrough\"", "\"mirror\"");
    people.forebay.reloaded().await;
    everyone_is_told_nothing(&people, "after a reload").await;
    assert_eq!(client.get(&open).await.status, StatusCode::OK);
    let catalog = client.get("/v2/_catalog").await.text();
    assert!(catalog.contains(OPEN), "{catalog}");

    // What is cached is hers again, with her right.
    people.forebay.rewrite("\"mirror\"", "\"passthrough\"");
    people.forebay.reloaded().await;
    let login = Some(("alice", "alices-canary"));
    let token = ask_for_token(&client, "ns=docker.io", login).await;
    let alice = token_of(&token);
    let told = ask(&people, &alice).await;
    assert_eq!(told.status, StatusCode::OK);

    let people = people.moved_to(in_its_cache).await;
    everyone_is_told_nothing(&people, "after a restart").await;
    let told = people.forebay.client().get(&open).await;
    assert_eq!(told.status, StatusCode::OK);
    let people = people.without_upstream().await;
    everyone_is_told_nothing(&people, "its upstream away").await;
}

/// A fill that ran with a client's login was anybody's who came along after the reload.
#[tokio::test(flavor = "multi_thread")]
async fn a_fill_of_a_clients_login_is_nobody_elses_when_the_mirrors_own_login_counts() {
    let people = People::start(origin(85).await, "[tags]\nnegative_for = \"0s\"").await;
    let gate = people.origin().on_body(&people.layer).hold_at(100_000);
    let client = people.forebay.client();
    let path = blob_path(APP, &people.layer);
    let asking = tokio::spawn({
        let (client, path, token) = (client.clone(), path.clone(), bearer(&people.alice));
        async move {
            let headers = [("authorization", &*token)];
            client.ask(Method::GET, &path, &headers).await
        }
    });
    gate.reached(1).await;
    people.forebay.rewrite("\"passthrough\"", "\"mirror\"");
    people.forebay.reloaded().await;
    everyone_is_told_nothing(&people, "a fill runs").await;
    gate.release();
    assert!(asking.await.unwrap().is_exactly(&people.layer));
    everyone_is_told_nothing(&people, "it has ended").await;
}
