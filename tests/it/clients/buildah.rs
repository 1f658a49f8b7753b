//! buildah, through a `registries.conf`.

use forebay_loadtest::origin::ImageManifest;
use tokio::process::Command;

use super::containers::Home;
use super::node::{Node, Site};
use super::upstream::Upstream;
use super::{around, docker_registry, sharing, story, wanted};

/// A buildah that keeps its images apart.
pub(super) struct Buildah(Home);

impl Buildah {
    fn command(&self) -> Command {
        self.0.keeper("buildah")
    }
}

impl Node for Buildah {
    const PROGRAMS: &[&str] = &["buildah", "unshare"];

    async fn start(site: &Site) -> Self {
        Self(Home::new("buildah", site).await)
    }

    async fn pull(&self, image: &str, platform: &str) -> Result<String, String> {
        self.0.pull(self.command(), image, platform).await
    }

    async fn has(&self, image: &ImageManifest) -> bool {
        self.0.has(self.command(), image).await
    }

    async fn stop(self) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn buildah_pulls_everything_once_from_docker_hub() {
    if wanted(Buildah::PROGRAMS) {
        story::tell::<Buildah>(Upstream::docker_hub().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buildah_pulls_everything_once_from_a_registry_with_a_login() {
    if wanted(Buildah::PROGRAMS) && wanted(docker_registry::PROGRAMS) {
        story::tell::<Buildah>(Upstream::registry().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_buildahs_at_once_cost_one_body_a_blob() {
    if wanted(Buildah::PROGRAMS) {
        sharing::pull_at_once::<Buildah>().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buildah_asks_docker_hub_itself_while_the_mirror_is_away() {
    if wanted(Buildah::PROGRAMS) {
        around::falls_back::<Buildah>().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buildah_asks_nobody_else_where_it_was_told_not_to() {
    if wanted(Buildah::PROGRAMS) {
        around::never_falls_back::<Buildah>().await;
    }
}
