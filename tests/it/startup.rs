//! A start that can't succeed says why, and what to change.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::harness::{Setup, mirror_of, origin_with_blob, program};

async fn failed_start(setup: &Setup, change: impl FnOnce(&mut Command)) -> (Option<i32>, String) {
    let mut command = setup.command();
    change(&mut command);
    let output: Output = command.output().await.unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_with_five_mistakes_is_told_all_five_at_once() {
    let (origin, _) = origin_with_blob(1, 1).await;
    let setup = Setup::new(&origin).config(
        "[cache]\nmax_size = \"a lot\"\nmax_sise = \"1GiB\"\n[tags]\nfresh_for = \"soon\"\n[server]\nlisen = []\n\
         [upstreams.\"ghcr.io\"]\nendpoints = [\"ftp://ghcr.io\"]",
    );
    let (code, message) = failed_start(&setup, |_| {}).await;
    assert_eq!(code, Some(78), "{message}");
    for mistake in [
        "cache.max_size",
        "max_sise",
        "tags.fresh_for",
        "lisen",
        "endpoints",
    ] {
        assert!(
            message.contains(mistake),
            "{mistake} is missing from:\n{message}"
        );
    }
    assert!(message.contains("forebay.toml"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_prints_the_resolved_config_without_its_secrets() {
    let (origin, _) = origin_with_blob(2, 1).await;
    let setup = Setup::new(&origin).upstream("username = \"ci\"\npassword = \"canary-1b2c\"");
    let serve = setup.command();
    let config = serve.as_std().get_args().nth(2).unwrap().to_owned();
    let output = Command::from(program())
        .arg("check")
        .arg("--config")
        .arg(config)
        .output()
        .await
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(printed.contains(&origin.registry_url()), "{printed}");
    assert!(!printed.contains("canary-1b2c"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named() {
    let (origin, _) = origin_with_blob(3, 1).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let setup = Setup::new(&origin);
    let (code, message) = failed_start(&setup, |command| {
        command.arg("--listen").arg(&address);
    })
    .await;
    assert_eq!(code, Some(1), "{message}");
    assert!(
        message.contains(&address) && message.contains("listen"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_directory_in_use_is_named() {
    let (origin, _) = origin_with_blob(4, 1).await;
    let first = mirror_of(&origin).await;
    let setup = Setup::new(&origin)
        .config("[cache]\nlock_wait = \"200ms\"")
        .in_cache_of(&first);
    let directory = first.cache_dir();
    let (code, message) = failed_start(&setup, |_| {}).await;
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains(directory.to_str().unwrap()), "{message}");
    assert!(message.contains("in use"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_directory_that_cannot_be_written_is_named() {
    let (origin, _) = origin_with_blob(5, 1).await;
    let setup = Setup::new(&origin);
    // A file in its place stops root as well.
    std::fs::write(setup.cache_dir(), "in the way").unwrap();
    std::fs::set_permissions(setup.cache_dir(), std::fs::Permissions::from_mode(0o400)).unwrap();
    let (code, message) = failed_start(&setup, |_| {}).await;
    assert_eq!(code, Some(1), "{message}");
    assert!(
        message.contains(setup.cache_dir().to_str().unwrap()),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_exits_with_two() {
    let output = Command::from(program())
        .arg("--no-such-flag")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// A crash left a core file with every password in it, wherever the limit allowed one.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_no_core_file() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    // As high as it may be, so that the mirror inherits something.
    let limit = getrlimit(Resource::Core);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Core, raised).unwrap();
    let (origin, _) = origin_with_blob(1, 1).await;
    let forebay = mirror_of(&origin).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", forebay.pid())).unwrap();
    let core = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let soft = core.unwrap().split_whitespace().next();
    assert_eq!(soft, Some("0"), "{limits}");
}

/// A command without root's special rights, which see through everything.
fn bare(program: &OsStr) -> Command {
    if !rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let without = ["--bounding-set=-all", "--inh-caps=-all"];
    command.args(without).arg(program);
    command
}

/// Whether another process of the same user can look into this one.
async fn can_be_looked_into(pid: u32) -> bool {
    let mut look = bare("readlink".as_ref());
    look.arg(format!("/proc/{pid}/exe"));
    look.output().await.unwrap().status.success()
}

/// Whoever ran as the same user could read every password out of the memory; and a core file was only as far away as a
/// program that the kernel pipes it to, and that heeds no limit.
#[tokio::test(flavor = "multi_thread")]
async fn its_memory_and_its_files_are_nobody_elses() {
    let (origin, _) = origin_with_blob(1, 1).await;
    let setup = Setup::new(&origin);
    let command = setup.command();
    let command = command.as_std();
    let mut mirror = bare(command.get_program());
    mirror.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => mirror.env(name, value),
            None => mirror.env_remove(name),
        };
    }
    let mut mirror = mirror
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(mirror.stderr.take().unwrap()).lines();
    while !log
        .next_line()
        .await
        .unwrap()
        .expect("it starts")
        .contains("\"ready\"")
    {}
    let pid = mirror.id().unwrap();
    assert!(!can_be_looked_into(pid).await);
    let mut other = bare("cat".as_ref());
    let other = other
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let looked_into = async { while !can_be_looked_into(other.id().unwrap()).await {} };
    // As it takes its rights off, it may not be for a moment.
    tokio::time::timeout(Duration::from_mins(1), looked_into)
        .await
        .unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    assert_eq!(mask.map(str::trim), Some("0077"));
}
