//! podman, buildah and skopeo: one library reads their configuration, another keeps what they pull.

use std::path::Path;

use forebay_loadtest::origin::ImageManifest;
use tempfile::TempDir;
use tokio::process::Command;

use super::node::{Node, Site};
use super::tripwire::Tripwire;
use super::{attempt, mounts};

/// One of them, as far as they keep logins alike.
pub(super) trait Keeper: Node {
    fn home(&self) -> &Home;

    /// The program with what keeps it apart.
    fn command(&self) -> Command;

    /// Logs in to a registry, with certificates that are in a directory of their own, and keeps that.
    async fn log_in(
        &self,
        certificates: &Path,
        user: &str,
        password: &str,
        host: &str,
    ) -> Result<String, String> {
        let mut command = self.command();
        command
            .args(["login", "--username", user, "--password", password])
            .arg("--cert-dir")
            .arg(certificates)
            .arg(host);
        attempt(&mut command).await
    }
}

/// A home for one of them, in which nothing was pulled yet.
pub(super) struct Home {
    tripwire: Tripwire,
    root: TempDir,
}

impl Home {
    /// Makes one, configured for the client called `kind`, beside the configuration that the machine's packages bring.
    pub(super) async fn new(kind: &str, site: &Site) -> Self {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc/containers");
        std::fs::create_dir_all(&etc).unwrap();
        if let Ok(main) = std::fs::read("/etc/containers/registries.conf") {
            std::fs::write(etc.join("registries.conf"), main).unwrap();
        }
        let policy = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
        std::fs::write(etc.join("policy.json"), policy).unwrap();
        site.configure(kind, root.path()).await;
        Self {
            tripwire: site.tripwire.clone(),
            root,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.root.path()
    }

    /// A command that finds nothing of the machine's own drop-ins and logins.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = mounts::with_own("containers", self.path(), program);
        command
            .env("HOME", self.path())
            .env("PATH", super::path())
            .env("XDG_RUNTIME_DIR", self.path())
            .env("TMPDIR", self.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("REGISTRY_AUTH_FILE")
            .env_remove("DOCKER_CONFIG")
            .env_remove("CONTAINERS_REGISTRIES_CONF")
            .env_remove("REGISTRIES_CONFIG_PATH");
        self.tripwire.before(&mut command);
        command
    }

    /// As [`Self::command`], for a program that keeps images.
    pub(super) fn keeper(&self, program: &str) -> Command {
        let mut command = self.command(program);
        command
            .args(["--storage-driver", "vfs", "--root"])
            .arg(self.path().join("root"))
            .arg("--runroot")
            .arg(self.path().join("run"));
        command
    }

    /// Pulls with podman or buildah.
    pub(super) async fn pull(
        &self,
        mut keeper: Command,
        image: &str,
        platform: &str,
    ) -> Result<String, String> {
        keeper.args(["pull", "--platform", platform, image]);
        attempt(&mut keeper).await
    }

    /// Whether podman or buildah lists the image, whose id is its config's digest.
    pub(super) async fn has(&self, mut keeper: Command, image: &ImageManifest) -> bool {
        keeper.args(["images", "--no-trunc", "--quiet"]);
        let ids = super::run(&mut keeper).await;
        let id = image.config.digest.as_str();
        ids.lines().any(|line| line.trim() == id)
    }
}
