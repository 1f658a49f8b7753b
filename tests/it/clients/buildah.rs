//! buildah, through a `registries.conf`.

use forebay_loadtest::origin::ImageManifest;
use tokio::process::Command;

use super::containers::{Home, Keeper};
use super::node::{Node, Site};

/// A buildah that keeps its images apart.
pub(super) struct Buildah(Home);

impl Keeper for Buildah {
    fn home(&self) -> &Home {
        &self.0
    }

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

asked_of_every_client!(Buildah, can_be_told_to_ask_nobody_else);
