//! A forebay of our own: started with what a scenario configures, stopped and started again where it was.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, io};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpSocket;
use tokio::process::{Child, ChildStderr, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::measure::pin;
use crate::peers::End;

/// How long a start or a stop may take. A stop waits for running transfers.
const PATIENCE: Duration = Duration::from_mins(1);
/// How many lines of its log are told where it does not start.
const TOLD: usize = 10;

/// A running forebay, its cache in a directory that goes with it. Dropped, it is killed.
#[derive(Debug)]
pub struct Program {
    child: Child,
    path: PathBuf,
    version: String,
    listen: SocketAddr,
    /// The processor that it has alone; all of them otherwise.
    core: Option<usize>,
    /// The port's, which is nobody else's while the program is away.
    _port: TcpSocket,
    dir: TempDir,
}

/// A program that stands beside this one, as `cargo build` puts them.
///
/// # Errors
/// Where there is none.
pub fn sibling(name: &str) -> io::Result<PathBuf> {
    let path = env::current_exe()?.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    let told = format!(
        "there is no {}: run `cargo build --release` first, or say where it is with --forebay",
        path.display()
    );
    Err(io::Error::new(io::ErrorKind::NotFound, told))
}

impl Program {
    /// Starts it before an upstream, on one processor where that is named, and waits until it is ready.
    pub(super) async fn start(
        path: &Path,
        config: &str,
        endpoint: &str,
        core: Option<usize>,
    ) -> io::Result<Self> {
        let version = Command::new(path).arg("--version").output().await;
        let version = version.map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        let (port, dir) = (TcpSocket::new_v4()?, tempfile::tempdir()?);
        port.set_reuseaddr(true)?;
        port.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let upstream = format!("endpoints = [{endpoint:?}]\nallow_private = true");
        let config = format!("{config}\n[upstreams.\"docker.io\"]\n{upstream}\n");
        fs::write(dir.path().join("forebay.toml"), config)?;
        let listen = port.local_addr()?;
        Ok(Self {
            child: spawn(path, dir.path(), listen, core).await?,
            path: path.to_owned(),
            version: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
            listen,
            core,
            _port: port,
            dir,
        })
    }

    /// Ends it, and starts it again where it was, with the cache that it had.
    pub(super) async fn again(&mut self, end: End) -> io::Result<()> {
        self.end(end).await?;
        self.child = spawn(&self.path, self.dir.path(), self.listen, self.core).await?;
        Ok(())
    }

    /// Ends it.
    pub(super) async fn end(&mut self, end: End) -> io::Result<()> {
        match (
            end,
            self.pid().and_then(|id| Pid::from_raw(id.cast_signed())),
        ) {
            (End::Stopped, Some(id)) => kill_process(id, Signal::TERM)?,
            _ => self.child.start_kill()?,
        }
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(ended) => ended.map(drop),
            Err(_) => Err(io::Error::other("the mirror does not stop")),
        }
    }

    /// Where clients ask.
    pub(super) fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Its process, while there is one.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What it says that it is, and where it runs.
    pub(super) fn about(&self) -> String {
        let told = format!("{}, at {}", self.version, self.listen);
        match self.core {
            None => told,
            Some(core) => format!("{told}, on processor {core} alone"),
        }
    }
}

async fn spawn(
    path: &Path,
    dir: &Path,
    listen: SocketAddr,
    core: Option<usize>,
) -> io::Result<Child> {
    let mut command = Command::new(path);
    // Each of these is a key of its configuration.
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"FOREBAY_") {
            command.env_remove(name);
        }
    }
    command
        .arg("serve")
        .arg("--config")
        .arg(dir.join("forebay.toml"))
        .arg("--listen")
        .arg(listen.to_string())
        .arg("--cache-dir")
        .arg(dir.join("cache"))
        .env("FOREBAY_ADMIN__LISTEN", "127.0.0.1:0")
        .env("FOREBAY_LOG__FORMAT", "json")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let runtime = Handle::current();
    let mut child = match core {
        None => command.spawn(),
        Some(core) => pin(core, || {
            // The thread is another one, which has to know who waits for the child's end.
            let _entered = runtime.enter();
            command.spawn()
        })?,
    }?;
    let stderr = child.stderr.take().expect("it is piped");
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let (ready, is_ready) = oneshot::channel();
    // Detached: it ends with the program.
    tokio::spawn(follow(stderr, ready, Arc::clone(&tail)));
    if let Ok(Ok(())) = timeout(PATIENCE, is_ready).await {
        return Ok(child);
    }
    let tail = tail.lock().expect("nobody panics with the lock");
    let tail: Vec<&str> = tail.iter().map(String::as_str).collect();
    let told = format!("{} does not start:\n{}", path.display(), tail.join("\n"));
    Err(io::Error::other(told))
}

/// Reads its log: until it says that it is ready, and then on, since it would wait for who does not read.
async fn follow(
    stderr: ChildStderr,
    ready: oneshot::Sender<()>,
    tail: Arc<Mutex<VecDeque<String>>>,
) {
    let mut ready = Some(ready);
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if ready.is_none() {
            continue;
        }
        if says_ready(&line)
            && let Some(ready) = ready.take()
        {
            let _ = ready.send(());
        }
        let mut tail = tail.lock().expect("nobody panics with the lock");
        tail.push_back(line);
        if tail.len() > TOLD {
            tail.pop_front();
        }
    }
}

fn says_ready(line: &str) -> bool {
    let event: Option<serde_json::Value> = serde_json::from_str(line).ok();
    event.is_some_and(|event| event["fields"]["message"] == "ready")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::measure::Cores;

    #[test]
    fn a_program_that_is_not_there_is_told_with_what_to_do() {
        let error = sibling("forebay-that-nobody-built")
            .unwrap_err()
            .to_string();
        assert!(error.contains("cargo build --release"), "{error}");
        assert!(error.contains("--forebay"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_does_not_start_is_told_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let error = spawn(
            Path::new("/bin/ls"),
            dir.path(),
            "127.0.0.1:1".parse().unwrap(),
            None,
        );
        let error = error.await.unwrap_err().to_string();
        assert!(error.contains("/bin/ls does not start:\n"), "{error}");
        assert!(error.contains("ls: "), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_is_pinned_has_one_processor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mirror");
        let script = "#!/bin/sh\necho '{\"fields\":{\"message\":\"ready\"}}' >&2\nexec sleep 60\n";
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let core = Cores::first().unwrap().client;
        let listen = "127.0.0.1:1".parse().unwrap();
        let child = spawn(&path, dir.path(), listen, Some(core)).await.unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", child.id().unwrap()));
        let status = status.unwrap();
        let allowed = format!("Cpus_allowed_list:\t{core}\n");
        assert!(status.contains(&allowed), "{status}");
    }

    #[test]
    fn ready_is_what_the_log_says_and_no_word_in_it() {
        assert!(says_ready(
            r#"{"level":"INFO","fields":{"message":"ready"}}"#
        ));
        assert!(!says_ready(r#"{"fields":{"message":"not ready"}}"#));
        assert!(!says_ready("ready"));
    }
}
