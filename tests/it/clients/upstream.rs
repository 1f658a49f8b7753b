//! The two upstreams of the story: the scripted origin, as Docker Hub, and a real registry. Each counts what it gave.

use forebay_loadtest::origin::{Image, Kind, Origin, Request};

use super::docker_registry::{self, Registry};
use super::with_images;
use crate::harness::Setup;

/// An upstream that holds `library/app:v1` and `library/tool:v1`.
pub(super) enum Upstream {
    /// Docker Hub as it is: a token service, signed redirects to a CDN, a quota.
    DockerHub(Origin),
    /// Debian's `docker-registry` with a login, and the origin that its images came from.
    Registry(Box<Registry>, Origin),
}

impl Upstream {
    pub(super) async fn docker_hub() -> Self {
        Self::DockerHub(docker_hub().await)
    }

    pub(super) async fn registry() -> Self {
        let content = docker_registry::source().await;
        Self::Registry(Box::new(Registry::start(&content).await), content)
    }

    /// A mirror of it.
    pub(super) fn mirror(&self) -> Setup {
        match self {
            Self::DockerHub(origin) => Setup::new(origin),
            Self::Registry(registry, _) => registry.mirror(),
        }
    }

    pub(super) fn image(&self, repository: &str) -> Image {
        let (Self::DockerHub(origin) | Self::Registry(_, origin)) = self;
        origin.image(repository, "v1")
    }

    /// The manifests and blobs that it has given since it started; `expected` says which answers to wait for.
    pub(super) async fn given(&self, expected: (u64, u64)) -> (u64, u64) {
        match self {
            Self::DockerHub(origin) => given(origin),
            Self::Registry(registry, _) => registry.given(expected).await,
        }
    }

    /// Switches it off.
    pub(super) async fn stop(&mut self) {
        match self {
            Self::DockerHub(origin) => origin.stop().await,
            Self::Registry(registry, _) => registry.stop().await,
        }
    }
}

/// A Docker Hub with the images of these tests.
pub(super) async fn docker_hub() -> Origin {
    let builder = with_images(Origin::docker_hub());
    builder.start().await.expect("the origin starts")
}

/// The manifests and blobs that an origin was asked for, what it refused included. A GET that was only told to log in does
/// not count.
pub(super) fn given(origin: &Origin) -> (u64, u64) {
    let requests = origin.requests();
    let asked = |kind| {
        let counts = |request: &&Request| request.kind == kind && request.status != Some(401);
        requests.iter().filter(counts).count() as u64
    };
    (asked(Kind::ManifestGet), asked(Kind::BlobGet))
}
