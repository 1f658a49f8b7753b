//! Challenges, tokens, users.

use std::time::Duration;

use forebay_loadtest::origin::{Auth, Authorization, Kind, Origin, TokenAuth, TokenField};
use reqwest::Method;
use reqwest::header::AUTHORIZATION;

use crate::client::{APP, client, get, get_with_login, head, header, hub, login, request, spec};

const V1: &str = "library/app/manifests/v1";
const ALICE: Option<(&str, &str)> = Some(("alice", "secret"));

async fn private() -> Origin {
    Origin::docker_hub()
        .user("alice", "secret")
        .user("bob", "hidden")
        .repository("alice/app", |r| {
            r.image("v1", &spec());
            r.only_for(&["alice"]);
        })
        .repository("team/app", |r| {
            r.image("v1", &spec());
            r.private();
        })
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn challenge_names_realm_service_and_the_scope_of_the_repository() {
    let origin = hub().await;
    let ping = get(&origin, "").await;
    assert_eq!(ping.status(), 401);
    assert_eq!(
        header(&ping, "www-authenticate").unwrap(),
        format!(
            "Bearer realm=\"{}\",service=\"registry.docker.io\"",
            origin.token_url()
        )
    );
    let manifest = get(&origin, V1).await;
    assert_eq!(manifest.status(), 401);
    let challenge = header(&manifest, "www-authenticate").unwrap();
    assert!(
        challenge.ends_with(",scope=\"repository:library/app:pull\""),
        "{challenge}"
    );
}

#[tokio::test]
async fn anonymous_token_reads_public_repositories() {
    let origin = hub().await;
    let response = get_with_login(&origin, V1, None).await;
    assert_eq!(response.status(), 200);
    let seen: Vec<_> = origin
        .requests()
        .iter()
        .map(|request| request.authorization)
        .collect();
    assert_eq!(
        seen,
        [
            Authorization::None,
            Authorization::None,
            Authorization::Bearer
        ]
    );
    assert_eq!(origin.counts().requests(Kind::Token), 1);
    assert_eq!(origin.counts().of(Kind::ManifestGet).ok, 1);
}

#[tokio::test]
async fn token_of_one_repository_is_refused_for_another() {
    let origin = hub().await;
    origin.edit("library/other", |r| r.image("v1", &spec()));
    let token = login(&get(&origin, V1).await, None).await;
    let response = request(&origin, Method::GET, "library/other/manifests/v1")
        .header(AUTHORIZATION, token)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    assert!(
        header(&response, "www-authenticate")
            .unwrap()
            .contains("insufficient_scope")
    );
}

#[tokio::test]
async fn private_repository_needs_a_user_that_may_read_it() {
    let origin = private().await;
    for (path, user, status) in [
        ("alice/app/manifests/v1", None, 401),
        ("alice/app/manifests/v1", Some(("bob", "hidden")), 401),
        ("alice/app/manifests/v1", ALICE, 200),
        ("team/app/manifests/v1", None, 401),
        ("team/app/manifests/v1", Some(("bob", "hidden")), 200),
        ("nobody/app/manifests/v1", ALICE, 401),
    ] {
        assert_eq!(
            get_with_login(&origin, path, user).await.status(),
            status,
            "{path} {user:?}"
        );
    }
}

#[tokio::test]
async fn token_service_refuses_wrong_passwords_services_and_scopes() {
    let origin = private().await;
    let service = "service=registry.docker.io";
    for (query, user, status) in [
        (service.to_owned(), None, 200),
        (service.to_owned(), Some(("alice", "wrong")), 401),
        (service.to_owned(), Some(("", "")), 200),
        ("service=other".to_owned(), None, 400),
        (String::new(), None, 400),
        (format!("{service}&scope=library"), None, 400),
    ] {
        let mut request = client().get(format!("{}?{query}", origin.token_url()));
        if let Some((user, password)) = user {
            request = request.basic_auth(user, Some(password));
        }
        assert_eq!(
            request.send().await.unwrap().status(),
            status,
            "{query} {user:?}"
        );
    }
}

#[tokio::test]
async fn expired_token_is_challenged_again() {
    let origin = hub().await;
    let token = login(&get(&origin, V1).await, None).await;
    origin.expire_tokens();
    let response = request(&origin, Method::HEAD, V1)
        .header(AUTHORIZATION, token)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    assert!(
        header(&response, "www-authenticate")
            .unwrap()
            .contains("invalid_token")
    );
}

#[tokio::test]
async fn token_answer_has_the_fields_it_is_told_to_have() {
    for (auth, fields) in [
        (
            TokenAuth::default(),
            vec!["access_token", "expires_in", "issued_at", "token"],
        ),
        (
            TokenAuth {
                announces_lifetime: false,
                announces_issue: false,
                field: TokenField::Token,
                ..TokenAuth::default()
            },
            vec!["token"],
        ),
        (
            TokenAuth {
                announces_issue: false,
                field: TokenField::AccessToken,
                lifetime: Duration::from_secs(90),
                ..TokenAuth::default()
            },
            vec!["access_token", "expires_in"],
        ),
    ] {
        let lifetime = auth.lifetime.as_secs();
        let origin = Origin::builder()
            .auth(Auth::Token(auth))
            .start()
            .await
            .unwrap();
        let url = format!("{}?service=registry.docker.io", origin.token_url());
        let body = client()
            .get(url)
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), fields);
        if fields.contains(&"expires_in") {
            assert_eq!(body["expires_in"], lifetime);
        }
    }
}

#[tokio::test]
async fn basic_mode_wants_a_user_for_everything() {
    let origin = Origin::builder()
        .auth(Auth::Basic)
        .user("alice", "secret")
        .repository(APP, |r| r.image("v1", &spec()))
        .start()
        .await
        .unwrap();
    assert_eq!(get(&origin, "").await.status(), 401);
    let response = head(&origin, V1).await;
    assert_eq!(response.status(), 401);
    assert!(
        header(&response, "www-authenticate")
            .unwrap()
            .starts_with("Basic ")
    );
    for (password, status) in [("secret", 200), ("wrong", 401)] {
        let request = request(&origin, Method::GET, V1).basic_auth("alice", Some(password));
        assert_eq!(request.send().await.unwrap().status(), status);
    }
    assert_eq!(
        origin.requests().last().unwrap().authorization,
        Authorization::Basic
    );
}

#[tokio::test]
async fn open_mode_needs_nothing() {
    let origin = crate::client::plain().await;
    assert_eq!(get(&origin, "").await.status(), 200);
    assert_eq!(get(&origin, V1).await.status(), 200);
}
