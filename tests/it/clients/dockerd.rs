//! dockerd, through `registry-mirrors`.

use std::path::Path;
use std::time::Duration;

use forebay_loadtest::origin::{Fault, Gate, ImageManifest, ImageSpec, Origin};
use tempfile::TempDir;
use tokio::process::Command;

use super::containerd::Cri;
use super::daemon::Daemon;
use super::node::{Node, Site};
use super::upstream::given;
use super::{AMD64, APP, attempt, containerd, mounts, path, pause, run, wanted};
use crate::harness::Setup;

/// A dockerd with an empty store, and the containerd that it needs: one that it started itself would outlive it when it
/// is killed.
pub(super) struct Dockerd {
    daemon: Daemon,
    containerd: Daemon,
    root: TempDir,
}

/// What the machine's owner has in daemon.json: no bridge, no rules, and a driver that needs nothing of the kernel.
const CONFIG: &str = r#"{
    "bridge": "none",
    "ip-forward": false,
    "iptables": false,
    "storage-driver": "vfs"
}
"#;

fn docker(root: &Path) -> Command {
    let mut command = Command::new("docker");
    command
        .env("DOCKER_CONFIG", root)
        .env_remove("DOCKER_CONTEXT")
        .env_remove("DOCKER_HOST")
        .env_remove("DOCKER_DEFAULT_PLATFORM")
        .arg("--host")
        .arg(format!("unix://{}/docker.sock", root.display()));
    command
}

/// The command that serves, with all its files below `root`. It mounts its data's directory, too.
fn dockerd(root: &Path) -> Command {
    let at = |name: &str| root.join(name);
    let mut command = mounts::with_own("docker", root, "dockerd");
    command
        .env("PATH", path())
        .arg("--data-root")
        .arg(at("data"))
        .arg("--exec-root")
        .arg(at("exec"))
        .arg("--pidfile")
        .arg(at("docker.pid"))
        .arg("--containerd")
        .arg(at("containerd.sock"))
        .arg("--host")
        .arg(format!("unix://{}", at("docker.sock").display()));
    command
}

impl Dockerd {
    /// Starts it, after a change to what is configured.
    pub(super) async fn start_edited(site: &Site, edit: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        // The program adds to what is there.
        let config = root.join("etc/docker/daemon.json");
        std::fs::create_dir_all(config.parent().unwrap()).unwrap();
        std::fs::write(&config, CONFIG).unwrap();
        site.configure("docker", root).await;
        edit(root);
        containerd::write_config(root, Cri::Off);
        let containerd = containerd::daemon(root, &site.tripwire).await;
        let mut command = dockerd(root);
        site.tripwire.before(&mut command);
        let probe = || {
            let mut docker = docker(root);
            docker.arg("version");
            docker
        };
        let daemon = Daemon::start(&mut command, &root.join("dockerd.log"), probe).await;
        Self {
            daemon,
            containerd,
            root: directory,
        }
    }

    /// A command of its client's.
    pub(super) fn docker(&self) -> Command {
        docker(self.root.path())
    }

    /// Waits until it has `bytes` of a layer that it is fetching, and returns how many it has.
    async fn until_it_has(&self, bytes: u64) -> u64 {
        let directory = self.root.path().join("data/tmp");
        let fetched = || {
            let files = std::fs::read_dir(&directory).into_iter().flatten();
            let sizes = files
                .flatten()
                .filter_map(|file| Some(file.metadata().ok()?.len()));
            sizes.max().unwrap_or(0)
        };
        let enough = async {
            loop {
                let fetched = fetched();
                if fetched >= bytes {
                    return fetched;
                }
                pause().await;
            }
        };
        let enough = tokio::time::timeout(Duration::from_mins(1), enough).await;
        enough.unwrap_or_else(|_| panic!("it has {} of {bytes} bytes", fetched()))
    }
}

impl Node for Dockerd {
    const PROGRAMS: &[&str] = &["dockerd", "docker", "containerd", "ctr", "unshare"];

    async fn start(site: &Site) -> Self {
        Self::start_edited(site, |_| ()).await
    }

    async fn pull(&self, image: &str, platform: &str) -> Result<String, String> {
        let mut command = docker(self.root.path());
        command.args(["pull", "--platform", platform, image]);
        attempt(&mut command).await
    }

