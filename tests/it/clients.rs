//! Real clients and a registry that we did not write: dockerd, containerd, podman, buildah, skopeo, and Debian's
//! `docker-registry`.
//!
//! `story` is what every client does through both kinds of upstream, each step with its cost; `sharing` is two at once,
//! `around` is who leaves the mirror aside and who must not. What only one client does is in its own file. Each process
//! runs with directories of its own and is stopped by its id; each client is configured by the program itself.

/// What is asked of every client, as tests of its module.
macro_rules! asked_of_every_client {
    ($node:ty) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn everything_is_pulled_once_from_docker_hub() {
            if super::wanted(<$node as super::node::Node>::PROGRAMS) {
                super::story::tell::<$node>(super::upstream::Upstream::docker_hub().await).await;
            }
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn everything_is_pulled_once_from_a_registry_with_a_login() {
            if super::wanted(<$node as super::node::Node>::PROGRAMS)
                && super::wanted(super::docker_registry::PROGRAMS)
            {
                super::story::tell::<$node>(super::upstream::Upstream::registry().await).await;
            }
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn two_at_once_cost_one_body_a_blob() {
            if super::wanted(<$node as super::node::Node>::PROGRAMS) {
                super::sharing::pull_at_once::<$node>().await;
            }
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn docker_hub_itself_is_asked_while_the_mirror_is_away() {
            if super::wanted(<$node as super::node::Node>::PROGRAMS) {
                super::around::falls_back::<$node>().await;
            }
        }
    };
    ($node:ty, can_be_told_to_ask_nobody_else) => {
        asked_of_every_client!($node);

        #[tokio::test(flavor = "multi_thread")]
        async fn nobody_else_is_asked_where_it_was_told_not_to() {
            if super::wanted(<$node as super::node::Node>::PROGRAMS) {
                super::around::never_falls_back::<$node>().await;
            }
        }
    };
}

mod apart;
mod around;
mod buildah;
mod containerd;
mod containers;
mod cri;
mod daemon;
pub(crate) mod docker_registry;
mod dockerd;
mod hosts;
mod login;
mod mounts;
mod node;
mod podman;
mod sharing;
mod skopeo;
mod story;
mod tripwire;
mod troubles;
mod upstream;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use forebay_loadtest::origin::{Builder, ImageSpec};
use tokio::process::Command;

use crate::harness::{heavy, is_apart};

/// Two repositories of the upstream, each with an image `v1` for two platforms.
pub(crate) const APP: &str = "library/app";
pub(crate) const TOOL: &str = "library/tool";
const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";
const LAYER: u64 = 256 << 10;

/// How long a command of a client may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// What works for root alone, or keeps what it pulls in another way for others: they mount, and they keep the owners of
/// what is in a layer.
const ROOTS: [&str; 5] = ["dockerd", "containerd", "podman", "buildah", "unshare"];

/// Whether the client tests run, and then one at a time. A missing program or right fails them, unless the one who runs
/// them says to skip.
pub(crate) fn wanted(programs: &[&str]) -> bool {
    if std::env::var_os("SKIP_CLIENTS").is_some_and(|value| value == "1") {
        eprintln!("SKIP_CLIENTS=1: {programs:?} are not tried");
        return false;
    }
    for program in programs {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .chain(["/usr/sbin".into(), "/sbin".into(), tools()])
            .any(|directory| directory.join(program).is_file());
        assert!(
            found,
            "{program} is not installed; `./test` installs it, SKIP_CLIENTS=1 skips these tests"
        );
        assert!(
            !ROOTS.contains(program) || rustix::process::geteuid().is_root(),
            "{program} needs root here; run the tests as root, SKIP_CLIENTS=1 skips these"
        );
    }
    // Within a test that is run apart, its turn is the outer one's.
    if !is_apart() {
        heavy();
    }
    true
}

/// Where `./test` puts what Debian has no package of.
pub(crate) fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin")
}

/// Runs a command to its end, which has to come in time: what it printed, as an error if it failed.
async fn attempt(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .unwrap_or_else(|_| panic!("{:?} does not end", command.as_std()))
        .expect("it can be started");
    let printed = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    if output.status.success() {
        Ok(printed)
    } else {
        Err(format!("{:?} failed:\n{printed}", command.as_std()))
    }
}

/// Runs a command that has to succeed, and returns what it printed.
async fn run(command: &mut Command) -> String {
    attempt(command)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Lets others work before the next look at something that nobody tells of.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// `PATH` with the administrators' directories, where dockerd is.
fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin")
}

/// Adds what the tests pull: of each repository two platforms of a config and three layers.
fn with_images(builder: Builder) -> Builder {
    let spec = ImageSpec {
        layers: 3,
        layer_size: LAYER,
        ..ImageSpec::default()
    };
    [APP, TOOL].into_iter().fold(builder, |builder, name| {
        builder.repository(name, |repository| repository.multi_arch_image("v1", &spec))
    })
}
