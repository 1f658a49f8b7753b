//! Logins that look like no other.

use forebay_loadtest::origin::{Kind, Profile};

use super::profile::Site;
use crate::harness::Setup;

/// A service account's key is a file of many lines, all of which are the password; its quotes and line ends come through.
#[tokio::test(flavor = "multi_thread")]
async fn googles_json_key_is_a_password_in_a_file() {
    let key = "{\n  \"type\": \"service_account\",\n  \"private_key\": \"-----BEGIN KEY-----\\ncanary\\n\"\n}";
    let mut profile = Profile::named("gar").expect("it is one");
    profile.user = Some("_json_key");
    let site = Site::start(profile).await;
    site.origin.set_password("_json_key", key);
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("key.json");
    std::fs::write(&file, format!("{key}\n")).unwrap();
    let lines = format!("username = \"_json_key\"\npassword_file = {file:?}");
    let setup = Setup::with_endpoint("http://127.0.0.1:9")
        .also(profile.registry, &site.origin, &lines)
        .env("FOREBAY_LOG__LEVEL", "trace");
    let shown = setup.checked().await;
    let forebay = setup.start().await;
    site.pull(&forebay, "v1").await;
    assert_eq!(site.origin.requests_for(Kind::Token).len(), 1);
    for text in [shown, forebay.log()] {
        assert!(
            !text.contains("canary") && !text.contains("service_account"),
            "{text}"
        );
    }
}
