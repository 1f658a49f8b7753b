//! An upstream that we did not write: Debian's `docker-registry`, with Basic authentication.

use std::process::Stdio;
use std::time::Duration;

use forebay_loadtest::origin::Origin;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::skopeo::copy_all;
use super::{APP, TOOL, run};
use crate::harness::{Setup, plain_origin, terminate, wait_for_exit};

/// How long it may take to start, and to write down what it has answered.
const PATIENCE: Duration = Duration::from_mins(1);

/// The programs that it takes.
pub(super) const PROGRAMS: &[&str] = &["docker-registry", "htpasswd", "skopeo"];

/// A running registry.
pub(super) struct Registry {
    child: Child,
    address: String,
    /// Its access log, a line a request in the Combined Log Format.
    access: watch::Receiver<String>,
    _root: TempDir,
}

impl Registry {
    /// Starts one, and pushes all of `library/app:v1` and `library/tool:v1` to it.
    pub(super) async fn start(content: &Origin) -> Self {
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
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = kept(child.stderr.take().unwrap());
        let access = kept(child.stdout.take().unwrap());
        let listening = log.wait_for(|log| log.contains("listening on "));
        let listening = tokio::time::timeout(PATIENCE, listening).await;
        let address = address(&listening.expect("it starts").expect("it goes on"));
        let registry = Self {
            child,
            address,
            access,
            _root: root,
        };
        for name in [APP, TOOL] {
            registry.push(content, name).await;
        }
        registry
    }

    async fn push(&self, content: &Origin, name: &str) {
        let source = format!("docker://{}/{name}:v1", content.host());
        let target = format!("docker://{}/{name}:v1", self.address);
        run(copy_all(&source, &target).args(["--dest-creds", "ci:secret"])).await;
    }

    /// A mirror whose Docker Hub it is.
    pub(super) fn mirror(&self) -> Setup {
        Setup::with_endpoint(&format!("http://{}", self.address))
            .upstream("username = \"ci\"\npassword = \"secret\"")
    }

    /// Waits until it has written down as many answers as `expected`, manifests and blobs, and returns how many there
    /// are: it writes after it answers.
    pub(super) async fn given(&self, expected: (u64, u64)) -> (u64, u64) {
        let mut access = self.access.clone();
        let reached = access.wait_for(|log| {
            let given = given(log);
            given.0 >= expected.0 && given.1 >= expected.1
        });
        // In vain or not, what there is now is what counts.
        let _ = tokio::time::timeout(PATIENCE, reached).await;
        given(&self.access.borrow())
    }

    pub(super) async fn stop(&mut self) {
        terminate(&self.child);
        wait_for_exit(&mut self.child).await;
    }
}

/// Where it says that it listens.
fn address(log: &str) -> String {
    let (_, rest) = log.split_once("listening on ").expect("just seen");
    rest.split(['"', ' ']).next().unwrap_or_default().to_owned()
}

/// The manifests and blobs that it gave: pushes are made of other requests than GET, and an answer that only
/// asks for a login gives nothing.
fn given(access: &str) -> (u64, u64) {
    let gave = |line: &&str| line.contains("\"GET ") && line.contains(" HTTP/1.1\" 20");
    let count = |what: &str| {
        let lines = access.lines().filter(gave);
        lines.filter(|line| line.contains(what)).count() as u64
    };
    (count("/manifests/"), count("/blobs/"))
}

/// What is written to a pipe, kept as it comes, whole lines.
fn kept(pipe: impl AsyncRead + Unpin + Send + 'static) -> watch::Receiver<String> {
    let (text, kept) = watch::channel(String::new());
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            text.send_modify(|text| {
                text.push_str(&line);
                text.push('\n');
            });
        }
    });
    kept
}

/// Where its content comes from.
pub(super) async fn source() -> Origin {
    let builder = super::with_images(plain_origin());
    builder.start().await.expect("the origin starts")
}
