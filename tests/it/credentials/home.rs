//! A user's home with docker's file of logins, and an upstream that takes them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use forebay_loadtest::origin::{Auth, Origin};
use http::StatusCode;
use tempfile::TempDir;

use super::{manifest, origin_of};
use crate::harness::{Forebay, Setup};

const DOCKER: &str = "credentials = \"docker-config\"";

/// An upstream with two users.
pub(super) async fn two_users(auth: Auth) -> Origin {
    let users = [("ci", "canary-secret"), ("third", "canary-third")];
    origin_of(auth, &users, &["team/app", "team/other", "third/app"]).await
}

/// A user's home: logins and helpers.
pub(super) struct Home(TempDir);

impl Home {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes `config.json`, in which `HOST` stands for the registry.
    pub(super) fn log_in(&self, origin: &Origin, config: &str) {
        let url = origin.registry_url();
        let host = url.trim_start_matches("http://").trim_end_matches('/');
        std::fs::write(
            self.path().join("config.json"),
            config.replace("HOST", host),
        )
        .unwrap();
    }

    /// Installs a credential helper: a shell script.
    pub(super) fn helper(&self, name: &str, script: &str) {
        let path = self.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(super) fn setup(&self, origin: &Origin) -> Setup {
        self.patient(origin, "1m")
    }

    /// With this patience for helpers.
    pub(super) fn patient(&self, origin: &Origin, patience: &str) -> Setup {
        let path = std::env::var("PATH").unwrap_or_default();
        Setup::new(origin)
            .upstream(DOCKER)
            .upstream(&format!("helper_timeout = {patience:?}"))
            .env("DOCKER_CONFIG", self.path())
            .env("PATH", format!("{}:{path}", self.path().display()))
            .env("FOREBAY_LOG__LEVEL", "debug")
    }

    pub(super) async fn mirror(&self, origin: &Origin) -> Forebay {
        self.setup(origin).start().await
    }
}

/// Pulls, and sees that no secret is printed.
pub(super) async fn pulls(forebay: &Forebay) {
    let answer = manifest(forebay).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", forebay.log());
    assert!(!forebay.log().contains("canary"), "{}", forebay.log());
}
