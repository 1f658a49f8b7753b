//! What the process keeps from others on the machine: its memory, which holds every password and token, and whatever files
//! it makes.

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::process::{getrlimit, set_dumpable_behavior, setrlimit, umask};

/// Leaves nothing to others. What can't be had is told, and no reason to stop.
pub(super) fn keep() {
    umask(Mode::RWXG | Mode::RWXO);
    // Neither a core file nor, for whoever runs as the same user, a look into the memory. Root still has both, with a
    // debugger.
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // A program that the kernel pipes a core to may go by this alone.
    let limit = getrlimit(Resource::Core);
    let none = Rlimit {
        current: Some(0),
        ..limit
    };
    let limited = match limit.current {
        // A sandbox may forbid what is not needed.
        Some(0) => Ok(()),
        _ => setrlimit(Resource::Core, none),
    };
    if let Err(error) = hidden.and(limited) {
        tracing::warn!(%error, "a crash may leave a core file, with passwords in it");
    }
}
