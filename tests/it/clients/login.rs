//! Clients that log in at the mirror itself, over TLS: with a password and with a certificate.

use std::path::Path;

use tempfile::TempDir;
use tokio::process::Command;

use super::upstream::docker_hub;
use super::{APP, attempt, run, wanted};
use crate::harness::{Forebay, Setup, asking_files, authority, client_certificate};

const PASSWORD: &str = "correct horse";

/// A mirror that speaks TLS and lets in alice, and whoever shows the clients' certificate.
async fn guarded(home: &Path) -> (forebay_loadtest::origin::Origin, Forebay) {
    let origin = docker_hub().await;
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    std::fs::write(home.join("users"), format!("alice:{hash}\n")).unwrap();
    let [certificate, key, clients] = asking_files();
    let [certificate, key, clients] = [certificate, key, clients].map(|path| quoted(&path));
    let users = quoted(&home.join("users"));
    let setup = Setup::new(&origin).config(&format!(
        "[server.tls]\ncert_file = {certificate}\nkey_file = {key}\nclient_ca_file = {clients}\n\
         client_certificates = 'optional'\n[access]\nhtpasswd_file = {users}\n"
    ));
    (origin, setup.start().await)
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

/// A directory of certificates as docker and podman keep them, with the client's own or without.
fn certificates(home: &Path, own: bool) -> std::path::PathBuf {
    let directory = home.join(if own { "with" } else { "without" });
    std::fs::create_dir(&directory).unwrap();
    std::fs::copy(authority(), directory.join("ca.crt")).unwrap();
    if own {
        let [certificate, key] = client_certificate();
        std::fs::copy(certificate, directory.join("client.cert")).unwrap();
        std::fs::copy(key, directory.join("client.key")).unwrap();
    }
    directory
}

struct Skopeo {
    home: TempDir,
    forebay: Forebay,
    _origin: forebay_loadtest::origin::Origin,
}

impl Skopeo {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (origin, forebay) = guarded(home.path()).await;
        Self {
            home,
            forebay,
            _origin: origin,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("skopeo");
        command
            .env("HOME", self.home.path())
            .env("XDG_RUNTIME_DIR", self.home.path())
            .env_remove("REGISTRY_AUTH_FILE")
            .env_remove("DOCKER_CONFIG")
            .arg("--insecure-policy");
        command
    }

    async fn copy(&self, certificates: &Path, options: &[&str]) -> Result<String, String> {
        let target = tempfile::tempdir_in(self.home.path()).unwrap();
        let mut command = self.command();
        command
            .args(["copy", "--all", "--src-cert-dir"])
            .arg(certificates)
            .args(options)
            .arg(format!("docker://{}/{APP}:v1", self.forebay.address))
            .arg(format!("dir:{}", target.path().display()));
        attempt(&mut command).await
    }

    async fn until_pulled_as(&self, name: &str) {
        let named = |log: &String| {
            log.lines()
                .any(|line| line.contains(name) && line.contains("manifest"))
        };
        self.forebay.until_logged(name, named).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_logs_in_over_tls_and_pulls_with_what_it_kept() {
    if !wanted(&["skopeo"]) {
        return;
    }
    let skopeo = Skopeo::new().await;
    let certificates = certificates(skopeo.home.path(), false);
    let refused = skopeo.copy(&certificates, &[]).await.unwrap_err();
    assert!(
        refused.contains("a login is needed") || refused.contains("nauthorized"),
        "{refused}"
    );
    let wrong = ["--src-creds", "alice:wrong"];
    let refused = skopeo.copy(&certificates, &wrong).await.unwrap_err();
    assert!(
        refused.contains("nauthorized") || refused.contains("invalid username"),
        "{refused}"
    );

    let login = |password: &'static str| {
        let mut command = skopeo.command();
        command
            .args([
                "login",
                "--username",
                "alice",
                "--password",
                password,
                "--authfile",
            ])
            .arg(skopeo.home.path().join("auth.json"))
            .arg("--cert-dir")
            .arg(&certificates)
            .arg(skopeo.forebay.address.to_string());
        command
    };
    attempt(&mut login("wrong")).await.unwrap_err();
    let told = run(&mut login(PASSWORD)).await;
    assert!(told.contains("Login Succeeded"), "{told}");
    let kept = skopeo.home.path().join("auth.json");
    let kept = ["--src-authfile", kept.to_str().unwrap()];
    skopeo.copy(&certificates, &kept).await.unwrap();
    skopeo.until_pulled_as("user:alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_pulls_over_tls_with_its_certificate_and_no_login() {
    if !wanted(&["skopeo"]) {
        return;
    }
    let skopeo = Skopeo::new().await;
    let certificates = certificates(skopeo.home.path(), true);
    skopeo.copy(&certificates, &[]).await.unwrap();
    skopeo.until_pulled_as("certificate:").await;
}
