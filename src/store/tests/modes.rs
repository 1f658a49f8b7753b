//! Whose the cache's files are, and that no others are read or written.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::support::*;
use crate::store::Store;

const LIMIT: u64 = 64 * MIB;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Everything below a directory, and itself.
fn all(root: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut at = 0;
    while at < found.len() {
        if found[at].is_dir() {
            let entries = fs::read_dir(&found[at]).unwrap();
            found.extend(entries.map(|entry| entry.unwrap().path()));
        }
        at += 1;
    }
    found
}

#[tokio::test]
async fn a_directory_that_was_open_to_others_is_closed_to_them() {
    let dir = Dir::new();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o2775)).unwrap();
    let store = dir.open(LIMIT).await;
    // Its group still reads its names, and nothing below it.
    assert_eq!(mode(dir.path()), 0o2750);
    fill(&store, &body(1, MIB)).await.unwrap();
    let begun = store.begin(digest(b"x"), None).await.unwrap();
    let all = all(dir.path());
    assert!(all.len() > 10, "{all:?}");
    for path in all.into_iter().filter(|path| path != dir.path()) {
        let own = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path) & 0o777, own, "{}", path.display());
    }
    drop(begun);
}

/// As `/tmp` is, which a careless `cache.dir` may name.
#[tokio::test]
async fn a_directory_that_is_shared_on_purpose_stays_so() {
    let dir = Dir::new();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).unwrap();
    dir.open(LIMIT).await;
    assert_eq!(mode(dir.path()), 0o1777);
}

/// A stored blob that is as long as a link to `target`, and a store that has not opened it yet.
async fn stored(dir: &Dir, target: &Path) -> (bytes::Bytes, Store) {
    let blob = body(2, target.as_os_str().len() as u64);
    let store = dir.open(LIMIT).await;
    fill(&store, &blob).await.unwrap();
    store.close().await;
    drop(store);
    (blob, dir.open(LIMIT).await)
}

/// Whoever could place a link in the directory had the mirror serve any file that it may read.
#[tokio::test]
async fn a_link_in_a_blobs_place_is_not_followed() {
    let dir = Dir::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("secret");
    fs::write(&target, "secret").unwrap();
    let (blob, store) = stored(&dir, &target).await;
    let path = dir.blob(&digest(&blob));
    fs::remove_file(&path).unwrap();
    symlink(&target, &path).unwrap();
    assert!(store.blob(&digest(&blob)).await.unwrap().is_none());
    fill(&store, &blob).await.unwrap();
    assert!(has(&store, &blob).await);
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(fs::read(&target).unwrap(), b"secret");
}

#[tokio::test]
async fn a_link_in_a_partial_files_place_is_not_written_through() {
    let dir = Dir::new();
    let store = dir.open(LIMIT).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("precious");
    fs::write(&target, "precious").unwrap();
    let blob = body(4, MIB);
    symlink(&target, dir.partial(&digest(&blob))).unwrap();
    assert!(fill(&store, &blob).await.is_err());
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    // The next start clears it away.
    store.close().await;
    drop(store);
    let store = dir.open(LIMIT).await;
    fill(&store, &blob).await.unwrap();
    assert!(has(&store, &blob).await);
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}

/// A link in the middle of a file's path was followed, and with it the mirror served, wrote and removed files elsewhere.
#[tokio::test]
async fn a_link_in_a_directorys_place_is_refused() {
    let blob = body(5, MIB);
    let digest = digest(&blob);
    let shard = format!("blobs/sha256/{}", &digest.hex()[..2]);
    for place in ["partial", "blobs", "blobs/sha256", "blobs/sha512", &shard] {
        let dir = Dir::new();
        let store = dir.open(LIMIT).await;
        fill(&store, &blob).await.unwrap();
        store.close().await;
        drop(store);
        let (path, elsewhere) = (dir.path().join(place), tempfile::tempdir().unwrap());
        let moved = elsewhere.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        let before = all(&moved);
        symlink(&moved, &path).unwrap();
        let refused = Store::open(dir.settings(LIMIT)).await.unwrap_err();
        let told = refused.to_string();
        let name = path.display().to_string();
        assert!(
            told.contains(&name) && told.contains("remove that"),
            "{told}"
        );
        assert_eq!(all(&moved), before);
        fs::remove_file(&path).unwrap();
        dir.open(LIMIT).await;
    }
}

/// systemd keeps the directory of a user that exists while it is needed elsewhere, and makes a link to it.
#[tokio::test]
async fn the_cache_directory_itself_may_be_a_link() {
    let (dir, elsewhere) = (Dir::new(), tempfile::tempdir().unwrap());
    fs::remove_dir(dir.path()).unwrap();
    symlink(elsewhere.path(), dir.path()).unwrap();
    let store = dir.open(LIMIT).await;
    let blob = body(6, MIB);
    fill(&store, &blob).await.unwrap();
    assert!(has(&store, &blob).await);
    assert!(elsewhere.path().join("blobs").is_dir());
    // What goes with the test is a directory.
    drop(store);
    fs::remove_file(dir.path()).unwrap();
    fs::create_dir(dir.path()).unwrap();
}

/// Who opens a pipe to read waits for a writer.
#[tokio::test]
async fn a_pipe_in_a_blobs_place_is_not_waited_for() {
    let dir = Dir::new();
    let (blob, store) = stored(&dir, dir.path()).await;
    let path = dir.blob(&digest(&blob));
    fs::remove_file(&path).unwrap();
    let (user, fifo) = (rustix::fs::Mode::RWXU, rustix::fs::FileType::Fifo);
    rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, user, 0).unwrap();
    assert!(store.blob(&digest(&blob)).await.unwrap().is_none());
    fill(&store, &blob).await.unwrap();
    assert!(has(&store, &blob).await);
}
