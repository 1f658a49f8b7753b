//! Core files, which would hold every password and token of the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Keeps the process from leaving one, as far as the kernel writes them itself or pipes them to a program that heeds the
/// limit, as systemd's does. The hard limit stays, so that somebody who needs a core file can raise the limit of
/// the running process.
pub(super) fn leave_none() {
    let none = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Core)
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "a crash may leave a core file, with passwords in it");
    }
}
