//! What is on disk, and whether disk, index and ledger agree.

use std::path::Path;

use super::{Dir, until};
use crate::oci::{Algorithm, Digest};
use crate::store::ledger::charged;
use crate::store::{Store, upkeep};

/// Bytes on disk below a directory, as `du` counts them, with directories.
pub(in crate::store::tests) fn on_disk(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        return 0;
    };
    let own = meta.blocks() * 512;
    if !meta.is_dir() {
        return own;
    }
    let Ok(entries) = std::fs::read_dir(path) else {
        return own;
    };
    own + entries
        .flatten()
        .map(|entry| on_disk(&entry.path()))
        .sum::<u64>()
}

/// What is on disk below a directory for certain: files that were there when the look began and
/// still are when it ends. Never more than there was at one instant in between, so that it can be
/// held against a limit while files come and go.
pub(in crate::store::tests) fn surely_on_disk(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fn walk(path: &Path, found: &mut Vec<(std::path::PathBuf, u64, u64)>) {
        let Ok(meta) = std::fs::symlink_metadata(path) else {
            return;
        };
        found.push((path.to_owned(), meta.ino(), meta.blocks()));
        if let Ok(entries) = std::fs::read_dir(path) {
            for entry in entries.flatten() {
                walk(&entry.path(), found);
            }
        }
    }
    let mut found = Vec::new();
    walk(path, &mut found);
    let still = |(path, inode, blocks): (std::path::PathBuf, u64, u64)| {
        let meta = std::fs::symlink_metadata(path).ok()?;
        (meta.ino() == inode).then(|| blocks.min(meta.blocks()) * 512)
    };
    found.into_iter().filter_map(still).sum()
}

/// From now on upkeep runs when the test says so, and then to its end.
pub(in crate::store::tests) async fn stop_upkeep(store: &Store) {
    store.0.stop.cancel();
    let task = crate::sync::lock(&store.0.upkeep).take();
    let _ = task.unwrap().await;
}

/// Waits until nobody is busy with any digest, and lets upkeep do everything it would do some time.
pub(in crate::store::tests) async fn settle(store: &Store) {
    until("all writers done", async || store.0.live.is_quiet()).await;
    until("upkeep has nothing left", async || {
        // The store's own upkeep may be at the same digest, and then this round passes it over.
        let done = upkeep::round(&store.0, &mut upkeep::Upkeep::new()).await;
        let usage = store.usage();
        done.is_ok() && store.0.live.is_quiet() && usage.orphaned + usage.unlinked == 0
    })
    .await;
}

/// Checks disk, index and ledger against one another. Nobody may be using the store.
pub(in crate::store::tests) async fn audit(dir: &Dir, store: &Store) {
    settle(store).await;
    let usage = store.usage();
    assert_eq!(
        (usage.running, usage.unlinked, usage.orphaned),
        (0, 0, 0),
        "{usage:?}"
    );
    let mut committed = 0;
    let mut blobs = 0;
    for (digest, size) in stored_files(dir) {
        let bytes = std::fs::read(dir.blob(&digest)).unwrap();
        assert!(
            digest.verify(&bytes).is_ok(),
            "{digest} is not what it says"
        );
        assert_eq!(store.stat(&digest).await.unwrap(), Some(size));
        committed += charged(size);
        blobs += 1;
    }
    assert_eq!((usage.committed, usage.blobs), (committed, blobs));
    assert_eq!(dir.partials().len(), 2 * usage.partial_files);
    let index = std::fs::metadata(dir.path().join("index.redb")).unwrap();
    assert_eq!(usage.index, index.len());
    let real = on_disk(dir.path());
    assert!(real <= usage.total, "{real} bytes on disk, {usage:?}");
    assert!(usage.total <= usage.limit, "{usage:?}");
}

/// The files under `blobs/`; panics for one that is not named by a digest.
pub(in crate::store::tests) fn stored_files(dir: &Dir) -> Vec<(Digest, u64)> {
    let mut files = Vec::new();
    for algorithm in Algorithm::ALL {
        let root = dir.path().join("blobs").join(algorithm.as_str());
        for shard in std::fs::read_dir(root).unwrap().flatten() {
            for file in std::fs::read_dir(shard.path()).unwrap().flatten() {
                let hex = file.file_name().into_string().unwrap();
                let digest: Digest = format!("{algorithm}:{hex}").parse().unwrap();
                assert_eq!(file.path(), dir.blob(&digest));
                files.push((digest, file.metadata().unwrap().len()));
            }
        }
    }
    files
}
