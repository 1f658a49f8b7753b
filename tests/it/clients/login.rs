//! Clients that log in at the mirror itself, over TLS, each in its own way: by a password, by a token, by a certificate, and
//! with their own logins of an upstream that lets each see what is theirs.

mod containerd;
mod containers;
mod dockerd;
mod passthrough;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forebay_loadtest::origin::Origin;
use tempfile::TempDir;

use super::node::{Node, Site};
use super::upstream::{docker_hub, given};
use super::{AMD64, APP};
use crate::harness::{Forebay, Setup, asking_files, authority, client_certificate};

const PASSWORD: &str = "alices-canary";
const TOKEN: &str = "canary-of-ci-0123456789abcdef0123456789abcdef";

/// How the mirror knows its clients in its log.
const ALICE: &str = "user:alice";
const CI: &str = "token:ci";
const CERTIFICATE: &str = "certificate:";

/// Another machine than the client's, as far as clients can tell. dockerd believes any certificate of its own.
const MACHINE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A mirror of Docker Hub that speaks TLS and lets in alice, a machine with a token, and whoever shows the clients'
/// certificate.
struct Guarded {
    home: TempDir,
    forebay: Forebay,
    origin: Origin,
}

impl Guarded {
    async fn start(machine: IpAddr) -> Self {
        let home = tempfile::tempdir().unwrap();
        let origin = docker_hub().await;
        let [users, token] = ["users", "token"].map(|name| home.path().join(name));
        let hash = bcrypt::hash(PASSWORD, 4).unwrap();
        std::fs::write(&users, format!("alice:{hash}\n")).unwrap();
        std::fs::write(&token, TOKEN).unwrap();
        let access = format!(
            "[access]\nhtpasswd_file = {}\ntokens = [{{ name = 'ci', file = {} }}]\n",
            quoted(&users),
            quoted(&token)
        );
        let setup = over_tls(Setup::new(&origin), machine).config(&access);
        Self {
            home,
            forebay: setup.start().await,
            origin,
        }
    }

    /// Nodes that are told of it by the program, and trust its authority.
    async fn site(&self, options: &[&str]) -> Site {
        site(&self.forebay, options).await
    }

    fn host(&self) -> String {
        self.forebay.address.to_string()
    }

    /// A client that it knows as `who` pulls all of an image, through it and from nobody else.
    async fn is_pulled_from<N: Node>(&self, node: &N, site: &Site, by: &str, who: &str) {
        let before = self.forebay.log().len();
        let pulled = node.pull(&format!("{by}/{APP}:v1"), AMD64).await;
        pulled.unwrap_or_else(|error| panic!("{error}\n{}{}", node.log(), self.forebay.log()));
        let image = self.origin.image(APP, "v1").linux("amd64").clone();
        assert!(node.has(&image).await, "it does not have the image");
        assert_eq!(given(&self.origin), (2, 4), "manifests and blobs");
        assert_eq!(site.tripwire.touched(), Vec::<String>::new());
        self.until_pulled_as(who, before).await;
    }

    async fn until_pulled_as(&self, who: &str, before: usize) {
        let named = |log: &String| {
            log[before..]
                .lines()
                .any(|line| line.contains(who) && line.contains("manifest"))
        };
        self.forebay.until_logged(who, named).await;
        keeps_secrets(&self.forebay, &[PASSWORD, TOKEN]);
    }

    /// It lets in nobody for this reason, as it counts them, and its upstream is asked nothing.
    async fn refuses<N: Node>(&self, node: &N, by: &str, why: &str) -> String {
        let before = self.forebay.metric(REFUSALS, why).await;
        let pulled = node.pull(&format!("{by}/{APP}:v1"), AMD64).await;
        let said = pulled.expect_err("it may not be pulled from");
        self.has_refused(before, why, &said).await;
        said
    }

    async fn has_refused(&self, before: f64, why: &str, said: &str) {
        let after = self.forebay.metric(REFUSALS, why).await;
        assert!(after > before, "{why}: {said}\n{}", self.forebay.log());
        assert_eq!(self.origin.counts().total(), 0, "{said}");
        keeps_secrets(&self.forebay, &[PASSWORD, TOKEN]);
    }
}

const REFUSALS: &str = "forebay_access_total";
const NEEDED: &str = "\"login_needed\"";
const WRONG: &str = "\"wrong_login\"";

/// A mirror that speaks TLS there, and takes certificates of clients.
fn over_tls(setup: Setup, machine: IpAddr) -> Setup {
    let [certificate, key, clients] = asking_files().map(|path| quoted(&path));
    let setup = setup.config(&format!(
        "[server.tls]\ncert_file = {certificate}\nkey_file = {key}\nclient_ca_file = {clients}\n\
         client_certificates = 'optional'\n"
    ));
    if machine.is_loopback() {
        setup
    } else {
        setup.listen((machine, 0).into())
    }
}

async fn site(forebay: &Forebay, options: &[&str]) -> Site {
    let authority = authority();
    let hub = [
        "--registry",
        "docker.io",
        "--ca",
        authority.to_str().unwrap(),
    ];
    Site::over_tls(forebay.address, &[&hub[..], options].concat()).await
}

/// No login stands in its log, as it is or as it is sent.
fn keeps_secrets(forebay: &Forebay, secrets: &[&str]) {
    let log = forebay.log();
    for secret in secrets {
        assert!(!log.contains(secret), "{log}");
        let sent = basic("alice", secret);
        assert!(!log.contains(&sent), "{log}");
    }
}

fn basic(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

/// A directory of certificates as docker and podman keep them, without one of the client's own.
fn certificates(home: &Path) -> PathBuf {
    let directory = home.join("certificates");
    std::fs::create_dir(&directory).unwrap();
    std::fs::copy(authority(), directory.join("ca.crt")).unwrap();
    directory
}

/// Puts the client's own beside what is there.
fn add_own(directory: &Path) {
    let [certificate, key] = client_certificate();
    std::fs::copy(certificate, directory.join("client.cert")).unwrap();
    std::fs::copy(key, directory.join("client.key")).unwrap();
}
