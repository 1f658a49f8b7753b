//! containerd, through a `hosts.toml`: every request carries `ns=`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{cost, docker_hub, run, wanted};
use crate::harness::{mirror_of, wait_for_exit};

/// A containerd with an empty store: a node that has never pulled anything.
pub(super) struct Node {
    child: Child,
    root: TempDir,
}

impl Node {
    pub(super) async fn start(mirror: SocketAddr) -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let config = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = \"{}\"\n[ttrpc]\naddress = \"{}\"\n",
            path("root").display(),
            path("state").display(),
            path("containerd.sock").display(),
            path("containerd.sock.ttrpc").display(),
        );
        std::fs::write(path("config.toml"), config).unwrap();
        let hosts = path("certs.d").join("docker.io");
        std::fs::create_dir_all(&hosts).unwrap();
        // The server line points at the mirror too, which forbids going around it.
        let text = format!(
            "server = \"http://{mirror}\"\n[host.\"http://{mirror}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
        );
        std::fs::write(hosts.join("hosts.toml"), text).unwrap();
        let child = Command::new("containerd")
            .arg("--config")
            .arg(path("config.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(path("log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let node = Self { child, root };
        node.ready().await;
        node
    }

    /// Returns once it answers.
    async fn ready(&self) {
        let answers = async {
            loop {
                let version = self
                    .ctr(&["version"])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .await;
                if version.is_ok_and(|status| status.success()) {
                    return;
                }
            }
        };
        let answered = tokio::time::timeout(Duration::from_mins(1), answers).await;
        let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        assert!(answered.is_ok(), "containerd does not answer:\n{log}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command
            .arg("--address")
            .arg(self.path("containerd.sock"))
            .args(arguments)
            .kill_on_drop(true);
        command
    }

    /// Pulls and unpacks.
    pub(super) async fn pull(&self, image: &str, more: &[&str]) {
        let certs = self.path("certs.d");
        let mut command = self.ctr(&["images", "pull", "--snapshotter", "native", "--hosts-dir"]);
        command.arg(&certs).args(more).arg(image);
        run(&mut command).await;
    }

    fn has(&self, digest: &str) -> bool {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self
            .path("root")
            .join("io.containerd.content.v1.content/blobs/sha256");
        Path::new(&blobs).join(hex).is_file()
    }

    pub(super) async fn stop(mut self) {
        let pid = self.child.id().unwrap().to_string();
        run(Command::new("kill").arg(pid)).await;
        wait_for_exit(&mut self.child).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_pulls_cold_warm_by_digest_and_with_the_upstream_off() {
    if !wanted(&["containerd", "ctr"]) {
        return;
    }
    let origin = docker_hub().await;
    let image = origin.image("library/app", "v1");
    let amd64 = image.linux("amd64").clone();
    let forebay = mirror_of(&origin).await;

    let first = Node::start(forebay.address).await;
    first
        .pull("docker.io/library/app:v1", &["--platform", "linux/amd64"])
        .await;
    assert!(
        amd64
            .layers
            .iter()
            .all(|layer| first.has(layer.digest.as_str()))
    );
    let (manifests, blobs) = cost(&origin);
    assert_eq!((manifests, blobs), (2, 4));
    first.stop().await;

    origin.reset();
    let second = Node::start(forebay.address).await;
    second
        .pull("docker.io/library/app:v1", &["--platform", "linux/amd64"])
        .await;
    assert_eq!(cost(&origin), (0, 0), "a second node's pull costs nothing");
    second.stop().await;

    let third = Node::start(forebay.address).await;
    third
        .pull("docker.io/library/app:v1", &["--all-platforms"])
        .await;
    assert_eq!(cost(&origin), (1, 4), "the other platform is fetched once");
    third.stop().await;

    origin.stop().await;
    let last = Node::start(forebay.address).await;
    last.pull("docker.io/library/app:v1", &["--all-platforms"])
        .await;
    let by_digest = format!("docker.io/library/app@{}", amd64.descriptor.digest.as_str());
    last.pull(&by_digest, &["--platform", "linux/amd64"]).await;
    last.stop().await;
    assert!(forebay.log().contains("docker.io"), "requests are logged");
}
