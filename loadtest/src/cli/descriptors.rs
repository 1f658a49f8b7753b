//! File descriptors: each connection of each client is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process, and what it starts, have as many as the system allows.
pub(super) fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where it may not, it is left as it is.
    let _ = setrlimit(Resource::Nofile, raised);
}
