//! The proof that it is a registry: skopeo pulls from it.

use std::path::Path;

use forebay_loadtest::origin::{Auth, Blobs, Flavour, ImageSpec, Kind, Origin, Quota};
use tokio::process::Command;

use crate::client::{APP, spec};

/// Whether tests with real clients are to be left out.
fn skipped() -> bool {
    std::env::var("FOREBAY_SKIP_CLIENTS").is_ok_and(|value| value == "1")
}

async fn copy(origin: &Origin, reference: &str, folder: &Path, flags: &[&str]) {
    let output = Command::new("skopeo")
        .args(["copy", "--src-tls-verify=false"])
        .args(flags)
        .arg(format!("docker://{}/{reference}", origin.host()))
        .arg(format!("dir:{}", folder.display()))
        .output()
        .await
        .expect("skopeo is installed; FOREBAY_SKIP_CLIENTS=1 leaves its tests out");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{errors}\n{:#?}",
        origin.requests()
    );
}

#[tokio::test]
async fn skopeo_pulls_one_platform_and_all_of_them_as_from_docker_hub() {
    if skipped() {
        return;
    }
    let origin = Origin::docker_hub()
        .repository(APP, |r| {
            r.multi_arch_image("oci", &spec());
            r.multi_arch_image(
                "docker",
                &ImageSpec {
                    flavour: Flavour::Docker,
                    ..spec()
                },
            )
        })
        .start()
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    for tag in ["oci", "docker"] {
        let image = origin.image(APP, tag);
        let one = folder.path().join(format!("{tag}-one"));
        copy(
            &origin,
            &format!("{APP}:{tag}"),
            &one,
            &["--override-arch", "amd64"],
        )
        .await;
        for blob in image.linux("amd64").blobs() {
            let (_, hex) = blob.digest.as_str().split_once(':').unwrap();
            let copied = std::fs::read(one.join(hex)).unwrap();
            assert_eq!(copied, origin.content(APP, &blob.digest));
            assert_eq!(origin.body_bytes(&blob.digest), blob.size);
        }
        let all = folder.path().join(format!("{tag}-all"));
        copy(&origin, &format!("{APP}:{tag}"), &all, &["--all"]).await;
        let manifest = std::fs::read(all.join("manifest.json")).unwrap();
        assert_eq!(manifest, origin.content(APP, &image.root.digest));
    }
    let counts = origin.counts();
    assert_eq!(counts.of(Kind::CdnGet).ok, counts.requests(Kind::CdnGet));
    assert!(counts.requests(Kind::Token) > 0);
}

#[tokio::test]
async fn skopeo_logs_in_to_a_private_repository() {
    if skipped() {
        return;
    }
    for auth in [Auth::token(), Auth::Basic] {
        let origin = Origin::builder()
            .auth(auth)
            .blobs(Blobs::redirect())
            .quota(Quota::default())
            .user("alice", "secret")
            .repository("alice/app", |r| {
                r.image("v1", &spec());
                r.only_for(&["alice"]);
            })
            .start()
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        copy(
            &origin,
            "alice/app:v1",
            folder.path(),
            &["--src-creds", "alice:secret"],
        )
        .await;
        assert_eq!(origin.counts().of(Kind::ManifestGet).ok, 1);
    }
}
