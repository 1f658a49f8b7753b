//! Amazon ECR: the password comes from its API, for a key of AWS's standard chain.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use forebay_loadtest::cloud::{Aws, Key};
use forebay_loadtest::origin::{
    Auth, Expiry, Fault, ImageSpec, Kind, Origin, Quirks, Reply, Request,
};
use http::StatusCode;

use super::private_origin;
use crate::harness::{Answer, Forebay, Setup, assert_unseen, authority, secrets_of, tls_before};

const REGISTRY: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const PASSWORD: &str = "canary-password";
/// How long a password may take to be replaced on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const HALF_A_DAY: Duration = Duration::from_hours(12);
const CALL: &str = "ecr 123456789012 eu-west-1";

fn key() -> Key {
    Key::new("AKIDCANARY", "canary-key", Some("canary-session"))
}

/// A registry and the API that gives its password.
struct Ecr {
    origin: Origin,
    aws: Aws,
}

impl Ecr {
    async fn start() -> Self {
        Self::at(private_origin(Auth::Basic, "AWS", PASSWORD).await).await
    }

    /// As [`Ecr::start`], at a registry that says as ECR does that a password has expired: with 403 and no challenge.
    async fn start_in_its_words() -> Self {
        let builder = Origin::docker_hub().auth(Auth::Basic).user("AWS", PASSWORD);
        let builder = builder.quirks(Quirks {
            expiry: Expiry::Forbidden,
            ..Quirks::default()
        });
        let builder = builder.repository("team/app", |repository| {
            repository.private();
            repository.image("v1", &ImageSpec::default());
        });
        Self::at(builder.start().await.expect("the origin starts")).await
    }

    async fn at(origin: Origin) -> Self {
        Self {
            origin,
            aws: Aws::start(key(), PASSWORD).await.expect("it starts"),
        }
    }

    /// A mirror of it whose environment has nothing of AWS's.
    fn mirror(&self, lines: &str) -> Setup {
        let endpoint = self.aws.url();
        self.mirror_of(&format!(
            "credentials = \"ecr\"\necr_endpoint = {endpoint:?}\n{lines}"
        ))
    }

    fn mirror_of(&self, lines: &str) -> Setup {
        Setup::with_endpoint("http://127.0.0.1:9")
            .also(REGISTRY, &self.origin, lines)
            .without_clouds()
            .env("FOREBAY_LOG__LEVEL", "trace")
    }

    fn mirror_with_key(&self) -> Setup {
        Self::with_key(self.mirror(""))
    }

    fn with_key(setup: Setup) -> Setup {
        setup
            .env("AWS_ACCESS_KEY_ID", key().id)
            .env("AWS_SECRET_ACCESS_KEY", key().secret)
            .env("AWS_SESSION_TOKEN", key().session.unwrap())
    }

    /// Pulls the whole image.
    async fn pull(&self, forebay: &Forebay) {
        let answer = manifest(forebay).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", forebay.log());
        for blob in self.origin.image("team/app", "v1").manifests[0].blobs() {
            let path = format!("/v2/{REGISTRY}/team/app/blobs/{}", blob.digest);
            let answer = forebay.client().get(&path).await;
            assert!(answer.is_exactly(&blob.digest), "{}", forebay.log());
        }
        let mut secrets = secrets_of(&self.origin);
        assert!(secrets.contains(PASSWORD), "{secrets:?}");
        secrets.insert("canary".to_owned());
        assert_unseen(&secrets, "the log", &forebay.log());
    }
}

async fn manifest(forebay: &Forebay) -> Answer {
    let path = format!("/v2/{REGISTRY}/team/app/manifests/v1");
    forebay.client().get(&path).await
}

