//! What a mirror has on its disk, and a disk for one alone.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::{PROGRAM, unset};

/// A command that runs the program in a mount namespace of its own, with `bytes` of memory as the file system at
/// `directory`. It goes when the process ends.
pub(super) fn on_own_disk(directory: &Path, bytes: u64) -> Command {
    std::fs::create_dir_all(directory).expect("a place to mount it");
    let mut command = unset("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let mount = r#"mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@""#;
    command
        .args(["--mount", "sh", "-c", mount, "sh"])
        .arg(bytes.to_string())
        .arg(directory)
        .arg(PROGRAM);
    command
}

/// What may be written on the file system of a path.
pub(crate) fn bytes_free(path: &Path) -> u64 {
    let info = rustix::fs::statvfs(path).expect("it is mounted");
    info.f_bavail * info.f_frsize
}

/// Where a blob is committed in a cache, or would be.
pub(crate) fn blob_file(cache: &Path, digest: impl AsRef<str>) -> PathBuf {
    let hex = digest.as_ref().trim_start_matches("sha256:");
    cache.join("blobs/sha256").join(&hex[..2]).join(hex)
}

/// The names of the committed blobs of a cache. Each is checked: nothing stands there that does not hash to its name.
pub(crate) fn committed(cache: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let folders = std::fs::read_dir(cache.join("blobs/sha256"))
        .into_iter()
        .flatten();
    for folder in folders.flatten() {
        for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
            let name = format!("sha256:{}", file.file_name().to_string_lossy());
            let bytes = std::fs::read(file.path()).unwrap();
            assert_eq!(
                super::sha256(&bytes),
                name,
                "a committed blob is not what its name says"
            );
            names.push(name);
        }
    }
    names
}

/// The bytes that the files below `directory` have on disk for certain: those of files that were there when the look
/// began and still are when it ends. A plain walk counts a file twice that is renamed meanwhile, and adds up files that
/// were never there at once; this never says more than there was at one instant.
pub(crate) fn bytes_below(directory: &Path) -> u64 {
    let mut found = Vec::new();
    collect(directory, &mut found);
    let still = |(path, before): (PathBuf, std::fs::Metadata)| {
        let after = std::fs::symlink_metadata(path).ok()?;
        (after.ino() == before.ino()).then(|| before.blocks().min(after.blocks()) * 512)
    };
    found.into_iter().filter_map(still).sum()
}

fn collect(directory: &Path, found: &mut Vec<(PathBuf, std::fs::Metadata)>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(meta) = entry.metadata() else {
            continue;
        };
        if meta.is_dir() {
            collect(&entry.path(), found);
        }
        found.push((entry.path(), meta));
    }
}
