//! The mirror's process: started, watched, stopped by its id.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use http::StatusCode;
use tokio::process::Child;
use tokio::sync::watch;

use super::client::{Client, manifest_path};
use super::log::{Told, follow};
use super::program::{terminate, wait_for_exit};
use super::setup::Setup;

/// How long a start, or what is waited for, may take on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks at a mirror that has something to do meanwhile, on the same processors.
const PAUSE: Duration = Duration::from_millis(5);

/// A running mirror. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Forebay {
    child: Child,
    pub(super) setup: Setup,
    log: watch::Receiver<String>,
    /// Where clients ask.
    pub(crate) address: SocketAddr,
    /// Where operators ask.
    pub(crate) admin: SocketAddr,
}

impl Forebay {
    pub(super) async fn spawn(setup: Setup) -> Self {
        let mut child = setup.command().spawn().expect("the mirror can be started");
        let stderr = child.stderr.take().expect("its log is piped");
        let (mut listening, log) = follow(stderr);
        let ready = listening.wait_for(Told::is_ready);
        let addresses = match tokio::time::timeout(PATIENCE, ready).await {
            Ok(Ok(told)) => *told,
            _ => panic!("the mirror did not start; its log:\n{}", *log.borrow()),
        };
        Self {
            child,
            setup,
            log,
            address: addresses.clients.expect("just seen"),
            admin: addresses.admin.expect("just seen"),
        }
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A client of it at an address of its own, 127.0.`third`.`fourth`.
    pub(crate) fn client_at(&self, third: u8, fourth: u8) -> Client {
        Client::at(IpAddr::from([127, 0, third, fourth]), self.address)
    }

    /// A client of its admin listener.
    pub(crate) fn admin(&self) -> Client {
        Client::new(self.admin)
    }

    /// Where its cache is.
    pub(crate) fn cache_dir(&self) -> PathBuf {
        self.setup.cache_dir()
    }

    /// A path as the mirror sees it, on its own disk if it has one.
    pub(crate) fn seen(&self, path: &Path) -> PathBuf {
        let path = path.strip_prefix("/").expect("paths are absolute");
        PathBuf::from(format!("/proc/{}/root", self.pid())).join(path)
    }

    /// Its process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// Waits until its log is as wanted. A request's line may come after the client has the last byte.
    pub(crate) async fn until_logged(&self, what: &str, wanted: impl FnMut(&String) -> bool) {
        let mut log = self.log.clone();
        let logged = tokio::time::timeout(PATIENCE, log.wait_for(wanted)).await;
        let logged = matches!(logged, Ok(Ok(_)));
        assert!(logged, "{what} is not in the log:\n{}", self.log());
    }

    /// The sum of a metric over all its labels that contain `labels`.
    pub(crate) async fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = self.admin().get("/metrics").await.text();
        let lines = text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(labels));
        lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// Waits until the sum of a metric is as wanted.
    pub(crate) async fn until_metric(
        &self,
        name: &str,
        labels: &str,
        wanted: impl Fn(f64) -> bool,
    ) {
        let reached = async {
            while !wanted(self.metric(name, labels).await) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(
            reached.is_ok(),
            "{name} did not become as wanted; the log:\n{}",
            self.log()
        );
    }

    /// Waits until a tag points where it should.
    pub(crate) async fn until_tag(&self, repository: &str, tag: &str, digest: impl AsRef<str>) {
        let (client, path) = (self.client(), manifest_path(repository, tag));
        let moved = async {
            while client.head(&path).await.header("docker-content-digest") != digest.as_ref() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let moved = tokio::time::timeout(PATIENCE, moved).await;
        assert!(
            moved.is_ok(),
            "{repository}:{tag} does not move on; the log:\n{}",
            self.log()
        );
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(mut self) -> (ExitStatus, Setup) {
        self.ask_to_stop();
        let status = wait_for_exit(&mut self.child).await;
        (status, self.setup)
    }

    /// Stops it and starts it again where it was.
    pub(crate) async fn restart(self) -> Self {
        let address = self.address;
        let (status, setup) = self.stop().await;
        assert_eq!(status.code(), Some(0), "it stops in good order");
        setup.listen(address).start().await
    }

    /// Kills it at once, as a crash would.
    pub(crate) async fn kill(mut self) -> Setup {
        self.child.kill().await.expect("it can be killed");
        self.setup
    }

    /// Asks it to stop, and does not wait.
    pub(crate) fn ask_to_stop(&self) {
        terminate(&self.child);
    }

    /// Where its configuration is, and what else it reads may be.
    pub(crate) fn dir(&self) -> &Path {
        self.setup.dir()
    }

    /// Its configuration.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.setup.config_file()
    }

    /// Waits until it says that it is not ready, as after a signal to stop.
    pub(crate) async fn until_draining(&self) {
        let admin = self.admin();
        let draining = async {
            while admin.get("/readyz").await.status != StatusCode::SERVICE_UNAVAILABLE {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let draining = tokio::time::timeout(PATIENCE, draining).await;
        assert!(draining.is_ok(), "it stays ready; the log:\n{}", self.log());
    }

    /// Waits until it has exited by itself.
    pub(crate) async fn exited(mut self) -> ExitStatus {
        wait_for_exit(&mut self.child).await
    }
}
