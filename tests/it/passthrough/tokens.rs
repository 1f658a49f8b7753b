//! Logging in: the challenge, the token endpoint, and what its tokens are worth.

use forebay_loadtest::origin::{Authorization, Fault, Kind};
use http::{Method, StatusCode};

use super::people::{APP, OPEN, People, ask_for_token, basic, bearer, origin, token_of};
use crate::harness::{Setup, manifest_path};

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_asks_for_a_token_that_everyone_gets() {
    let people = People::start(origin(71).await, "").await;
    let client = people.forebay.client();
    let ping = client.get("/v2/").await;
    assert_eq!(ping.status, StatusCode::UNAUTHORIZED);
    let address = people.forebay.address;
    assert_eq!(
        ping.header("www-authenticate"),
        format!("Bearer realm=\"http://{address}/_/token\",service=\"{address}\"")
    );
    let token = token_of(&ask_for_token(&client, "", None).await);
    for token in [&token, &people.alice, &people.anyone] {
        let ping = client
            .ask(Method::GET, "/v2/", &[("authorization", &bearer(token))])
            .await;
        assert_eq!(ping.status, StatusCode::OK);
    }
    let stale = bearer(&"a".repeat(64));
    let ping = client
        .ask(Method::GET, "/v2/", &[("authorization", &stale)])
        .await;
    assert_eq!(ping.status, StatusCode::UNAUTHORIZED);
    assert!(
        ping.header("www-authenticate")
            .contains("error=\"invalid_token\"")
    );
    // podman, without a login.
    let told = ask_for_token(&client, "", Some(("", ""))).await;
    let token = bearer(&token_of(&told));
    let path = manifest_path(OPEN, "latest");
    let told = client
        .ask(Method::GET, &path, &[("authorization", &token)])
        .await;
    assert_eq!(told.status, StatusCode::OK, "what is everyone's");
    let told = client.get(&path).await;
    assert_eq!(told.status, StatusCode::UNAUTHORIZED);
    let challenge = told.header("www-authenticate");
    let scope = format!("scope=\"repository:{OPEN}:pull\"");
    assert!(
        challenge.contains("?ns=docker.io\"") && challenge.contains(&scope),
        "{challenge}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_its_upstream_does_not_take_gets_no_token() {
    let people = People::start(origin(72).await, "").await;
    let client = people.forebay.client_at(72, 1);
    for login in [
        ("alice", "wrong"),
        ("mallory", "alices-canary"),
        ("alice", ""),
    ] {
        let told = ask_for_token(&client, "ns=docker.io", Some(login)).await;
        assert_eq!(told.status, StatusCode::UNAUTHORIZED, "{login:?}");
        assert_eq!(told.code(), "UNAUTHORIZED");
    }
    let malformed = client
        .ask(
            Method::GET,
            "/_/token?ns=docker.io",
            &[("authorization", "Basic !")],
        )
        .await;
    assert_eq!(malformed.status, StatusCode::UNAUTHORIZED);
    let put = client.ask(Method::PUT, "/_/token?ns=docker.io", &[]).await;
    assert_eq!(put.status, StatusCode::METHOD_NOT_ALLOWED);
    // A flood of them is not passed on, and keeps nobody else out.
    people.origin().reset();
    let mut last = StatusCode::OK;
    for n in 0..30 {
        let password = format!("guess-{n}");
        let told = ask_for_token(&client, "ns=docker.io", Some(("alice", &password))).await;
        last = told.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert!(people.origin().counts().requests(Kind::Token) < 25);
    let other = people.forebay.client_at(72, 2);
    let login = Some(("alice", "alices-canary"));
    token_of(&ask_for_token(&other, "ns=docker.io", login).await);
    people.origin().on(Kind::Token).always(Fault::status(503));
    people
        .origin()
        .on(Kind::Ping)
        .before_auth()
        .always(Fault::status(503));
    let login = Some(("bob", "not-seen-before"));
    let told = ask_for_token(&other, "ns=docker.io", login).await;
    assert_eq!(
        told.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        told.text()
    );
    people.keeps_secrets().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_goes_to_its_own_upstream_and_nowhere_else() {
    let (hub, other) = (origin(73).await, origin(74).await);
    let forebay = Setup::new(&hub)
        .upstream("access = \"passthrough\"")
        .also("other.test", &other, "")
        .start()
        .await;
    let client = forebay.client();
    let login = Some(("alice", "alices-canary"));
    // For a registry that takes none it opens nothing, and is shown to nobody.
    for query in [
        "ns=other.test",
        "scope=repository:other.test/team/app:pull",
        "scope=repository:unknown.test/team/app:pull",
    ] {
        let token = token_of(&ask_for_token(&client, query, login).await);
        let path = manifest_path(APP, "latest");
        let told = client
            .ask(Method::GET, &path, &[("authorization", &bearer(&token))])
            .await;
        assert_eq!(told.status, StatusCode::UNAUTHORIZED, "{query}");
    }
    assert_eq!(hub.counts().total() + other.counts().total(), 0);
    for query in ["", "ns=docker.io", "scope=repository:team/app:pull"] {
        let token = bearer(&token_of(&ask_for_token(&client, query, login).await));
        let path = manifest_path(APP, "latest");
        let told = client
            .ask(Method::GET, &path, &[("authorization", &token)])
            .await;
        assert_eq!(told.status, StatusCode::OK, "{query}");
        // The mirror's own login, which is none, counts there.
        let path = format!("{}?ns=other.test", manifest_path("library/open", "latest"));
        let told = client
            .ask(Method::GET, &path, &[("authorization", &token)])
            .await;
        assert_eq!(told.status, StatusCode::OK, "{}", told.text());
    }
    for request in other.requests() {
        let is_basic = request.authorization == Authorization::Basic;
        assert!(!is_basic, "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_taken_as_containerd_posts_it() {
    let people = People::start(origin(75).await, "").await;
    let url = format!("http://{}/_/token?ns=docker.io", people.forebay.address);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = |form: String| {
        let request = http
            .post(&url)
            .header("content-type", "application/x-www-form-urlencoded");
        request.body(form).send()
    };
    let form = "grant_type=password&service=m&client_id=containerd&scope=repository%3Ateam%2Fapp%3Apull\
                &username=alice&password=";
    let told = post(format!("{form}alices-canary")).await.unwrap();
    assert_eq!(told.status(), StatusCode::OK);
    let told: serde_json::Value = serde_json::from_slice(&told.bytes().await.unwrap()).unwrap();
    let token = bearer(told["access_token"].as_str().unwrap());
    let path = manifest_path(APP, "latest");
    let client = people.forebay.client();
    let told = client
        .ask(Method::GET, &path, &[("authorization", &token)])
        .await;
    assert_eq!(told.status, StatusCode::OK);
    let told = post(format!("{form}wrong")).await.unwrap();
    assert_eq!(told.status(), StatusCode::UNAUTHORIZED);
    let told = post("x".repeat(20 << 10)).await.unwrap();
    assert_eq!(told.status(), StatusCode::BAD_REQUEST);
    // A password in a URL is none.
    let query = "ns=docker.io&grant_type=password&username=alice&password=alices-canary";
    let token = token_of(&ask_for_token(&client, query, None).await);
    let told = client
        .ask(Method::GET, &path, &[("authorization", &bearer(&token))])
        .await;
    assert_eq!(told.status, StatusCode::UNAUTHORIZED);
    // A login is taken for a token, and for nothing else.
    let direct = basic("alice", "alices-canary");
    let told = client
        .ask(Method::GET, &path, &[("authorization", &direct)])
        .await;
    assert_eq!(told.status, StatusCode::UNAUTHORIZED);
}
