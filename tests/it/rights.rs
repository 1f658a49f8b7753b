//! Bytes are shared, rights are not.

use forebay_loadtest::origin::{Auth, Descriptor, ImageSpec, Kind, Origin, Repository};
use http::StatusCode;

use crate::harness::{Forebay, Setup};

const SIZE: u64 = 500_000;
const LOGIN: &str = "username = \"ci\"\npassword = \"secret\"";

/// `team/one` and `team/two` are private, `team/one` and `library/app` hold the blob.
async fn origin_with_private_blob(seed: u64) -> (Origin, Descriptor) {
    let mut blob = None;
    let builder = Origin::docker_hub()
        .auth(Auth::token())
        .user("ci", "secret");
    let origin = builder
        .repository("team/one", |repository| {
            repository.private();
            blob = Some(repository.random_blob(seed, SIZE));
        })
        .repository("team/two", Repository::private)
        .repository("library/app", |repository| {
            drop(repository.random_blob(seed, SIZE));
        })
        .start()
        .await
        .unwrap();
    (origin, blob.unwrap())
}

async fn fetch(forebay: &Forebay, repository: &str, blob: &Descriptor) -> StatusCode {
    let answer = forebay.client().blob(repository, &blob.digest).await;
    if answer.claims_success() {
        assert!(answer.is_exactly(&blob.digest));
    }
    answer.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_fetched_with_credentials_is_refused_elsewhere_until_the_upstream_confirms_it() {
    let (origin, blob) = origin_with_private_blob(1).await;
    let forebay = Setup::new(&origin)
        .upstream(LOGIN)
        .config("[tags]\nnegative_for = \"0s\"")
        .start()
        .await;
    assert_eq!(fetch(&forebay, "team/one", &blob).await, StatusCode::OK);
    assert_eq!(
        fetch(&forebay, "team/two", &blob).await,
        StatusCode::NOT_FOUND
    );
    origin.edit("team/two", |repository| {
        drop(repository.random_blob(1, SIZE));
    });
    let bodies = origin.body_bytes(&blob.digest);
    assert_eq!(fetch(&forebay, "team/two", &blob).await, StatusCode::OK);
    assert_eq!(
        origin.body_bytes(&blob.digest),
        bodies,
        "the bytes were there already"
    );
    // Proven once, it is known, upstream or not.
    origin.stop().await;
    assert_eq!(fetch(&forebay, "team/two", &blob).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_fetched_anonymously_is_served_through_any_repository_of_its_upstream() {
    let (origin, blob) = origin_with_private_blob(2).await;
    let forebay = Setup::new(&origin).start().await;
    assert_eq!(fetch(&forebay, "library/app", &blob).await, StatusCode::OK);
    origin.reset();
    assert_eq!(
        fetch(&forebay, "library/other", &blob).await,
        StatusCode::OK
    );
    assert_eq!(origin.counts().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_declared_public_shares_what_was_fetched_with_credentials() {
    let (origin, blob) = origin_with_private_blob(3).await;
    let public = format!("{LOGIN}\npublic = [\"library/**\"]");
    let forebay = Setup::new(&origin).upstream(&public).start().await;
    assert_eq!(fetch(&forebay, "library/app", &blob).await, StatusCode::OK);
    assert_eq!(fetch(&forebay, "team/two", &blob).await, StatusCode::OK);
}

/// What was fetched while a glob called its repository public was written down as everyone's, and stayed so when the glob
/// was taken back.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_public_only_while_the_configuration_says_so() {
    const PUBLIC: &str = "FOREBAY_UPSTREAMS__DOCKERHUB__PUBLIC";
    let (origin, blob) = origin_with_private_blob(8).await;
    let mut forebay = Setup::new(&origin)
        .upstream(LOGIN)
        .env(PUBLIC, "**")
        .start()
        .await;
    assert_eq!(fetch(&forebay, "team/one", &blob).await, StatusCode::OK);
    assert_eq!(fetch(&forebay, "team/two", &blob).await, StatusCode::OK);
    let bodies = origin.body_bytes(&blob.digest);
    for (public, elsewhere) in [
        ("", StatusCode::NOT_FOUND),
        ("team/one", StatusCode::OK),
        ("team/two", StatusCode::NOT_FOUND),
    ] {
        let (status, setup) = forebay.stop().await;
        assert!(status.success());
        forebay = setup.env(PUBLIC, public).start().await;
        assert_eq!(fetch(&forebay, "team/one", &blob).await, StatusCode::OK);
        let got = fetch(&forebay, "team/two", &blob).await;
        assert_eq!(got, elsewhere, "public = {public:?}");
        assert_eq!(origin.body_bytes(&blob.digest), bodies, "it is cached");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_upstream_made_public_has_to_be_proven_to_another() {
    let (origin, blob) = origin_with_private_blob(4).await;
    let (other, _) = crate::harness::origin_with_blob(99, 1000).await;
    let forebay = Setup::new(&origin)
        .also("other.example", &other, "")
        .start()
        .await;
    assert_eq!(fetch(&forebay, "library/app", &blob).await, StatusCode::OK);
    assert_eq!(
        fetch(&forebay, "other.example/library/app", &blob).await,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_outlive_a_restart() {
    let (origin, blob) = origin_with_private_blob(5).await;
    let forebay = Setup::new(&origin).upstream(LOGIN).start().await;
    assert_eq!(fetch(&forebay, "team/one", &blob).await, StatusCode::OK);
    let (status, setup) = forebay.stop().await;
    assert!(status.success());
    let forebay = setup.start().await;
    origin.stop().await;
    assert_eq!(fetch(&forebay, "team/one", &blob).await, StatusCode::OK);
    let elsewhere = fetch(&forebay, "team/two", &blob).await;
    assert!(
        elsewhere.is_server_error(),
        "it can't be proven while the upstream is away: {elsewhere}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_manifest_is_refused_elsewhere() {
    let builder = Origin::docker_hub()
        .auth(Auth::token())
        .user("ci", "secret");
    let origin = builder
        .repository("team/one", |repository| {
            repository.private();
            repository.image("v1", &ImageSpec::default());
        })
        .repository("team/two", Repository::private)
        .start()
        .await
        .unwrap();
    let image = origin.image("team/one", "v1");
    let forebay = Setup::new(&origin).upstream(LOGIN).start().await;
    let client = forebay.client();
    client.pulls_manifest("team/one", &image.root.digest).await;
    let refused = client.manifest("team/two", &image.root.digest).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    assert_eq!(refused.code(), "MANIFEST_UNKNOWN");
}

/// A secret that was configured never leaves by a log line, a metric or an error.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_stay_out_of_logs_metrics_and_errors() {
    let (origin, blob) = origin_with_private_blob(6).await;
    let login = "username = \"ci\"\npassword = \"canary-7f3a\"";
    let forebay = Setup::new(&origin)
        .upstream(login)
        .config("[log]\nlevel = \"trace\"")
        .start()
        .await;
    let answer = forebay.client().blob("team/one", &blob.digest).await;
    assert!(answer.status.is_client_error() || answer.status.is_server_error());
    let metrics = forebay.admin().get("/metrics").await.text();
    for (place, text) in [
        ("answer", answer.text()),
        ("metrics", metrics),
        ("log", forebay.log()),
    ] {
        assert!(
            !text.contains("canary-7f3a"),
            "the password is in the {place}"
        );
        assert!(
            !text.contains("Y2k6Y2FuYXJ5"),
            "the encoded login is in the {place}"
        );
    }
    assert!(
        origin.counts().requests(Kind::Token) > 0,
        "the login was tried"
    );
}
