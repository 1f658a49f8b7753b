//! Clients with logins of their own at an upstream that lets each see what is theirs: alice may see all of it, bob one of its
//! repositories, and nobody else anything. The upstream is Debian's `docker-registry` with a token service, and the mirror
//! is asked over TLS, which its own token service is, too.

use std::net::IpAddr;
use std::path::Path;

use forebay_loadtest::origin::{ImageManifest, Origin};

use super::super::containerd::Containerd;
use super::super::containers::Keeper;
use super::super::docker_registry::{self, Registry, files};
use super::super::dockerd::Dockerd;
use super::super::node::{Node, Site};
use super::super::podman::Podman;
use super::super::skopeo::Skopeo;
use super::super::{AMD64, APP, TOOL, wanted};
use super::dockerd::{apart, keep_login_for_docker_hub, went_on};
use super::{HERE, MACHINE, certificates, keeps_secrets, over_tls, site};
use crate::harness::{Forebay, Setup};
use crate::registries::real::token;

const ALICE: (&str, &str) = ("alice", "alices-canary");
const BOB: (&str, &str) = ("bob", "bobs-canary");

/// A user's name and password.
type Login = (&'static str, &'static str);

/// The registry, and a mirror of it.
struct Shared {
    forebay: Forebay,
    content: Origin,
    registry: Registry,
    _service: Origin,
}

impl Shared {
    async fn start(machine: IpAddr) -> Self {
        let content = docker_registry::source().await;
        let root = tempfile::tempdir().unwrap();
        let service = token::service_of(&[ALICE, BOB], |name| match name {
            APP => &["alice"],
            _ => &["alice", "bob"],
        })
        .await;
        let (storage, auth) = (files(root.path()), token::trusting(&service, root.path()));
        let registry = Registry::configured(&content, root, &storage, &auth).await;
        let endpoint = format!("http://{}", registry.address());
        let setup = Setup::with_endpoint(&endpoint).upstream("access = \"passthrough\"");
        Self {
            forebay: over_tls(setup, machine).start().await,
            content,
            registry,
            _service: service,
        }
    }

    fn image(&self, repository: &str) -> ImageManifest {
        let image = self.content.image(repository, "v1");
        image.linux("amd64").clone()
    }

    /// A new client with this login gets what it may see, and is told nothing of the rest.
    async fn shows<U: User>(&self, login: Option<Login>, repository: &str, may: bool) {
        let site = site(&self.forebay, U::OPTIONS).await;
        let node = U::with_login(&site, &self.forebay, login).await;
        let name = format!("docker.io/{repository}:v1");
        let pulled = node.pull_as(login, &name).await;
        let log = self.forebay.log();
        assert_eq!(pulled.is_ok(), may, "{login:?} {name}: {pulled:?}\n{log}");
        let held = node.has(&self.image(repository)).await;
        assert_eq!(held, may, "{login:?} {name}");
        let touched = site.tripwire.touched();
        assert_eq!(
            went_on(&touched),
            U::OPTIONS.is_empty() && !may,
            "{touched:?}"
        );
        node.stop().await;
    }

    /// Whoever may see something gets it, whoever asked before; and it is fetched once.
    async fn shows_each_what_is_theirs<U: User>(&self) {
        self.shows::<U>(Some(BOB), APP, false).await;
        self.shows::<U>(Some(ALICE), APP, true).await;
        self.shows::<U>(Some(BOB), APP, false).await;
        self.shows::<U>(None, APP, false).await;
        self.shows::<U>(Some(BOB), TOOL, true).await;
        self.shows::<U>(Some(ALICE), TOOL, true).await;
        self.shows::<U>(Some(("alice", "wrong")), APP, false).await;
        // An index, a platform's manifest, its config and its layers, of each repository.
        assert_eq!(self.registry.given((4, 8)).await, (4, 8));
        keeps_secrets(&self.forebay, &[ALICE.1, BOB.1]);
    }
}

/// A client that pulls as somebody.
trait User: Node {
    /// How the program is to configure it.
    const OPTIONS: &[&str] = &["--no-fallback"];

    /// One that has this login, where it keeps logins, unless it can't be had.
    async fn with_login(site: &Site, forebay: &Forebay, login: Option<Login>) -> Self;

    async fn pull_as(&self, _: Option<Login>, image: &str) -> Result<String, String> {
        self.pull(image, AMD64).await
    }
}

async fn kept<K: Keeper>(site: &Site, forebay: &Forebay, login: Option<Login>) -> K {
    let node = K::start(site).await;
    let Some((user, password)) = login else {
        return node;
    };
    let home = tempfile::tempdir().unwrap();
    let (certificates, host) = (certificates(home.path()), forebay.address.to_string());
    let told = node.log_in(&certificates, user, password, &host).await;
    assert_eq!(told.is_ok(), password != "wrong", "{told:?}");
    node
}

impl User for Podman {
    async fn with_login(site: &Site, forebay: &Forebay, login: Option<Login>) -> Self {
        kept(site, forebay, login).await
    }
}

impl User for Skopeo {
    async fn with_login(site: &Site, forebay: &Forebay, login: Option<Login>) -> Self {
        kept(site, forebay, login).await
    }
}

impl User for Containerd {
    async fn with_login(site: &Site, _: &Forebay, _: Option<Login>) -> Self {
        Self::start(site).await
    }

    async fn pull_as(&self, login: Option<Login>, image: &str) -> Result<String, String> {
        let login = login.map(|(user, password)| format!("{user}:{password}"));
        let mut options = vec!["--platform", AMD64];
        options.extend(login.iter().flat_map(|login| ["--user", login]));
        self.pull_with(image, &options).await
    }
}

/// With what is a login for Docker Hub, as far as it knows.
impl User for Dockerd {
    const OPTIONS: &[&str] = &[];

    async fn with_login(site: &Site, _: &Forebay, login: Option<Login>) -> Self {
        let keep = |root: &Path| {
            if let Some((user, password)) = login {
                keep_login_for_docker_hub(root, user, password);
            }
        };
        Self::start_edited(site, keep).await
    }
}

async fn pull_as_two<U: User>() {
    if wanted(U::PROGRAMS) && wanted(docker_registry::PROGRAMS) {
        let shared = Shared::start(HERE).await;
        shared.shows_each_what_is_theirs::<U>().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_gets_what_its_own_login_may_see() {
    pull_as_two::<Skopeo>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_gets_what_its_own_login_may_see() {
    pull_as_two::<Podman>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_gets_what_its_own_login_may_see() {
    pull_as_two::<Containerd>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dockerd_gets_what_its_login_for_docker_hub_may_see() {
    let test = "passthrough::dockerd_gets_what_its_login_for_docker_hub_may_see";
    if wanted(docker_registry::PROGRAMS) && apart(test).await {
        let shared = Shared::start(MACHINE).await;
        shared.shows_each_what_is_theirs::<Dockerd>().await;
    }
}
