//! An upstream that we did not write: Debian's `docker-registry`, with Basic authentication.

use std::process::Stdio;
use std::time::Duration;

use forebay_loadtest::origin::ImageSpec;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::containerd::Node;
use super::{run, wanted};
use crate::harness::{Forebay, Setup, plain_origin, wait_for_exit};

/// A running registry.
struct Registry {
    child: Child,
    address: String,
    _root: TempDir,
}

impl Registry {
    async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let users = root.path().join("htpasswd");
        let line = run(Command::new("htpasswd").args(["-Bbn", "ci", "secret"])).await;
        std::fs::write(&users, line).unwrap();
        let config = root.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:0\nauth:\n  htpasswd:\n    realm: test\n    path: {}\n",
            root.path().join("data").display(),
            users.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let address = tokio::time::timeout(Duration::from_mins(1), listening(stderr)).await;
        Self {
            child,
            address: address.expect("the registry starts"),
            _root: root,
        }
    }

    async fn stop(&mut self) {
        let pid = self.child.id().unwrap().to_string();
        run(Command::new("kill").arg(pid)).await;
        wait_for_exit(&mut self.child).await;
    }
}

/// Where it listens, from its log; what it logs later is read and dropped.
async fn listening(stderr: tokio::process::ChildStderr) -> String {
    let mut lines = BufReader::new(stderr).lines();
    let address = loop {
        let line = lines
            .next_line()
            .await
            .unwrap()
            .expect("it logs where it listens");
        if let Some((_, rest)) = line.split_once("listening on ") {
            break rest.split(['"', ' ']).next().unwrap_or_default().to_owned();
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_a_registry_with_basic_authentication_pull_cold_warm_and_with_it_off() {
    if !wanted(&["skopeo", "containerd", "ctr", "docker-registry", "htpasswd"]) {
        return;
    }
    let mut registry = Registry::start().await;
    let builder = plain_origin().repository("library/app", |repository| {
        drop(repository.multi_arch_image("v1", &ImageSpec::default()));
    });
    let origin = builder.start().await.unwrap();
    let mut push = Command::new("skopeo");
    push.args([
        "--insecure-policy",
        "copy",
        "--all",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
    ])
    .args(["--dest-creds", "ci:secret"])
    .arg(format!("docker://{}/library/app:v1", origin.host()))
    .arg(format!("docker://{}/library/app:v1", registry.address));
    run(&mut push).await;

    let forebay = Setup::with_endpoint(&format!("http://{}", registry.address))
        .upstream("username = \"ci\"\npassword = \"secret\"")
        .start()
        .await;
    let by_tag = format!("docker://{}/library/app:v1", forebay.address);
    let image = origin.image("library/app", "v1");
    let amd64 = image.linux("amd64").descriptor.digest.as_str();
    let by_digest = format!("docker://{}/library/app@{amd64}", forebay.address);
    pull(&by_tag).await;
    let asked = forebay.metric(ASKED, "").await;
    pull(&by_tag).await;
    pull(&by_digest).await;
    pull_with_containerd(&forebay).await;
    assert_eq!(
        forebay.metric(ASKED, "").await.to_bits(),
        asked.to_bits(),
        "it was all cached"
    );
    registry.stop().await;
    pull(&by_tag).await;
    pull(&by_digest).await;
    pull_with_containerd(&forebay).await;
}

/// Counts every request that goes upstream.
const ASKED: &str = "forebay_upstream_requests_total";

async fn pull_with_containerd(forebay: &Forebay) {
    let node = Node::start(forebay.address).await;
    node.pull("docker.io/library/app:v1", &["--all-platforms"])
        .await;
    node.stop().await;
}

async fn pull(image: &str) {
    let target = tempfile::tempdir().unwrap();
    let mut command = Command::new("skopeo");
    command
        .args([
            "--insecure-policy",
            "copy",
            "--all",
            "--src-tls-verify=false",
        ])
        .arg(image)
        .arg(format!("dir:{}", target.path().display()));
    run(&mut command).await;
}
