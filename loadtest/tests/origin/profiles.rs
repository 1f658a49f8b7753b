//! What each registry does that others don't.

use forebay_loadtest::origin::{Descriptor, Fault, Kind, Origin, Profile};
use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::{Method, Response};

use crate::client::{APP, client, get, head, header, location, login, request, spec};

const V1: &str = "library/app/manifests/v1";

fn profile(name: &str) -> Profile {
    Profile::named(name).expect("there is such a profile")
}

async fn started(name: &str) -> Origin {
    let profile = profile(name);
    let mut builder = profile.origin();
    if let Some(user) = profile.user {
        builder = builder.user(user, "secret");
    }
    let builder = builder.repository(APP, |r| r.multi_arch_image("v1", &spec()));
    builder.start().await.unwrap()
}

fn layer(origin: &Origin) -> Descriptor {
    origin.image(APP, "v1").manifests[0].layers[0].clone()
}

/// `GET`s with credentials and an `Accept` of its own.
async fn ask(origin: &Origin, method: Method, path: &str, login: &str, accept: &str) -> Response {
    let request = request(origin, method, path);
    let request = request.header(AUTHORIZATION, login).header(ACCEPT, accept);
    request.send().await.unwrap()
}

async fn token(origin: &Origin) -> String {
    login(&get(origin, V1).await, None).await
}

#[tokio::test]
async fn profiles_have_names_of_their_own_and_answer_the_ping() {
    let mut names = Profile::ALL.map(|profile| profile.name).to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Profile::ALL.len());
    for name in names {
        let origin = started(name).await;
        let ping = get(&origin, "").await;
        let expected = if name == "k8s" { 200 } else { 401 };
        assert_eq!(ping.status(), expected, "{name}");
    }
}

#[tokio::test]
async fn ghcr_names_a_placeholder_and_has_nothing_for_those_who_do_not_accept_it() {
    let origin = started("ghcr").await;
    let refused = get(&origin, V1).await;
    let challenge = header(&refused, "www-authenticate").unwrap();
    assert!(
        challenge.contains("scope=\"repository:user/image:pull\""),
        "{challenge}"
    );
    // Taken at its word, the token is for nothing.
    let useless = login(&refused, None).await;
    let answer = ask(&origin, Method::GET, V1, &useless, "*/*").await;
    assert_eq!(answer.status(), 401);

    let scope = format!(
        "{}?service=ghcr.io&scope=repository:{APP}:pull",
        origin.token_url()
    );
    let body = client()
        .get(scope)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert!(body.get("expires_in").is_none(), "{body}");
    let good = format!("Bearer {}", body["token"].as_str().unwrap());
    for (accept, status) in [("text/plain", 404), ("*/*", 200)] {
        let answer = ask(&origin, Method::GET, V1, &good, accept).await;
        assert_eq!(answer.status(), status, "{accept}");
    }
    let path = format!("{APP}/blobs/{}", layer(&origin).digest);
    let redirect = ask(&origin, Method::HEAD, &path, &good, "*/*").await;
    let store = location(&redirect);
    assert_eq!(client().head(store).send().await.unwrap().status(), 403);
    assert_eq!(client().get(store).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn ecr_tells_no_digest_and_refuses_an_expired_password_in_words() {
    let origin = started("ecr").await;
    let basic = "Basic QVdTOnNlY3JldA==";
    for (method, told) in [(Method::HEAD, true), (Method::GET, false)] {
        let answer = ask(&origin, method, V1, basic, "*/*").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "docker-content-digest").is_some(), told);
    }
    origin.set_password("AWS", "another");
    let answer = ask(&origin, Method::GET, V1, basic, "*/*").await;
    assert_eq!(answer.status(), 403);
    assert_eq!(header(&answer, "www-authenticate"), None);
    assert!(answer.text().await.unwrap().contains("has expired"));
    assert_eq!(get(&origin, V1).await.status(), 401);

    origin.set_password("AWS", "secret");
    origin.on(Kind::BlobGet).once(Fault::ExpiredRedirect);
    let path = format!("{APP}/blobs/{}", layer(&origin).digest);
    let redirect = ask(&origin, Method::GET, &path, basic, "*/*").await;
    let store = client().get(location(&redirect)).send().await.unwrap();
    assert_eq!(store.status(), 400);
    assert!(store.text().await.unwrap().contains("ExpiredToken"));
}

#[tokio::test]
async fn ecr_public_has_one_token_for_all_refuses_head_and_says_400_once_it_expires() {
    let origin = started("ecr-public").await;
    origin.edit("other/app", |r| r.image("v1", &spec()));
    let refused = get(&origin, V1).await;
    assert!(
        header(&refused, "www-authenticate")
            .unwrap()
            .ends_with("scope=\"aws\"")
    );
    let token = login(&refused, None).await;
    for path in [V1, "other/app/manifests/v1"] {
        assert_eq!(
            ask(&origin, Method::GET, path, &token, "*/*")
                .await
                .status(),
            200
        );
    }
    let blob = format!("{APP}/blobs/{}", layer(&origin).digest);
    assert_eq!(
        ask(&origin, Method::HEAD, &blob, &token, "*/*")
            .await
            .status(),
        401
    );
    assert_eq!(
        ask(&origin, Method::GET, &blob, &token, "*/*")
            .await
            .status(),
        307
    );
    origin.expire_tokens();
    let expired = ask(&origin, Method::GET, V1, &token, "*/*").await;
    assert_eq!(expired.status(), 400);
    assert_eq!(header(&expired, "www-authenticate"), None);
}

#[tokio::test]
async fn quay_converts_and_asks_to_keep_redirects_and_googles_are_relative() {
    let origin = started("quay").await;
    let login = token(&origin).await;
    let converted = ask(&origin, Method::GET, V1, &login, "text/plain").await;
    assert_eq!(
        header(&converted, "content-type").unwrap(),
        "application/vnd.docker.distribution.manifest.v1+prettyjws"
    );
    let path = format!("{APP}/blobs/{}", layer(&origin).digest);
    let redirect = ask(&origin, Method::GET, &path, &login, "*/*").await;
    assert_eq!(redirect.status(), 302);
    assert_eq!(header(&redirect, "cache-control"), Some("max-age=31536000"));

    let origin = started("gar").await;
    let login = token(&origin).await;
    let path = format!("{APP}/blobs/{}", layer(&origin).digest);
    let redirect = ask(&origin, Method::GET, &path, &login, "*/*").await;
    assert!(location(&redirect).starts_with('/'));
}

#[tokio::test]
async fn k8s_is_somewhere_else_where_a_token_is_asked_for() {
    let origin = started("k8s").await;
    let redirect = head(&origin, V1).await;
    assert_eq!(redirect.status(), 307);
    let target = location(&redirect);
    let prefixed = format!("/v2/k8s-artifacts-prod/images/{V1}");
    assert_eq!(target, format!("{}{prefixed}", origin.cdn_url()));
    let refused = client().get(target).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let token = login(&refused, None).await;
    let manifest = client().get(target).header(AUTHORIZATION, token);
    assert_eq!(manifest.send().await.unwrap().status(), 200);
    let statuses: Vec<_> = origin
        .requests_for(Kind::ManifestGet)
        .iter()
        .map(|r| r.status)
        .collect();
    assert_eq!(statuses, [Some(401), Some(200)]);
}
