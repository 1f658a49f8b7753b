//! Mounts of a client's own, which only it sees and which go when it goes, however it ends.

use std::path::Path;

use tokio::process::Command;

/// A command that runs `program` where `/etc/<name>` is what is below `root`: it finds its configuration where it
/// looks by itself, and nothing of the machine's own.
pub(super) fn with_own(name: &str, root: &Path, program: &str) -> Command {
    // A place to mount on may be missing where the program would only make it when it runs.
    let script = r#"mkdir -p "$2" && mount --bind "$1" "$2" && shift 2 && exec "$@""#;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(root.join("etc").join(name))
        .arg(Path::new("/etc").join(name))
        .arg(program);
    command
}
