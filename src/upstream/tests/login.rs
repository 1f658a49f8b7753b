//! Challenges and tokens: what is asked for, how often, and who gets to see what.

use forebay_loadtest::origin::{
    Auth, Authorization, Fault, Kind, Origin, Reply, Repository, TokenAuth, TokenField,
};

use super::{count, latest, name, origin, password, set_up, settings, upstream_of};
use crate::upstream::{Access, ErrorKind};

#[tokio::test]
async fn only_the_first_request_pays_for_a_challenge() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    for _ in 0..3 {
        let manifest = upstream.get_manifest(&name(), &latest()).await.unwrap();
        assert_eq!(manifest.access, Access::Anonymous);
    }
    assert_eq!(count(&origin, Kind::ManifestGet), 4);
    assert_eq!(count(&origin, Kind::Token), 1);

    // Another repository: another token, and no further challenge.
    origin.edit("other/app", |repository| {
        repository.image("latest", &forebay_loadtest::origin::ImageSpec::default())
    });
    origin.reset();
    let other = "other/app".parse().unwrap();
    upstream.get_manifest(&other, &latest()).await.unwrap();
    assert_eq!(count(&origin, Kind::ManifestGet), 1);
    let token = &origin.requests_for(Kind::Token)[0];
    assert!(
        token
            .target
            .contains("scope=repository%3Aother%2Fapp%3Apull"),
        "{}",
        token.target
    );
    assert!(
        token.target.contains("service=registry.docker.io"),
        "{}",
        token.target
    );
    assert_eq!(token.authorization, Authorization::None);
}

#[tokio::test]
async fn fifty_concurrent_pulls_ask_for_one_token() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    let pulls: Vec<_> = (0..50)
        .map(|_| {
            let upstream = upstream.clone();
            tokio::spawn(async move { upstream.get_manifest(&name(), &latest()).await })
        })
        .collect();
    for pull in pulls {
        pull.await.unwrap().unwrap();
    }
    assert_eq!(count(&origin, Kind::Token), 1);
}

#[tokio::test]
async fn an_open_registry_sees_no_login_even_where_one_is_configured() {
    let origin = origin(Origin::builder().user("user", "pass")).await;
    let upstream = set_up(crate::config::Upstream {
        credentials: password("user", "pass"),
        ..settings(&[&origin.registry_url()])
    });
    let manifest = upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(manifest.access, Access::Anonymous);
    assert_eq!(origin.counts().total(), 1);
    assert_eq!(origin.requests()[0].authorization, Authorization::None);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    origin.expire_tokens();
    origin.reset();
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(count(&origin, Kind::ManifestGet), 2);
    assert_eq!(count(&origin, Kind::Token), 1);
}

#[tokio::test]
async fn fifty_requests_with_a_refused_token_ask_for_one_new_one() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    origin.expire_tokens();
    origin.reset();
    let pulls: Vec<_> = (0..50)
        .map(|_| {
            let upstream = upstream.clone();
            tokio::spawn(async move { upstream.get_manifest(&name(), &latest()).await })
        })
        .collect();
    for pull in pulls {
        pull.await.unwrap().unwrap();
    }
    assert_eq!(count(&origin, Kind::Token), 1);
}

#[tokio::test]
async fn expired_tokens_are_recognised_without_a_challenge() {
    let ecr = Reply::error(
        403,
        "DENIED",
        "Your authorization token has expired. Reauthenticate and try again.",
    );
    let ecr_public = |auth: &mut TokenAuth| auth.service = "public.ecr.aws".to_owned();
    for (auth, refusal) in [
        (token_auth(ecr_public), Reply::status(400)),
        (Auth::token(), ecr),
    ] {
        let origin = origin(Origin::docker_hub().auth(auth)).await;
        let upstream = upstream_of(&origin);
        upstream.get_manifest(&name(), &latest()).await.unwrap();
        origin.reset();
        origin.on(Kind::ManifestGet).once(Fault::Answer(refusal));
        upstream.get_manifest(&name(), &latest()).await.unwrap();
        assert_eq!(count(&origin, Kind::Token), 1);
    }
}