/// Writes a file of AWS's with this key as that of the profile `ci`.
fn write_profile(path: &Path, key: &Key) {
    let Key {
        id,
        secret,
        session,
    } = key;
    let mut text = format!("[ci]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    if let Some(session) = session {
        writeln!(text, "aws_session_token = {session}").unwrap();
    }
    std::fs::write(path, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_link_of_awss_chain_gives_a_key() {
    let ecr = Ecr::start().await;
    let files = tempfile::tempdir().unwrap();
    let credentials = files.path().join("credentials");
    write_profile(&credentials, &key());
    let web_identity = files.path().join("token");
    std::fs::write(&web_identity, "web-identity").unwrap();
    let url = ecr.aws.url();
    let container = format!("{url}/container");
    for (setup, source) in [
        (ecr.mirror_with_key(), None),
        (
            ecr.mirror("aws_profile = \"ci\"")
                .env("AWS_SHARED_CREDENTIALS_FILE", &credentials),
            None,
        ),
        (
            ecr.mirror("")
                .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/puller")
                .env("AWS_WEB_IDENTITY_TOKEN_FILE", &web_identity)
                .env("AWS_ENDPOINT_URL_STS", &url),
            Some("sts"),
        ),
        (
            ecr.mirror("")
                .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container)
                .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-token"),
            Some("container"),
        ),
        (
            ecr.mirror("")
                .env("AWS_EC2_METADATA_DISABLED", "false")
                .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url),
            Some("instance"),
        ),
    ] {
        let before = ecr.aws.calls().len();
        ecr.pull(&setup.start().await).await;
        let calls = ecr.aws.calls();
        let expected: Vec<_> = source.into_iter().chain([CALL]).collect();
        assert_eq!(calls[before..], expected, "one password for all requests");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_password_is_replaced_once_in_both_ways_that_it_is_said() {
    // ECR says it with 403 and no challenge, S3 with 400 where ECR redirects to.
    for at_store in [false, true] {
        let ecr = Ecr::start_in_its_words().await;
        let forebay = ecr.mirror_with_key().start().await;
        assert_eq!(manifest(&forebay).await.status, StatusCode::OK);
        if at_store {
            // That is about what ECR has signed with: it signs anew, whatever the password.
            let expired = Reply::status(400).json(&serde_json::json!({"Code": "ExpiredToken"}));
            let fault = Fault::Answer(expired);
            ecr.origin.on(Kind::CdnGet).once(fault);
        } else {
            ecr.origin.set_password("AWS", "canary-next");
            ecr.aws.set_password("canary-next", HALF_A_DAY);
        }
        ecr.pull(&forebay).await;
        assert_eq!(ecr.aws.calls(), [CALL, CALL], "at the store: {at_store}");
    }
}

/// A HEAD that meets an expired password is refused without a word of why: it was taken for a denial, and the tag was not
/// served any more.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_password_that_a_head_meets_is_replaced_too() {
    let ecr = Ecr::start_in_its_words().await;
    let due_at_once = ecr.mirror("tags = { fresh_for = \"0s\" }\n");
    let forebay = Ecr::with_key(due_at_once).start().await;
    ecr.pull(&forebay).await;
    ecr.origin.set_password("AWS", "canary-next");
    ecr.aws.set_password("canary-next", HALF_A_DAY);
    ecr.origin.reset();
    ecr.pull(&forebay).await;
    let heads = ecr.origin.requests_for(Kind::ManifestHead);
    let statuses: Vec<_> = heads.iter().filter_map(|head| head.status).collect();
    assert_eq!(statuses, [403, 200]);
    // Who may not pull is refused as before, and the source is not asked for each refusal.
    ecr.origin.set_password("AWS", "canary-lost");
    for _ in 0..5 {
        assert_eq!(manifest(&forebay).await.status, StatusCode::FORBIDDEN);
    }
    assert!(ecr.aws.calls().len() <= 3, "{:?}", ecr.aws.calls());
}

/// The test of this asserted that a password was asked for once, and would have passed with the renewal deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_replaced_before_it_ends_and_the_registry_refuses_none() {
    let ecr = Ecr::start().await;
    ecr.aws.set_password(PASSWORD, Duration::from_secs(1));
    let forebay = ecr.mirror_with_key().start().await;
    ecr.pull(&forebay).await;
    // What is pulled next is in the cache, but for the right to it, which another tag asks for.
    let renewed = async {
        for tag in 1.. {
            let path = format!("/v2/{REGISTRY}/team/app/manifests/none-{tag}");
            let answer = forebay.client().get(&path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", forebay.log());
            if ecr.aws.calls().len() > 1 {
                return;
            }
        }
    };
    let renewed = tokio::time::timeout(PATIENCE, renewed).await;
    assert!(renewed.is_ok(), "{}", forebay.log());
    assert_eq!(ecr.aws.calls()[..2], [CALL, CALL]);
    let refused = |request: &Request| request.status == Some(401) || request.status == Some(403);
    let refused = ecr
        .origin
        .requests()
        .iter()
        .filter(|one| refused(one))
        .count();
    assert_eq!(refused, 1, "the first request, which brought none");
}

/// The chain of keys was set up once and kept the file as it was: a key that was written over it never counted.
#[tokio::test(flavor = "multi_thread")]
async fn another_key_in_awss_file_counts_without_a_restart() {
    let ecr = Ecr::start().await;
    let files = tempfile::tempdir().unwrap();
    let credentials = files.path().join("credentials");
    write_profile(&credentials, &key());
    let forebay = ecr
        .mirror("aws_profile = \"ci\"")
        .config("[tags]\nfresh_for = \"0s\"")
        .env("AWS_SHARED_CREDENTIALS_FILE", &credentials)
        .start()
        .await;
    ecr.pull(&forebay).await;
    let other = Key::new("AKIDOTHER", "canary-other-key", None);
    write_profile(&credentials, &other);
    ecr.aws.set_key(other);
    ecr.origin.set_password("AWS", "canary-password-2");
    ecr.aws
        .set_password("canary-password-2", Duration::from_hours(12));
    assert_eq!(manifest(&forebay).await.status, StatusCode::OK);
    assert_eq!(ecr.aws.calls(), [CALL, CALL]);
}

/// The API was asked without the upstream's `ca_file`, and the error said to set it.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_trusted_by_the_upstreams_authority() {
    let ecr = Ecr::start().await;
    let host = ecr.aws.url().replace("http://", "");
    let secure = tls_before(host, Ipv4Addr::LOCALHOST.into()).await;
    let lines = format!(
        "credentials = \"ecr\"\necr_endpoint = \"https://{secure}\"\nca_file = '{}'",
        authority().display()
    );
    let forebay = Ecr::with_key(ecr.mirror_of(&lines)).start().await;
    ecr.pull(&forebay).await;
}

