//! A machine apart, as far as its network goes: a test is run again where the network and the files that it names are its
//! own.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Set where the network is the test's own.
const APART: &str = "TEST_APART";

/// How long the test may take there, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// Whether this is the network of the test's own.
pub(crate) fn is_apart() -> bool {
    std::env::var_os(APART).is_some()
}

/// What a test has for itself.
#[derive(Debug)]
pub(crate) struct Apart {
    test: String,
    addresses: Vec<IpAddr>,
    files: Vec<(&'static str, String)>,
}

impl Apart {
    /// For the test of this path within its binary.
    pub(crate) fn new(test: impl Into<String>) -> Self {
        Self {
            test: test.into(),
            addresses: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Gives the machine further addresses.
    pub(crate) fn addresses(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.addresses.extend(addresses);
        self
    }

    /// Puts another text in place of a file that is there.
    pub(crate) fn file(mut self, path: &'static str, text: &str) -> Self {
        self.files.push((path, text.to_owned()));
        self
    }

    /// Whether this is the place. Where it is not, the test is run there, and has to pass: everything of it is there then,
    /// its upstream and the mirror, too.
    pub(crate) async fn enter(self) -> bool {
        if is_apart() {
            return true;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut script = "set -e; ip link set lo up".to_owned();
        for address in &self.addresses {
            // IPv6 would have others asked first whether it is theirs, and not be there until then.
            let how = if address.is_ipv4() {
                "/32 dev lo"
            } else {
                "/128 dev lo nodad"
            };
            write!(script, "; ip address add {address}{how}").expect("writing to a string");
        }
        for (number, (path, text)) in self.files.iter().enumerate() {
            let own = directory.path().join(number.to_string());
            std::fs::write(&own, text).expect("it can be written");
            write!(script, "; mount --bind {} {path}", own.display()).expect("writing to a string");
        }
        script.push_str("; exec \"$@\"");
        let mut again = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            again.args(["--user", "--map-root-user"]);
        }
        again
            // Whatever it leaves behind ends with it.
            .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", &script, "sh"])
            .arg(std::env::current_exe().expect("it is known"))
            .args(["--exact", &self.test, "--nocapture"])
            .env("PATH", path_of_administrators())
            .env(APART, "1")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, again.output()).await;
        let output = output
            .unwrap_or_else(|_| panic!("{} does not end", self.test))
            .expect("unshare can be started; `./test` says what is missing");
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed);
        let passed = printed.contains("\ntest result: ok. 1 passed");
        assert!(output.status.success() && passed, "{printed}");
        false
    }
}

/// `PATH` with the directories where `ip` is.
fn path_of_administrators() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin")
}