/// Every 400 counted as an expired login, so that each bad request of a client cost a token and a second request.
#[tokio::test]
async fn a_bad_request_is_no_expired_login() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    origin.reset();
    for reply in [
        Reply::status(400),
        Reply::error(400, "TAG_INVALID", "no tag expired"),
    ] {
        origin.on(Kind::ManifestGet).once(Fault::Answer(reply));
        let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(count(&origin, Kind::ManifestGet), 2);
    assert_eq!(count(&origin, Kind::Token), 0);
}

#[tokio::test]
async fn a_private_repository_is_refused_without_asking_on_and_on() {
    let origin = origin(Origin::docker_hub().repository(super::NAME, Repository::private)).await;
    let upstream = upstream_of(&origin);
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(!error.is_trouble() && error.is_refusal());
    assert_eq!(count(&origin, Kind::ManifestGet), 2);
    assert_eq!(count(&origin, Kind::Token), 1);
}

#[tokio::test]
async fn a_password_goes_to_the_token_service_and_not_to_the_registry() {
    let origin = origin(
        Origin::docker_hub()
            .user("user", "pass")
            .repository(super::NAME, Repository::private),
    )
    .await;
    let upstream = set_up(crate::config::Upstream {
        credentials: password("user", "pass"),
        ..settings(&[&origin.registry_url()])
    });
    let manifest = upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(manifest.access, Access::Credentialed);
    let seen = |kind| -> Vec<_> {
        let requests = origin.requests_for(kind);
        requests
            .iter()
            .map(|request| request.authorization)
            .collect()
    };
    assert_eq!(seen(Kind::Token), [Authorization::Basic]);
    assert_eq!(
        seen(Kind::ManifestGet),
        [Authorization::None, Authorization::Bearer]
    );
}

#[tokio::test]
async fn a_wrong_password_is_a_failed_login_and_not_an_absence() {
    let origin = origin(Origin::docker_hub().user("user", "pass")).await;
    let upstream = set_up(crate::config::Upstream {
        credentials: password("user", "wrong"),
        ..settings(&[&origin.registry_url()])
    });
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(
        error.to_string().contains("check the credentials"),
        "{error}"
    );
    assert_eq!(count(&origin, Kind::Token), 1);
}

#[tokio::test]
async fn basic_is_sent_when_asked_for_and_brought_along_from_then_on() {
    let origin = origin(Origin::builder().auth(Auth::Basic).user("user", "pass")).await;
    let upstream = set_up(crate::config::Upstream {
        credentials: password("user", "pass"),
        ..settings(&[&origin.registry_url()])
    });
    for _ in 0..3 {
        let manifest = upstream.get_manifest(&name(), &latest()).await.unwrap();
        assert_eq!(manifest.access, Access::Credentialed);
    }
    assert_eq!(count(&origin, Kind::ManifestGet), 4);
}

#[tokio::test]
async fn basic_without_credentials_says_what_to_configure() {
    let origin = origin(Origin::builder().auth(Auth::Basic).user("user", "pass")).await;
    let upstream = upstream_of(&origin);
    for _ in 0..2 {
        let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(
            error.to_string().contains("username and password_file"),
            "{error}"
        );
    }
    assert_eq!(count(&origin, Kind::ManifestGet), 2);
}

#[tokio::test]
async fn basic_with_a_wrong_password_is_tried_once() {
    let origin = origin(Origin::builder().auth(Auth::Basic).user("user", "pass")).await;
    let upstream = set_up(crate::config::Upstream {
        credentials: password("user", "wrong"),
        ..settings(&[&origin.registry_url()])
    });
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(count(&origin, Kind::ManifestGet), 2);
}

fn token_auth(change: impl FnOnce(&mut TokenAuth)) -> Auth {
    let mut auth = TokenAuth::default();
    change(&mut auth);
    Auth::Token(auth)
}