/// That AWS's token service says no to an identity counted as trouble, so that what it had read was served on for a week.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cached_is_not_served_to_a_role_that_is_gone() {
    let ecr = Ecr::start().await;
    let files = tempfile::tempdir().unwrap();
    let web_identity = files.path().join("token");
    std::fs::write(&web_identity, "web-identity").unwrap();
    let forebay = ecr
        .mirror("")
        .config("[tags]\nfresh_for = \"0s\"")
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/puller")
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", &web_identity)
        .env("AWS_ENDPOINT_URL_STS", ecr.aws.url())
        .start()
        .await;
    ecr.pull(&forebay).await;
    ecr.aws.expel();
    ecr.origin.set_password("AWS", "canary-password-2");
    let answer = manifest(&forebay).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", forebay.log());
    // Where no login is to be had nothing is known of the right to read; where one was refused, that is known.
    let ecr = Ecr::start().await;
    let forebay = ecr
        .mirror_with_key()
        .config("[tags]\nfresh_for = \"0s\"")
        .start()
        .await;
    ecr.pull(&forebay).await;
    ecr.aws
        .refuse(Some((StatusCode::INTERNAL_SERVER_ERROR, "ServerException")));
    ecr.origin.set_password("AWS", "canary-password-2");
    assert_eq!(manifest(&forebay).await.status, StatusCode::FORBIDDEN);
    ecr.origin.set_password("AWS", PASSWORD);
    ecr.aws.refuse(None);
    ecr.pull(&forebay).await;
    ecr.aws
        .refuse(Some((StatusCode::INTERNAL_SERVER_ERROR, "ServerException")));
    let forebay = forebay.restart().await;
    assert_eq!(manifest(&forebay).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_key_is_told_and_is_no_absence() {
    let cases = [
        (Some("AKIDOTHER"), None, "UnrecognizedClientException"),
        (
            None,
            Some((StatusCode::BAD_REQUEST, "ExpiredTokenException")),
            "ExpiredTokenException",
        ),
        (
            None,
            Some((StatusCode::INTERNAL_SERVER_ERROR, "ServerException")),
            "answers 500",
        ),
    ];
    for (id, refusal, told) in cases {
        let ecr = Ecr::start().await;
        ecr.aws.refuse(refusal);
        let mut setup = ecr.mirror_with_key();
        if let Some(id) = id {
            setup = setup.env("AWS_ACCESS_KEY_ID", id);
        }
        let forebay = setup.start().await;
        let answer = manifest(&forebay).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{told}");
        told_to_the_operator_alone(&forebay, &answer, told).await;
        assert!(!forebay.log().contains("canary"), "{}", forebay.log());
    }
    let ecr = Ecr::start().await;
    let forebay = ecr.mirror("").start().await;
    let answer = manifest(&forebay).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    told_to_the_operator_alone(&forebay, &answer, "no AWS key is found").await;
}

/// AWS names accounts, roles and paths, which are none of a client's business.
async fn told_to_the_operator_alone(forebay: &Forebay, answer: &Answer, told: &str) {
    let text = answer.text();
    forebay.until_logged(told, |log| log.contains(told)).await;
    assert!(!text.contains(told), "{text}");
    assert!(text.contains("the login of its ecr"), "{text}");
}
