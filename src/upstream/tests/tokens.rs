//! Token services: how often they are asked, what they answer, and who shares what they give.

use std::time::Duration;

use forebay_loadtest::origin::{
    Auth, Authorization, Fault, ImageSpec, Kind, Origin, Reply, Repository, TokenAuth,
};

use super::{
    NAME, configured, count, latest, manifest_and_layer, name, origin, password, set_up, settings,
    upstream_of,
};
use crate::oci::{Registry, RepositoryName};
use crate::upstream::{ErrorKind, Trouble, Upstreams};

#[tokio::test]
async fn a_hundred_cold_clients_ask_for_one_token_a_repository() {
    let origin = origin(Origin::builder().auth(Auth::token())).await;
    origin.edit("other/app", |repository| {
        repository.image("latest", &ImageSpec::default())
    });
    let upstream = upstream_of(&origin);
    let names: [RepositoryName; 2] = [name(), "other/app".parse().unwrap()];
    let pulls: Vec<_> = (0..200)
        .map(|n| {
            let (upstream, name) = (upstream.clone(), names[n % 2].clone());
            tokio::spawn(async move { upstream.get_manifest(&name, &latest()).await })
        })
        .collect();
    for pull in pulls {
        pull.await.unwrap().unwrap();
    }
    assert_eq!(count(&origin, Kind::Token), 2);
}

#[tokio::test]
async fn every_question_about_a_repository_takes_the_same_token() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    let (manifest, layer) = manifest_and_layer(&origin);
    upstream.head_manifest(&name(), &latest()).await.unwrap();
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    upstream.get_blob(&name(), &layer, None).await.unwrap();
    upstream.confirm_blob(&name(), &layer).await.unwrap();
    upstream.tags(&name(), None, None).await.unwrap();
    upstream.referrers(&name(), &manifest, None).await.unwrap();
    assert_eq!(count(&origin, Kind::Token), 1);
}

/// Tokens were kept by the registry's host and the user's name. An upstream with the same of both, and a password that had
/// expired or was another's, was given the other's tokens.
#[tokio::test]
async fn two_upstreams_share_no_token() {
    let private = Origin::docker_hub()
        .user("user", "pass")
        .repository(NAME, Repository::private);
    let origin = origin(private).await;
    let upstreams = ["a.test", "b.test", "c.test"].map(|registry| crate::config::Upstream {
        registry: registry.parse().unwrap(),
        credentials: password(
            "user",
            if registry == "b.test" {
                "wrong"
            } else {
                "pass"
            },
        ),
        ..settings(&[&origin.registry_url()])
    });
    let upstreams = Upstreams::new(&configured(upstreams.to_vec())).unwrap();
    let pull = async |registry: &str| {
        let registry: Registry = registry.parse().unwrap();
        let upstream = upstreams.get(&registry).unwrap();
        upstream.get_manifest(&name(), &latest()).await.map(drop)
    };
    pull("a.test").await.unwrap();
    let error = pull("b.test").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    pull("c.test").await.unwrap();
    assert_eq!(count(&origin, Kind::Token), 3);
}

#[tokio::test]
async fn a_token_service_that_refuses_for_load_is_left_alone() {
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    let busy = Reply::quota_spent().header("retry-after", "60");
    origin.on(Kind::Token).always(Fault::Answer(busy));
    for _ in 0..10 {
        let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooManyRequests);
        assert!(error.is_trouble());
        let wait = error.retry_after().unwrap();
        assert!(wait > Duration::from_secs(30) && wait <= Duration::from_mins(1));
    }
    // The other repositories' tokens come from there too.
    let other = "other/app".parse().unwrap();
    let error = upstream.get_manifest(&other, &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyRequests);
    assert_eq!(count(&origin, Kind::Token), 1);
}

#[tokio::test]
async fn a_token_service_that_hangs_is_a_time_out() {
    let origin = origin(Origin::docker_hub()).await;
    let mut settings = settings(&[&origin.registry_url()]);
    settings.timeouts.connect = Duration::from_millis(800);
    settings.timeouts.first_byte = Duration::from_millis(200);
    origin.on(Kind::Token).always(Fault::hang());
    let upstream = set_up(settings);
    let error = upstream.get_manifest(&name(), &latest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable(Trouble::Timeout));
    assert!(error.is_trouble());
}

#[tokio::test]
async fn a_page_of_html_is_no_token() {
    let origin = origin(Origin::docker_hub()).await;
    let page = Reply::status(200)
        .header("content-type", "text/html")
        .body("<html><body>Please log in to this network</body></html>");
    origin.on(Kind::Token).always(Fault::Answer(page));
    let error = upstream_of(&origin)
        .get_manifest(&name(), &latest())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("not JSON"), "{error}");
    assert_eq!(count(&origin, Kind::Token), 1);
}

#[tokio::test]
async fn a_token_service_may_redirect_within_itself() {
    let private = Origin::docker_hub()
        .user("user", "pass")
        .repository(NAME, Repository::private);
    let origin = origin(private).await;
    let upstream = set_up(crate::config::Upstream {
        credentials: password("user", "pass"),
        ..settings(&[&origin.registry_url()])
    });
    let again = format!(
        "/token?service={}&scope=repository:{NAME}:pull",
        TokenAuth::default().service
    );
    origin
        .on(Kind::Token)
        .once(Fault::Answer(Reply::status(307).header("location", again)));
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    let seen: Vec<_> = origin
        .requests_for(Kind::Token)
        .iter()
        .map(|request| request.authorization)
        .collect();
    assert_eq!(seen, [Authorization::Basic, Authorization::Basic]);
}

/// A realm that was gone for good was asked for ever: only a token service that answered nonsense was looked for anew.
#[tokio::test]
async fn a_token_service_that_is_gone_is_looked_for_where_it_is_now() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/token", listener.local_addr().unwrap())
    };
    let origin = origin(Origin::docker_hub()).await;
    let upstream = upstream_of(&origin);
    let old = format!("Bearer realm=\"{gone}\",service=\"registry.docker.io\"");
    let refusal = Reply::error(401, "UNAUTHORIZED", "who are you?");
    origin
        .on(Kind::ManifestGet)
        .before_auth()
        .once(Fault::Answer(refusal.header("www-authenticate", old)));
    upstream.get_manifest(&name(), &latest()).await.unwrap();
    assert_eq!(count(&origin, Kind::Token), 1);
}
