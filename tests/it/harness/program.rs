//! The program as a command, and the end of a process.

use std::ffi::OsStr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

/// How long a stop may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where it is.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_forebay");

/// The program, with none of the settings of whoever runs the tests.
pub(crate) fn program() -> Command {
    unset(PROGRAM)
}

/// The program with so many file descriptors, and no more.
pub(super) fn with_descriptors(most: usize) -> Command {
    let mut command = unset("sh");
    let limited = r#"ulimit -n "$1" && shift && exec "$@""#;
    command.args(["-c", limited, "sh"]);
    command.arg(most.to_string()).arg(PROGRAM);
    command
}

/// A command without the variables that the program takes for its configuration: each `FOREBAY_` is a key, and one that it
/// does not know is an error.
pub(crate) fn unset(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"FOREBAY_") {
            command.env_remove(name);
        }
    }
    command
}

/// Asks a process to stop.
pub(crate) fn terminate(child: &Child) {
    send(child.id().expect("it runs"), Signal::TERM);
}

/// Asks a process to read its configuration again.
pub(crate) fn hang_up(id: u32) {
    send(id, Signal::HUP);
}

fn send(id: u32, signal: Signal) {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    let sent = kill_process(id.expect("an id of a process"), signal);
    sent.expect("a process of ours takes signals");
}

/// Waits for a process that is on its way out.
pub(crate) async fn wait_for_exit(child: &mut Child) -> ExitStatus {
    let exited = tokio::time::timeout(PATIENCE, child.wait()).await;
    exited
        .expect("it stops in time")
        .expect("it can be waited for")
}
