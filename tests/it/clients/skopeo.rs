//! skopeo, straight at the mirror and through a `registries.conf`.

use std::path::Path;

use tokio::process::Command;

use super::{cost, docker_hub, run, wanted};
use crate::harness::{Forebay, mirror_of};

/// Copies what `source` names into a fresh directory, which verifies every digest.
async fn copy(source: &str, more: &[&str]) -> tempfile::TempDir {
    let target = tempfile::tempdir().unwrap();
    let mut command = Command::new("skopeo");
    command
        .args([
            "--insecure-policy",
            "--override-arch",
            "amd64",
            "--override-os",
            "linux",
            "copy",
            "--src-tls-verify=false",
        ])
        .args(more)
        .arg(source)
        .arg(format!("dir:{}", target.path().display()));
    run(&mut command).await;
    target
}

fn files(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

fn at(forebay: &Forebay, reference: &str) -> String {
    format!("docker://{}/{reference}", forebay.address)
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_pulls_cold_warm_by_tag_by_digest_and_with_the_upstream_off() {
    if !wanted(&["skopeo"]) {
        return;
    }
    let origin = docker_hub().await;
    let image = origin.image("library/app", "v1");
    let forebay = mirror_of(&origin).await;

    let cold = copy(&at(&forebay, "library/app:v1"), &[]).await;
    assert_eq!(
        cost(&origin),
        (2, 4),
        "an index and a manifest, a config and three layers"
    );
    origin.reset();
    let warm = copy(&at(&forebay, "library/app:v1"), &[]).await;
    assert_eq!(files(warm.path()), files(cold.path()));
    let digest = image.linux("amd64").descriptor.digest.as_str();
    copy(&at(&forebay, &format!("library/app@{digest}")), &[]).await;
    assert_eq!(
        cost(&origin),
        (0, 0),
        "a second client's pull costs nothing"
    );

    copy(&at(&forebay, "library/app:v1"), &["--all"]).await;
    assert_eq!(cost(&origin), (1, 4), "the other platform is fetched once");
    origin.stop().await;
    let everything = copy(&at(&forebay, "library/app:v1"), &["--all"]).await;
    assert!(files(everything.path()) > files(cold.path()));
    copy(&at(&forebay, &format!("library/app@{digest}")), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_pulls_through_a_registries_conf() {
    if !wanted(&["skopeo"]) {
        return;
    }
    let origin = docker_hub().await;
    let forebay = mirror_of(&origin).await;
    let config = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\
         [[registry.mirror]]\nlocation = \"{}/docker.io\"\ninsecure = true\n",
        forebay.address
    );
    std::fs::write(config.path(), text).unwrap();
    let target = tempfile::tempdir().unwrap();
    let mut command = Command::new("skopeo");
    command
        .args([
            "--insecure-policy",
            "--override-arch",
            "amd64",
            "--override-os",
            "linux",
        ])
        .arg("--registries-conf")
        .arg(config.path())
        .args(["copy", "docker://docker.io/library/app:v1"])
        .arg(format!("dir:{}", target.path().display()));
    // docker.io itself can't be reached here, so that it works shows that it went to the mirror.
    run(&mut command).await;
    assert_eq!(cost(&origin), (2, 4));
}
