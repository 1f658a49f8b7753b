//! An upstream that we did not write: Debian's `docker-registry`, with Basic authentication unless it is configured otherwise.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
pub(crate) const PROGRAMS: &[&str] = &["docker-registry", "htpasswd", "skopeo"];

/// Who may log in.
pub(crate) const USER: &str = "ci";
pub(crate) const PASSWORD: &str = "canary-secret";

/// A running registry.
pub(crate) struct Registry {
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
        let (storage, auth) = (files(root.path()), htpasswd(root.path()).await);
        Self::configured(content, root, &storage, &auth).await
    }

    /// As [`Registry::start`], with these sections `storage` and `auth` of its configuration, whose files are below `root`.
    pub(crate) async fn configured(
        content: &Origin,
        root: TempDir,
        storage: &str,
        auth: &str,
    ) -> Self {
        let registry = Self::started(root, &format!("{storage}{auth}")).await;
        for name in [APP, TOOL] {
            registry.push(content, name).await;
        }
        registry
    }

    /// Starts one as it is configured, with these lines after the first ones of its section `http`.
    pub(crate) async fn started(root: TempDir, lines: &str) -> Self {
        let config = root.path().join("config.yml");
        let text =
            format!("version: 0.1\nlog:\n  level: info\nhttp:\n  addr: 127.0.0.1:0\n{lines}");
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            // Its S3 driver can't start with it.
            .env_remove("AWS_CA_BUNDLE")
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
        Self {
            child,
            address,
            access,
            _root: root,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    async fn push(&self, content: &Origin, name: &str) {
        let source = format!("docker://{}/{name}:v1", content.host());
        let target = format!("docker://{}/{name}:v1", self.address);
        let login = format!("{USER}:{PASSWORD}");
        run(copy_all(&source, &target).args(["--dest-creds", &login])).await;
    }

    /// A mirror whose Docker Hub it is.
    pub(crate) fn mirror(&self) -> Setup {
        self.mirror_with(&format!("password = {PASSWORD:?}"))
    }

    /// As [`Registry::mirror`], where this says what the password is.
    pub(crate) fn mirror_with(&self, password: &str) -> Setup {
        Setup::with_endpoint(&format!("http://{}", self.address))
            .upstream(&format!("username = {USER:?}\n{password}"))
    }

    /// Waits until it has written down as many of the mirror's requests as these are, by method, kind and status, such as
    /// `GET blob 200`; and sees that they are these.
    pub(crate) async fn was_asked(&self, expected: &[(String, u64)], when: &str) {
        let expected: BTreeMap<_, _> = expected.iter().cloned().collect();
        let total = |asked: &BTreeMap<String, u64>| asked.values().sum::<u64>();
        let mut access = self.access.clone();
        let reached = access.wait_for(|log| total(&asked(log)) >= total(&expected));
        // As in `given`.
        let _ = tokio::time::timeout(PATIENCE, reached).await;
        let log = self.access.borrow().clone();
        assert_eq!(asked(&log), expected, "{when}: {log}");
    }

    /// Waits until it has written down as many answers as `expected`, manifests and blobs, and returns how many there
    /// are: it writes after it answers.
    pub(crate) async fn given(&self, expected: (u64, u64)) -> (u64, u64) {
        let mut access = self.access.clone();
        let reached = access.wait_for(|log| {
            let given = given(log);
            given.0 >= expected.0 && given.1 >= expected.1
        });
        // In vain or not, what there is now is what counts.
        let _ = tokio::time::timeout(PATIENCE, reached).await;
        given(&self.access.borrow())
    }

    pub(crate) async fn stop(&mut self) {
        terminate(&self.child);
        wait_for_exit(&mut self.child).await;
    }
}

/// Storage in files below `root`.
pub(crate) fn files(root: &Path) -> String {
    let data = root.join("data");
    format!(
        "storage:\n  filesystem:\n    rootdirectory: {}\n",
        data.display()
    )
}

/// Logins by password.
pub(crate) async fn htpasswd(root: &Path) -> String {
    let users = set_password(root, PASSWORD).await;
    format!(
        "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
        users.display()
    )
}

/// Says what the user's password is from now on: a running registry reads the file again.
pub(crate) async fn set_password(root: &Path, password: &str) -> PathBuf {
    let users = root.join("htpasswd");
    let line = run(Command::new("htpasswd").args(["-Bbn", USER, password])).await;
    std::fs::write(&users, line).unwrap();
    users
}

/// Where it says that it listens.
fn address(log: &str) -> String {
    let (_, rest) = log.split_once("listening on ").expect("just seen");
    rest.split(['"', ' ', ','])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The manifests and blobs that it gave, or said where they are: pushes are made of other requests than GET, and an answer
/// that only asks for a login gives nothing.
fn given(access: &str) -> (u64, u64) {
    let gave = |line: &&str| {
        let answered = |status| line.contains(&format!(" HTTP/1.1\" {status}"));
        line.contains("\"GET ") && (answered("20") || answered("307"))
    };
    let count = |what: &str| {
        let lines = access.lines().filter(gave);
        lines.filter(|line| line.contains(what)).count() as u64
    };
    (count("/manifests/"), count("/blobs/"))
}

/// How often the mirror asked for what, and was answered how. Pushes are made by another program.
fn asked(access: &str) -> BTreeMap<String, u64> {
    let mut asked = BTreeMap::new();
    for line in access.lines().filter(|line| line.contains("\"forebay/")) {
        let mut quoted = line.split('"').skip(1);
        let (request, status) = (quoted.next().unwrap(), quoted.next().unwrap());
        let mut request = request.split(' ');
        let (method, path) = (request.next().unwrap(), request.next().unwrap());
        let kind = ["manifest", "blob"]
            .into_iter()
            .find(|kind| path.contains(&format!("/{kind}s/")));
        let status = status.split_whitespace().next().unwrap();
        let what = format!("{method} {} {status}", kind.unwrap_or(path));
        *asked.entry(what).or_default() += 1;
    }
    asked
}

/// What is written to a pipe, kept as it comes, whole lines.
pub(crate) fn kept(pipe: impl AsyncRead + Unpin + Send + 'static) -> watch::Receiver<String> {
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
pub(crate) async fn source() -> Origin {
    let builder = super::with_images(plain_origin());
    builder.start().await.expect("the origin starts")
}
