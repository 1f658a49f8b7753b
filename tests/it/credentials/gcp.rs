//! Google's registries: the password is an access token, for whomever Google's own tools would be.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use forebay_loadtest::cloud::Google;
use forebay_loadtest::origin::{Auth, Origin};
use http::StatusCode;
use tempfile::TempDir;

use super::{cloud_login, manifest, private_origin, reads, told};
use crate::harness::{Forebay, Setup};

const USER: &str = "oauth2accesstoken";
const TOKEN: &str = "canary-access-token";

/// A registry, the service that gives its passwords, and a directory of gcloud's.
struct Site {
    origin: Origin,
    google: Google,
    files: TempDir,
}

impl Site {
    async fn start() -> Self {
        Self {
            origin: private_origin(Auth::token(), USER, TOKEN).await,
            google: Google::start(TOKEN).await.unwrap(),
            files: tempfile::tempdir().unwrap(),
        }
    }

    /// A mirror whose environment has nothing of Google's.
    fn mirror(&self) -> Setup {
        Setup::new(&self.origin)
            .upstream(&cloud_login(&self.origin, "gcp"))
            .without_clouds()
            .env("FOREBAY_LOG__LEVEL", "trace")
    }

    /// A mirror with the service account's key in this file.
    fn mirror_with_key(&self, key: &Path) -> Setup {
        self.google.write_key(key).unwrap();
        self.mirror()
            .upstream(&format!("gcp_key_file = '{}'", key.display()))
    }

    /// A mirror that asks for each tag anew, and the file with its key.
    async fn mirror_without_freshness(&self) -> (Forebay, PathBuf) {
        let key = self.files.path().join("key.json");
        let setup = self.mirror_with_key(&key);
        let setup = setup.config("[tags]\nfresh_for = \"0s\"");
        (setup.start().await, key)
    }

    /// The registry takes this token from now on, and nothing that was given for another one.
    fn set_password(&self, token: &str) {
        self.origin.set_password(USER, token);
        self.origin.expire_tokens();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_identity_gives_one_access_token() {
    let site = Site::start().await;
    let key = site.files.path().join("key.json");
    site.google.write_key(&key).unwrap();
    let login = site
        .files
        .path()
        .join("application_default_credentials.json");
    site.google.write_login(&login).unwrap();
    for (setup, call) in [
        (site.mirror_with_key(&key), "account"),
        (
            site.mirror().env("GOOGLE_APPLICATION_CREDENTIALS", &key),
            "account",
        ),
        (
            site.mirror().env("GOOGLE_APPLICATION_CREDENTIALS", &login),
            "user",
        ),
        (
            site.mirror().env("CLOUDSDK_CONFIG", site.files.path()),
            "user",
        ),
        (
            site.mirror().env("GCE_METADATA_HOST", site.google.host()),
            "machine",
        ),
    ] {
        let before = site.google.calls().len();
        let forebay = setup.start().await;
        for _ in 0..2 {
            reads(&forebay, &site.origin).await;
        }
        assert_eq!(
            site.google.calls()[before..],
            [call],
            "it is asked for once"
        );
        assert!(!forebay.log().contains("PRIVATE KEY"), "{}", forebay.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_google_does_not_know_is_told_to_the_operator() {
    let site = Site::start().await;
    let key = site.files.path().join("key.json");
    let forebay = site.mirror_with_key(&key).start().await;
    site.google.rotate_key();
    let answer = manifest(&forebay).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    told(&forebay, "Google's token service answers 400 invalid_grant").await;
    assert!(site.google.calls().is_empty());
}

/// Where nothing else was found, `gcloud` was run to ask for a token, by a call that blocked a thread of the mirror's for as
/// long as that took: a few logins at once with a `gcloud` that hung, and nothing was served.
#[tokio::test(flavor = "multi_thread")]
async fn gcloud_is_not_run() {
    let site = Site::start().await;
    let ran = site.files.path().join("ran");
    let program = site.files.path().join("gcloud");
    std::fs::write(&program, format!("#!/bin/sh\ntouch {ran:?}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", site.files.path().display());
    let forebay = site.mirror().env("PATH", path).start().await;
    let answer = manifest(&forebay).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    told(&forebay, "no Google credentials are found").await;
    assert!(!ran.exists());
}

/// The library that gave the tokens kept each until shortly before its end, so that one that was revoked was shown to the
/// registry for up to an hour.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_registry_refuses_is_replaced() {
    let site = Site::start().await;
    let (forebay, _) = site.mirror_without_freshness().await;
    reads(&forebay, &site.origin).await;
    site.google.set_token("canary-another-token");
    site.set_password("canary-another-token");
    reads(&forebay, &site.origin).await;
    assert_eq!(site.google.calls(), ["account", "account"]);
}

/// The key was read once: after another one was written over it, only a restart helped.
#[tokio::test(flavor = "multi_thread")]
async fn another_key_in_the_file_counts_without_a_restart() {
    let site = Site::start().await;
    let (forebay, key) = site.mirror_without_freshness().await;
    reads(&forebay, &site.origin).await;
    site.google.rotate_key();
    site.google.write_key(&key).unwrap();
    site.google.set_token("canary-another-token");
    site.set_password("canary-another-token");
    reads(&forebay, &site.origin).await;
}

/// Whatever Google answered counted as trouble, so that what a deleted service account had read was served on for a week.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cached_is_not_served_to_an_account_that_is_gone() {
    for (refusal, expected) in [
        (
            (StatusCode::BAD_REQUEST, "invalid_grant"),
            StatusCode::FORBIDDEN,
        ),
        ((StatusCode::SERVICE_UNAVAILABLE, "backend"), StatusCode::OK),
    ] {
        // Before a login was refused by the registry, what Google says is all that is known.
        let site = Site::start().await;
        let (forebay, _) = site.mirror_without_freshness().await;
        reads(&forebay, &site.origin).await;
        site.google.refuse(Some(refusal));
        let forebay = forebay.restart().await;
        let answer = manifest(&forebay).await;
        assert_eq!(answer.status, expected, "{refusal:?} {}", answer.text());
    }
}
