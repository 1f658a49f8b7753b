//! containerd as Kubernetes uses it: its CRI plugin reads `config_path` from `config.toml`, and the `hosts.toml` files
//! that are there. Nothing else of the tests needs more than one call of its API, which is HTTP/2 with a frame around
//! each message.

use std::path::Path;

use tokio::process::Command;

use super::containerd::{Containerd, Cri};
use super::node::{Node as _, Site};
use super::upstream::{docker_hub, given};
use super::{APP, attempt, mounts, path, run, story, wanted};
use crate::harness::mirror_of;

const PULL: &str = "http://localhost/runtime.v1.ImageService/PullImage";

/// A `PullImageRequest` in its frame.
fn request(image: &str) -> Vec<u8> {
    // Field 1 of the request is the image, and field 1 of that its name; a length below 128 is one byte.
    let field = |bytes: &[u8]| [&[0x0a, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let message = field(&field(image.as_bytes()));
    assert!(message.len() < 128, "{image}");
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat()
}

/// Pulls as a kubelet does.
async fn pull(root: &Path, image: &str) -> Result<String, String> {
    let body = root.join("request");
    std::fs::write(&body, request(image)).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["--disable", "--silent", "--show-error", "--include"])
        .args(["--noproxy", "*", "--http2-prior-knowledge"])
        .args(["--header", "content-type: application/grpc"])
        .args(["--header", "te: trailers", "--unix-socket"])
        .arg(root.join("containerd.sock"))
        .arg("--data-binary")
        .arg(format!("@{}", body.display()))
        .arg(PULL);
    let answer = attempt(&mut curl).await?;
    // The trailers follow the last byte of the message.
    let good = answer.contains("grpc-status: 0\r\n");
    if good { Ok(answer) } else { Err(answer) }
}

/// What containerd itself reads in the configuration below `root`: where its CRI plugin finds `hosts.toml` files.
async fn config_path(root: &Path) -> String {
    let mut command = mounts::with_own("containerd", root, "containerd");
    command.env("PATH", path()).args(["config", "dump"]);
    let dump = run(&mut command).await;
    let dump: toml::Table = dump
        .parse()
        .unwrap_or_else(|error| panic!("{error}\n{dump}"));
    let registry = &dump["plugins"]["io.containerd.grpc.v1.cri"]["registry"];
    registry["config_path"].as_str().unwrap().to_owned()
}

/// The architecture that the plugin pulls, which is this machine's.
fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

/// Both directories that containerd reads by default since 2.1: one alone would take the other away.
const CERTS: &str = "/etc/containerd/certs.d:/etc/docker/certs.d";

#[tokio::test(flavor = "multi_thread")]
async fn containerd_reads_the_path_that_was_added_to_any_configuration() {
    if !wanted(Containerd::PROGRAMS) {
        return;
    }
    let default = run(Command::new("containerd").args(["config", "default"])).await;
    for before in ["", "version = 2\n", &default] {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("etc/containerd/config.toml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, before).unwrap();
        let site = Site::new(([127, 0, 0, 1], 5000).into()).await;
        site.configure("containerd", root.path()).await;
        assert_eq!(config_path(root.path()).await, CERTS, "{before}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_pulls_through_the_mirror() {
    if !(wanted(Containerd::PROGRAMS) && wanted(&["curl"])) {
        return;
    }
    let origin = docker_hub().await;
    let forebay = mirror_of(&origin).await;
    let site = Site::new(forebay.address).await;
    let node = Containerd::start_with(&site, Cri::On).await;
    let image = origin.image(APP, "v1").linux(platform()).clone();
    let pulled = pull(node.root(), &format!("docker.io/{APP}:v1")).await;
    pulled.unwrap_or_else(|error| panic!("{error}"));
    assert!(node.has(&image).await);
    story::all_from_the_mirror(&forebay, 0, &image).await;
    assert_eq!(given(&origin), (2, 4), "manifests and blobs");
    node.stop().await;
    assert_eq!(site.tripwire.touched(), Vec::<String>::new());
}
