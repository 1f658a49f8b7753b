//! Real clients and a registry that we did not write: skopeo, containerd, Debian's `docker-registry`.
//!
//! Each runs with directories of its own and is stopped by its process id.

mod containerd;
mod docker_registry;
mod skopeo;

use std::process::Stdio;

use forebay_loadtest::origin::{ImageSpec, Kind, Origin};
use tokio::process::Command;

/// Whether the client tests run. A missing program fails them, unless the one who runs them says to skip.
fn wanted(programs: &[&str]) -> bool {
    if std::env::var_os("FOREBAY_SKIP_CLIENTS").is_some_and(|value| value == "1") {
        eprintln!("FOREBAY_SKIP_CLIENTS=1: {programs:?} are not tried");
        return false;
    }
    for program in programs {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|directory| directory.join(program).is_file());
        assert!(
            found,
            "{program} is not installed; `./test` installs it, FOREBAY_SKIP_CLIENTS=1 skips these tests"
        );
    }
    true
}

/// Runs a command to its end and returns what it printed.
async fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("it can be started");
    let printed = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "{:?} failed:\n{printed}",
        command.as_std()
    );
    printed
}

/// Docker Hub as it is: a token service, signed redirects to a CDN, a quota. `library/app:v1` has two platforms.
async fn docker_hub() -> Origin {
    let spec = ImageSpec {
        layers: 3,
        layer_size: 2 << 20,
        ..ImageSpec::default()
    };
    let builder = Origin::docker_hub().repository("library/app", |repository| {
        drop(repository.multi_arch_image("v1", &spec));
    });
    builder.start().await.expect("the origin starts")
}

/// What an upstream gave of an image: manifests and blobs. A GET that was only told to log in gives nothing.
fn cost(origin: &Origin) -> (u64, u64) {
    let counts = origin.counts();
    (counts.of(Kind::ManifestGet).ok, counts.of(Kind::BlobGet).ok)
}
