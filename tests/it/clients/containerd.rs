//! containerd, through a `hosts.toml`: every request carries `ns=`.

use std::path::{Path, PathBuf};

use forebay_loadtest::origin::ImageManifest;
use tempfile::TempDir;
use tokio::process::Command;

use super::daemon::Daemon;
use super::node::{Node, Site};
use super::tripwire::Tripwire;
use super::{attempt, mounts, path};

/// A containerd with an empty store.
pub(super) struct Containerd {
    daemon: Daemon,
    tripwire: Tripwire,
    root: TempDir,
}

/// Where its configuration is.
fn config(root: &Path) -> PathBuf {
    root.join("etc/containerd/config.toml")
}

/// Whether it has the plugin through which Kubernetes asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cri {
    On,
    Off,
}

/// Writes a configuration that keeps all its files below `root`.
pub(super) fn write_config(root: &Path, cri: Cri) {
    let config = config(root);
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    let at = |name: &str| root.join(name).display().to_string();
    let mut disabled = vec!["io.containerd.internal.v1.opt"];
    let plugin = match cri {
        Cri::On => "[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n",
        Cri::Off => {
            disabled.push("io.containerd.grpc.v1.cri");
            ""
        }
    };
    let text = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = {disabled:?}\n\
         [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n{plugin}",
        at("root"),
        at("state"),
        at("containerd.sock"),
        at("containerd.sock.ttrpc"),
    );
    std::fs::write(config, text).unwrap();
}

/// Starts one with the configuration that is below `root`.
pub(super) async fn daemon(root: &Path, tripwire: &Tripwire) -> Daemon {
    let mut command = mounts::with_own("containerd", root, "containerd");
    command.env("PATH", path());
    tripwire.before(&mut command);
    let probe = || {
        let mut ctr = ctr(root);
        ctr.arg("version");
        ctr
    };
    Daemon::start(&mut command, &root.join("containerd.log"), probe).await
}

fn ctr(root: &Path) -> Command {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(root.join("containerd.sock"));
    command
}

impl Containerd {
    pub(super) async fn start_with(site: &Site, cri: Cri) -> Self {
        let root = tempfile::tempdir().unwrap();
        // The program adds to what is there.
        write_config(root.path(), cri);
        site.configure("containerd", root.path()).await;
        Self {
            daemon: daemon(root.path(), &site.tripwire).await,
            tripwire: site.tripwire.clone(),
            root,
        }
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where its `hosts.toml` files are.
    pub(super) fn certs(&self) -> PathBuf {
        self.root.path().join("etc/containerd/certs.d")
    }

    /// Pulls and unpacks, with more options.
    pub(super) async fn pull_with(&self, image: &str, more: &[&str]) -> Result<String, String> {
        // The resolver is the client's in 1.x, the daemon's in 2.x: both know of the tripwire.
        let mut command = ctr(self.root.path());
        self.tripwire.before(&mut command);
        command
            .args(["images", "pull", "--snapshotter", "native", "--hosts-dir"])
            .arg(self.certs())
            .args(more)
            .arg(image);
        attempt(&mut command).await
    }

    fn holds(&self, digest: &str) -> bool {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = "root/io.containerd.content.v1.content/blobs/sha256";
        self.root.path().join(blobs).join(hex).is_file()
    }
}

impl Node for Containerd {
    const PROGRAMS: &[&str] = &["containerd", "ctr", "unshare"];

    async fn start(site: &Site) -> Self {
        Self::start_with(site, Cri::Off).await
    }

    async fn pull(&self, image: &str, platform: &str) -> Result<String, String> {
        self.pull_with(image, &["--platform", platform]).await
    }

    async fn has(&self, image: &ImageManifest) -> bool {
        self.holds(image.descriptor.digest.as_str())
            && image.blobs().all(|blob| self.holds(blob.digest.as_str()))
    }

    fn log(&self) -> String {
        self.daemon.log()
    }

    async fn stop(self) {
        self.daemon.stop().await;
    }
}

asked_of_every_client!(Containerd, can_be_told_to_ask_nobody_else);
