//! podman, through a `registries.conf`.

use forebay_loadtest::origin::ImageManifest;
use tokio::process::Command;

use super::containers::{Home, Keeper};
use super::node::{Node, Site};

/// A podman that keeps its images apart.
pub(super) struct Podman(Home);

impl Keeper for Podman {
    fn home(&self) -> &Home {
        &self.0
    }

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

asked_of_every_client!(Podman, can_be_told_to_ask_nobody_else);
