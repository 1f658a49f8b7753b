//! Caches of many blobs, made once and kept.

use std::fs;
use std::path::{Path, PathBuf};

use forebay::oci::Registry;
use forebay::store::bench::{SIZE, seed_blobs};
use forebay::store::{Settings, Store};
use tokio::runtime::Runtime;

/// What a cache of so many blobs may take. None has to go for another.
pub(crate) fn limit(blobs: u64) -> u64 {
    blobs * SIZE * 2 + (1 << 30)
}

/// A cache directory of so many blobs below `parent`, where one that was made before serves again.
pub(crate) fn seeded_dir(parent: &Path, blobs: u64, with_files: bool) -> PathBuf {
    let kind = if with_files { "files" } else { "rows" };
    let dir = parent.join(format!("cache-of-{blobs}-{kind}"));
    let whole = parent.join(format!("cache-of-{blobs}-{kind}.whole"));
    if fs::exists(&whole).unwrap() {
        return dir;
    }
    let _ = fs::remove_dir_all(&dir);
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(Settings::new(&dir, limit(blobs)))
            .await
            .unwrap();
        store.close().await;
    });
    let registry: Registry = "docker.io".parse().unwrap();
    seed_blobs(&dir, limit(blobs), &registry, blobs, with_files).unwrap();
    fs::write(&whole, "").unwrap();
    dir
}

/// Copies all below a directory into another one.
#[allow(dead_code, reason = "not every bench changes what it is given")]
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}
