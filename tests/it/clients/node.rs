//! What the tests ask of a client: a node with an empty store, pointed at a mirror by the program itself.

use std::net::SocketAddr;
use std::path::Path;

use forebay_loadtest::origin::ImageManifest;
use tokio::process::Command;

use super::run;
use super::tripwire::Tripwire;
use crate::harness::program;

/// Where nodes are: the mirror that they are pointed at, and what notices that they ask elsewhere.
pub(super) struct Site {
    mirror: String,
    options: Vec<String>,
    pub(super) tripwire: Tripwire,
}

impl Site {
    /// Nodes that pull from Docker Hub through `mirror`.
    pub(super) async fn new(mirror: SocketAddr) -> Self {
        Self::with(mirror, &["--registry", "docker.io"]).await
    }

    /// Nodes that are pointed at `mirror` with these options of `forebay client`.
    pub(super) async fn with(mirror: SocketAddr, options: &[&str]) -> Self {
        Self::at("http", mirror, options).await
    }

    /// As [`Self::with`], where TLS ends before the mirror.
    pub(super) async fn over_tls(front: SocketAddr, options: &[&str]) -> Self {
        Self::at("https", front, options).await
    }

    async fn at(scheme: &str, mirror: SocketAddr, options: &[&str]) -> Self {
        Self {
            mirror: format!("{scheme}://{mirror}"),
            options: options.iter().map(ToString::to_string).collect(),
            tripwire: Tripwire::set(mirror.ip()).await,
        }
    }

    /// Points the client called `kind` at the mirror, whose files are below `root`, as the program does it.
    pub(super) async fn configure(&self, kind: &str, root: &Path) {
        let mut command = Command::from(program());
        command
            .args(["client", kind, "--write"])
            .arg("--mirror")
            .arg(&self.mirror)
            .args(&self.options)
            .arg("--root")
            .arg(root);
        run(&mut command).await;
    }
}

/// A client that has never pulled anything. Dropping it ends its processes.
pub(super) trait Node: Sized {
    /// The programs that it takes.
    const PROGRAMS: &[&str];
    /// How many layers it fetches at once, of three.
    const AT_ONCE: u32 = 3;

    /// Starts it.
    async fn start(site: &Site) -> Self;

    /// Pulls an image, `docker.io/library/app:v1`, for a platform: what it printed, as an error if it failed.
    async fn pull(&self, image: &str, platform: &str) -> Result<String, String>;

    /// Whether it holds this image, complete.
    async fn has(&self, image: &ImageManifest) -> bool;

    /// What it wrote elsewhere than where it was asked to pull.
    fn log(&self) -> String {
        String::new()
    }

    /// Stops it.
    async fn stop(self);
}
