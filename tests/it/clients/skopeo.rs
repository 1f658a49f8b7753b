//! skopeo, through a `registries.conf`, and straight at the mirror.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_loadtest::origin::ImageManifest;
use tokio::process::Command;

use super::containers::{Home, Keeper};
use super::node::{Node, Site};
use super::upstream::{docker_hub, given};
use super::{attempt, run, wanted};
use crate::harness::mirror_of;

/// A skopeo that copies to directories of its own, for which it verifies every digest.
pub(super) struct Skopeo {
    home: Home,
    copies: AtomicUsize,
}

impl Keeper for Skopeo {
    fn home(&self) -> &Home {
        &self.home
    }

    fn command(&self) -> Command {
        self.home.command("skopeo")
    }
}

impl Skopeo {
    fn copy(&self, number: usize) -> PathBuf {
        self.home.path().join(format!("copy-{number}"))
    }
}

impl Node for Skopeo {
    const PROGRAMS: &[&str] = &["skopeo", "unshare"];
    /// Into a directory.
    const AT_ONCE: u32 = 1;

    async fn start(site: &Site) -> Self {
        Self {
            home: Home::new("skopeo", site).await,
            copies: AtomicUsize::new(0),
        }
    }

    async fn pull(&self, image: &str, platform: &str) -> Result<String, String> {
        let (os, architecture) = platform.split_once('/').unwrap();
        let target = self.copy(self.copies.fetch_add(1, Ordering::Relaxed));
        let mut command = self.command();
        command
            .args(["--override-os", os, "--override-arch", architecture])
            .arg("copy")
            .arg(format!("docker://{image}"))
            .arg(format!("dir:{}", target.display()));
        attempt(&mut command).await
    }

    async fn has(&self, image: &ImageManifest) -> bool {
        let copies = 0..self.copies.load(Ordering::Relaxed);
        copies
            .map(|number| self.copy(number))
            .any(|copy| image.blobs().all(|blob| holds(&copy, blob.digest.as_str())))
    }

    async fn stop(self) {}
}

fn holds(copy: &Path, digest: &str) -> bool {
    copy.join(digest.strip_prefix("sha256:").unwrap()).is_file()
}

/// A command that copies all platforms of an image, asking for it without TLS.
pub(super) fn copy_all(source: &str, target: &str) -> Command {
    let mut command = Command::new("skopeo");
    command
        .args(["--insecure-policy", "copy", "--all"])
        .args(["--src-tls-verify=false", "--dest-tls-verify=false"])
        .args([source, target]);
    command
}

asked_of_every_client!(Skopeo, can_be_told_to_ask_nobody_else);

/// Every way to name a repository to the mirror itself, where there is no file to configure.
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_all_platforms_straight_from_the_mirror_by_each_of_its_names() {
    if !wanted(Skopeo::PROGRAMS) {
        return;
    }
    let origin = docker_hub().await;
    let forebay = mirror_of(&origin).await;
    for name in [
        "library/app",
        "app",
        "docker.io/library/app",
        "docker.io/app",
        "dockerhub/library/app",
    ] {
        let target = tempfile::tempdir().unwrap();
        let source = format!("docker://{}/{name}:v1", forebay.address);
        run(&mut copy_all(
            &source,
            &format!("dir:{}", target.path().display()),
        ))
        .await;
        for blob in origin.image("library/app", "v1").blobs() {
            assert!(holds(target.path(), blob.digest.as_str()), "{name}");
        }
        assert_eq!(
            given(&origin),
            (3, 8),
            "{name}: manifests and blobs, of both platforms"
        );
    }
}