#[tokio::test]
async fn token_answers_of_every_kind_are_read() {
    for auth in [
        token_auth(|auth| auth.field = TokenField::Token),
        token_auth(|auth| auth.field = TokenField::AccessToken),
        token_auth(|auth| auth.announces_lifetime = false),
        token_auth(|auth| auth.announces_issue = false),
    ] {
        let origin = origin(Origin::builder().auth(auth)).await;
        let upstream = upstream_of(&origin);
        upstream.get_manifest(&name(), &latest()).await.unwrap();
        upstream.get_manifest(&name(), &latest()).await.unwrap();
        assert_eq!(count(&origin, Kind::Token), 1);
    }
}

#[tokio::test]
async fn a_foreign_realm_is_never_asked() {
    let elsewhere = origin(Origin::docker_hub()).await;
    let foreign = elsewhere.token_url().replace("127.0.0.1", "localhost");
    let auth = token_auth(|auth| auth.realm = Some(foreign));
    let origin = origin(Origin::builder().auth(auth).user("user", "pass")).await;
    let settings = crate::config::Upstream {
        credentials: password("user", "pass"),
        ..settings(&[&origin.registry_url()])
    };

    let error = set_up(settings.clone())
        .get_manifest(&name(), &latest())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy);
    assert!(error.to_string().contains("trusted_realms"), "{error}");
    assert_eq!(elsewhere.counts().total(), 0);

    // Trusted by name, it is asked; its tokens are not this origin's, so that the login then fails.
    let trusting = crate::config::Upstream {
        trusted_realms: vec!["localhost".to_owned()],
        credentials: crate::config::Credentials::None,
        ..settings
    };
    let error = set_up(trusting)
        .get_manifest(&name(), &latest())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(count(&elsewhere, Kind::Token), 1);
}

#[tokio::test]
async fn a_realm_at_a_private_address_is_refused() {
    // The registry is exempt, since it is configured; the token service on another port is not.
    let origin = origin(Origin::docker_hub()).await;
    let upstream = set_up(crate::config::Upstream {
        allow_private: false,
        ..settings(&[&origin.registry_url()])
    });
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy);
    assert!(error.to_string().contains("allow_private"), "{error}");
    assert_eq!(count(&origin, Kind::Token), 0);
}

#[tokio::test]
async fn token_service_in_trouble_is_trouble_and_never_absence() {
    for (reply, kind, requests) in [
        (Reply::status(404), ErrorKind::Invalid, 1),
        (Reply::quota_spent(), ErrorKind::TooManyRequests, 1),
        (Reply::status(403), ErrorKind::Denied, 1),
        (Reply::status(200).body("no JSON"), ErrorKind::Invalid, 1),
        (
            Reply::status(200).body(vec![b' '; 70_000]),
            ErrorKind::Invalid,
            1,
        ),
        (
            Reply::status(503),
            ErrorKind::Unavailable(crate::upstream::Trouble::Status(503)),
            3,
        ),
    ] {
        let origin = origin(Origin::docker_hub()).await;
        let upstream = upstream_of(&origin);
        origin.on(Kind::Token).always(Fault::Answer(reply));
        let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(count(&origin, Kind::Token), requests, "{error}");
    }
}

#[tokio::test]
async fn a_token_service_that_moved_is_found_again() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    origin.expire_tokens();
    origin.reset();
    // The challenge that is remembered leads nowhere any more: a request for another repository's
    // token fails, and the registry is asked afresh.
    origin.on(Kind::Token).once(Fault::status(404));
    origin.edit("other/app", |r| {
        r.image("latest", &forebay_loadtest::origin::ImageSpec::default())
    });
    let other = "other/app".parse().unwrap();
    upstream.get_manifest(&other, &latest()).await.unwrap();
    assert_eq!(count(&origin, Kind::Token), 2);
    assert_eq!(count(&origin, Kind::ManifestGet), 2);
}

#[tokio::test]
async fn token_redirects_stay_within_the_service() {
    let elsewhere = origin(Origin::docker_hub()).await;
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    origin
        .on(Kind::Token)
        .always(Fault::redirect_to(&elsewhere.token_url()));
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy);
    assert_eq!(elsewhere.counts().total(), 0);
}
