//! What a mirror is started with: its configuration, its environment, its disk.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;

use forebay_loadtest::origin::Origin;
use tempfile::TempDir;
use tokio::process::Command;

use super::disk::on_own_disk;
use super::port::Port;
use super::process::{Forebay, PATIENCE};
use super::program::{program, with_descriptors};

/// How long an upstream is waited for where there is an old answer.
const CONFIRM_WAIT: &str = "FOREBAY_TAGS__CONFIRM_WAIT";

/// What a mirror is started with.
#[derive(Debug)]
pub(crate) struct Setup {
    root: Arc<TempDir>,
    name: &'static str,
    config: String,
    upstream: String,
    /// Whether Docker Hub may lead to any address.
    allow_private: bool,
    more: String,
    listen: SocketAddr,
    /// Its own while it is down, too.
    _port: Port,
    /// The size of the file system that its cache has for itself.
    disk: Option<u64>,
    /// How many file descriptors it may have.
    descriptors: Option<usize>,
    environment: Vec<(&'static str, OsString)>,
}

impl Setup {
    /// A mirror whose Docker Hub is `origin`.
    pub(crate) fn new(origin: &Origin) -> Self {
        Self::with_endpoint(&origin.registry_url())
    }

    /// A mirror whose Docker Hub is at `endpoint`.
    pub(crate) fn with_endpoint(endpoint: &str) -> Self {
        let mut upstream = String::new();
        writeln!(upstream, "endpoints = [{endpoint:?}]").expect("writing to a string");
        // Tests count what an origin is asked. FOREBAY_UPSTREAMS__DOCKERHUB__READ_QUOTA overrides it.
        writeln!(upstream, "read_quota = false").expect("writing to a string");
        let port = Port::reserve();
        Self {
            root: Arc::new(tempfile::tempdir().expect("a temporary directory")),
            name: "forebay.toml",
            config: String::new(),
            upstream,
            allow_private: true,
            more: String::new(),
            listen: port.address(),
            _port: port,
            disk: None,
            descriptors: None,
            environment: Vec::new(),
        }
    }

    /// Adds lines to the config, a table's header included.
    pub(crate) fn config(mut self, lines: &str) -> Self {
        writeln!(self.config, "{lines}").expect("writing to a string");
        self
    }

    /// Adds lines to Docker Hub's table.
    pub(crate) fn upstream(mut self, lines: &str) -> Self {
        writeln!(self.upstream, "{lines}").expect("writing to a string");
        self
    }

    /// Keeps to the address policy: Docker Hub's endpoint is exempt, and nothing else.
    pub(crate) fn strict(mut self) -> Self {
        self.allow_private = false;
        self
    }

    /// Adds another upstream: its registry and its table's lines.
    pub(crate) fn also(mut self, registry: &str, origin: &Origin, lines: &str) -> Self {
        let endpoint = origin.registry_url();
        writeln!(
            self.more,
            "[upstreams.{registry:?}]\nendpoints = [{endpoint:?}]\nallow_private = true\n{lines}"
        )
        .expect("writing to a string");
        self
    }

    /// Puts its cache where another's is.
    pub(crate) fn in_cache_of(mut self, other: &Forebay) -> Self {
        self.root = Arc::clone(&other.setup.root);
        self.name = "second.toml";
        self
    }

    /// Listens where clients already ask.
    pub(crate) fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Gives its cache a file system of `bytes` in memory, which only the mirror sees and which goes with
    /// it: see [`Forebay::seen`].
    pub(crate) fn disk_of(mut self, bytes: u64) -> Self {
        self.disk = Some(bytes);
        self
    }

    /// Lets it have so many file descriptors, and no more.
    pub(crate) fn descriptors(mut self, most: usize) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Waits for an upstream that says nothing only as long as it does by default, where there is an old answer.
    pub(crate) fn impatient(self) -> Self {
        self.env(CONFIRM_WAIT, "2s")
    }

    /// Takes from its environment whatever a cloud's login could come from, here or on the machine.
    pub(crate) fn without_clouds(self) -> Self {
        self.env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("CLOUDSDK_CONFIG", "/dev/null")
            .env("GCE_METADATA_HOST", "127.0.0.1:9")
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
    }

    /// Where its configuration is, and what else it reads may be.
    pub(crate) fn dir(&self) -> &Path {
        self.root.path()
    }

    /// Where its cache is.
    pub(crate) fn cache_dir(&self) -> PathBuf {
        self.disk_dir().join("cache")
    }

    fn disk_dir(&self) -> PathBuf {
        match self.disk {
            Some(_) => self.root.path().join("disk"),
            None => self.root.path().to_owned(),
        }
    }

    /// The program, on a disk of its own if it is to have one.
    fn program(&self) -> Command {
        match (self.disk, self.descriptors) {
            (Some(bytes), _) => on_own_disk(&self.disk_dir(), bytes).into(),
            (None, Some(most)) => with_descriptors(most).into(),
            (None, None) => program().into(),
        }
    }

    /// Where its configuration is.
    pub(super) fn config_file(&self) -> PathBuf {
        self.root.path().join(self.name)
    }

    fn write(&self) -> PathBuf {
        let path = self.config_file();
        let text = format!(
            "{}\n[upstreams.\"docker.io\"]\nallow_private = {}\n{}\n{}",
            self.config, self.allow_private, self.upstream, self.more
        );
        std::fs::write(&path, text).expect("the config can be written");
        // There may be a password in it, and a mirror warns of one that everybody can read.
        let own = Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, own).expect("the config can be kept from others");
        path
    }

    /// The command that serves, listening on ports that the system chooses unless told otherwise.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.program();
        command
            .arg("serve")
            .arg("--config")
            .arg(self.write())
            .arg("--listen")
            .arg(self.listen.to_string())
            .arg("--cache-dir")
            .arg(self.cache_dir())
            .env("FOREBAY_LOG__FORMAT", "json")
            // What is not in the log is not to come.
            .env("FOREBAY_LOG__WAIT", "0s")
            .env("FOREBAY_ADMIN__LISTEN", "127.0.0.1:0")
            // An upstream that is slow to answer here is on a busy machine, and not in trouble: see `Setup::impatient`.
            .env(CONFIRM_WAIT, "20s")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// What `check` prints about its configuration.
    pub(crate) async fn checked(&self) -> String {
        let output = self.check(&[]).await;
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        assert!(output.status.success(), "{printed}");
        printed
    }

    /// Runs `check` on its configuration, with further arguments.
    pub(crate) async fn check(&self, arguments: &[&str]) -> Output {
        let mut command = Command::from(program());
        command
            .arg("check")
            .arg("--config")
            .arg(self.write())
            .arg("--cache-dir")
            .arg(self.cache_dir())
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.expect("it ends by itself");
        output.expect("it can be run")
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(self) -> Forebay {
        Forebay::spawn(self).await
    }
}
