//! Google's registries: the password is an access token, for a service account's key.

use forebay_loadtest::cloud::Google;
use forebay_loadtest::origin::{Auth, ImageSpec, Origin};
use http::StatusCode;

use crate::harness::{Setup, manifest_path};

const TOKEN: &str = "canary-access-token";

async fn origin() -> Origin {
    let builder = Origin::docker_hub()
        .auth(Auth::token())
        .user("oauth2accesstoken", TOKEN);
    let builder = builder.repository("team/app", |repository| {
        repository.private();
        repository.image("v1", &ImageSpec::default());
    });
    builder.start().await.expect("the origin starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_accounts_key_gives_one_access_token() {
    let origin = origin().await;
    let google = Google::start(TOKEN).await.unwrap();
    let files = tempfile::tempdir().unwrap();
    let key = files.path().join("key.json");
    google.write_key(&key).unwrap();
    let by_config = Setup::new(&origin)
        .upstream("credentials = \"gcp\"")
        .upstream(&format!("gcp_key_file = {key:?}"));
    let by_environment = Setup::new(&origin)
        .upstream("credentials = \"gcp\"")
        .env("GOOGLE_APPLICATION_CREDENTIALS", &key);
    for (setup, granted) in [(by_config, 1), (by_environment, 2)] {
        let forebay = setup.env("FOREBAY_LOG__LEVEL", "trace").start().await;
        for _ in 0..2 {
            let answer = forebay.client().get(&manifest_path("team/app", "v1")).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", forebay.log());
        }
        assert_eq!(google.granted(), granted, "it is asked for once");
        assert!(!forebay.log().contains("canary"), "{}", forebay.log());
        assert!(!forebay.log().contains("PRIVATE KEY"), "{}", forebay.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_google_does_not_know_is_told_to_the_operator() {
    let origin = origin().await;
    let google = Google::start(TOKEN).await.unwrap();
    let other = Google::start(TOKEN).await.unwrap();
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("key.json");
    google.write_key(&path).unwrap();
    // The key of one account, sent to where another's is known.
    let text = std::fs::read_to_string(&path).unwrap();
    let mut key: serde_json::Value = serde_json::from_str(&text).unwrap();
    other.write_key(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let others: serde_json::Value = serde_json::from_str(&text).unwrap();
    key["token_uri"] = others["token_uri"].clone();
    std::fs::write(&path, key.to_string()).unwrap();
    let forebay = Setup::new(&origin)
        .upstream("credentials = \"gcp\"")
        .upstream(&format!("gcp_key_file = {path:?}"))
        .start()
        .await;
    let answer = forebay.client().get(&manifest_path("team/app", "v1")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let text = answer.text();
    assert!(text.contains("Google gives no access token"), "{text}");
    assert_eq!(other.granted(), 0);
}