    async fn has(&self, image: &ImageManifest) -> bool {
        let mut command = docker(self.root.path());
        command.args(["images", "--all", "--no-trunc", "--quiet"]);
        let ids = run(&mut command).await;
        let id = image.config.digest.as_str();
        ids.lines().any(|line| line.trim() == id)
    }

    fn log(&self) -> String {
        self.daemon.log()
    }

    async fn stop(self) {
        self.daemon.stop().await;
        self.containerd.stop().await;
    }
}

asked_of_every_client!(Dockerd);

/// How the mirror goes while dockerd pulls through it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Going {
    /// Told to stop, with little time for what runs.
    Stopped,
    /// As in a crash.
    Killed,
}

/// dockerd keeps what it has of a layer, waits for 5 s, and asks for the rest with `Range`. The mirror keeps what it has
/// as well, so that its upstream is not asked for everything again.
async fn pull_across_a_restart(going: Going) {
    const SIZE: u64 = 12 << 20;
    let spec = ImageSpec {
        layers: 1,
        layer_size: SIZE,
        ..ImageSpec::default()
    };
    let builder =
        Origin::docker_hub().repository(APP, |repository| repository.multi_arch_image("v1", &spec));
    let origin = builder.start().await.unwrap();
    let image = origin.image(APP, "v1").linux("amd64").clone();
    let layer = &image.layers[0];
    let gate = Gate::new();
    origin
        .on_body(&layer.digest)
        .once(Fault::HoldAt(SIZE / 2, gate.clone()));
    let forebay = Setup::new(&origin)
        .config("[server]\ndrain = \"500ms\"")
        .start()
        .await;
    let address = forebay.address;
    let site = Site::new(address).await;
    let node = Dockerd::start(&site).await;
    let reference = format!("docker.io/{APP}:v1");
    let restart = async {
        gate.reached(1).await;
        let had = node.until_it_has(SIZE / 4).await;
        let setup = match going {
            Going::Stopped => forebay.stop().await.1,
            Going::Killed => forebay.kill().await,
        };
        (setup.listen(address).start().await, had)
    };
    let (pulled, (forebay, had)) = tokio::join!(node.pull(&reference, AMD64), restart);
    pulled.unwrap_or_else(|error| panic!("{going:?}: {error}\n{}", forebay.log()));
    assert!(node.has(&image).await);
    node.stop().await;
    assert_eq!(site.tripwire.touched(), Vec::<String>::new());

    let digest = layer.digest.as_str();
    let rest = |log: &String| resumed_at(log, digest).is_some();
    forebay.until_logged("a request for the rest", rest).await;
    let asked = resumed_at(&forebay.log(), digest).unwrap();
    assert!(asked >= had, "dockerd had {had}, and asked from {asked} on");
    assert_eq!(given(&origin).0, 2, "manifests are not fetched again");
    let ranges = origin.ranges_requested(digest);
    let [_, again] = ranges.as_slice() else {
        panic!("{going:?}: the upstream was asked for {ranges:?}");
    };
    // What dockerd was sent was hashed before. A stop writes down how much that is, a crash leaves what was written down
    // before the last MiB.
    let kept = match going {
        Going::Stopped => asked,
        Going::Killed => asked - (1 << 20),
    };
    assert!(
        again.start >= kept,
        "{going:?}: dockerd had {asked}, the upstream was asked for {ranges:?}"
    );
}

/// Where the answered request for the rest of a blob begins, by the mirror's log.
fn resumed_at(log: &str, digest: &str) -> Option<u64> {
    log.lines().find_map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let fields = &event["fields"];
        let range = fields["range"].as_str()?.strip_prefix("bytes=")?;
        let is_it = fields["reference"] == digest && fields["status"] == 206;
        is_it.then(|| range.split('-').next()?.parse().ok())?
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn dockerd_resumes_a_pull_that_a_restart_of_the_mirror_cut() {
    if wanted(Dockerd::PROGRAMS) {
        pull_across_a_restart(Going::Stopped).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dockerd_resumes_a_pull_that_a_crash_of_the_mirror_cut() {
    if wanted(Dockerd::PROGRAMS) {
        pull_across_a_restart(Going::Killed).await;
    }
}
