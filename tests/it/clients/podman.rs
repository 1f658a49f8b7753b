//! podman, through a `registries.conf`.

use forebay_loadtest::origin::ImageManifest;
use tokio::process::Command;

use super::containers::Home;
use super::node::{Node, Site};
use super::upstream::Upstream;
use super::{around, docker_registry, sharing, story, wanted};

/// A podman that keeps its images apart.
pub(super) struct Podman(Home);

impl Podman {
    fn command(&self) -> Command {
        let mut command = self.0.keeper("podman");
        command
            .args(["--cgroup-manager", "cgroupfs", "--events-backend", "none"])
            .arg("--tmpdir")
            .arg(self.0.path().join("podman"));
        command
    }
}

impl Node for Podman {
    const PROGRAMS: &[&str] = &["podman", "unshare"];

    async fn start(site: &Site) -> Self {
        Self(Home::new("podman", site).await)
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
async fn podman_pulls_everything_once_from_docker_hub() {
    if wanted(Podman::PROGRAMS) {
        story::tell::<Podman>(Upstream::docker_hub().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_pulls_everything_once_from_a_registry_with_a_login() {
    if wanted(Podman::PROGRAMS) && wanted(docker_registry::PROGRAMS) {
        story::tell::<Podman>(Upstream::registry().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_podmans_at_once_cost_one_body_a_blob() {
    if wanted(Podman::PROGRAMS) {
        sharing::pull_at_once::<Podman>().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_asks_docker_hub_itself_while_the_mirror_is_away() {
    if wanted(Podman::PROGRAMS) {
        around::falls_back::<Podman>().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_asks_nobody_else_where_it_was_told_not_to() {
    if wanted(Podman::PROGRAMS) {
        around::never_falls_back::<Podman>().await;
    }
}
