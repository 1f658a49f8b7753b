//! A client's or registry's daemon: started with a log of its own, waited for, stopped by its id.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::pause;
use crate::harness::{terminate, wait_for_exit};

/// A running daemon. Dropping it kills it.
pub(super) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it and waits until `probe` succeeds.
    pub(super) async fn start(
        command: &mut Command,
        log: &Path,
        probe: impl Fn() -> Command,
    ) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut daemon = Self {
            child,
            log: log.to_owned(),
        };
        daemon.ready(probe).await;
        daemon
    }

    async fn ready(&mut self, probe: impl Fn() -> Command) {
        let answers = async {
            loop {
                let mut probe = probe();
                probe.stdin(Stdio::null()).kill_on_drop(true);
                if probe.output().await.is_ok_and(|done| done.status.success()) {
                    return true;
                }
                if self.child.try_wait().unwrap().is_some() {
                    return false;
                }
                pause().await;
            }
        };
        let answers = tokio::time::timeout(Duration::from_mins(1), answers).await;
        assert!(answers == Ok(true), "it does not start:\n{}", self.log());
    }

    /// What it has logged so far.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to stop, and waits until it has.
    pub(super) async fn stop(mut self) {
        terminate(&self.child);
        wait_for_exit(&mut self.child).await;
    }
}
