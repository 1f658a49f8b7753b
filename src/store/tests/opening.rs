//! Who may open a cache's directory, and which are refused.

use std::time::Duration;

use super::support::*;
use crate::store::{Fault, Faults, MIN_LIMIT, Op, OpenError, Settings, Store};

const LIMIT: u64 = 64 * MIB;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_waits_for_the_first_to_let_go() {
    let dir = Dir::new();
    let first = dir.open(LIMIT).await;
    let blob = body(1, MIB);
    fill(&first, &blob).await.unwrap();
    let second = tokio::spawn(Store::open(dir.settings(LIMIT)));
    // A writer that is still there keeps the directory, as it would keep writing to it.
    let writer = first.begin(digest(b"x"), None).await.unwrap();
    first.close().await;
    assert!(!second.is_finished());
    drop(writer);
    let second = second.await.unwrap().unwrap();
    assert!(has(&second, &blob).await);
    assert!(first.blob(&digest(&blob)).await.is_err());
    assert!(first.begin(digest(&blob), None).await.is_err());
}

#[tokio::test]
async fn a_directory_in_use_is_refused_with_what_to_do() {
    let dir = Dir::new();
    let _first = dir.open(LIMIT).await;
    let mut settings = dir.settings(LIMIT);
    settings.lock_wait = Duration::from_millis(60);
    let error = Store::open(settings).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }));
    let text = error.to_string();
    assert!(text.contains(dir.path().to_str().unwrap()) && text.contains("cache.dir"));
}

async fn refusal(settings: Settings) -> String {
    Store::open(settings).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_refused_with_what_to_do() {
    let dir = Dir::new();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below"), "/proc/forebay".into()] {
        let text = refusal(Settings::new(&path, LIMIT)).await;
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert!(text.contains("cache.dir"), "{text}");
    }
    // Root may write anywhere, so the seam stands in for missing permissions.
    for n in 1..6 {
        let fresh = Dir::new();
        let mut settings = fresh.settings(LIMIT);
        settings.faults = Faults::nth(Op::Create, n, Fault::Fail(13));
        let text = refusal(settings).await;
        assert!(text.contains("ermission denied"), "{text}");
        assert!(text.contains(fresh.path().to_str().unwrap()), "{text}");
    }
    // Somebody's home directory must not fill up with blobs.
    let text = refusal(dir.settings(LIMIT)).await;
    assert!(
        text.contains("\"file\"") && text.contains("empty directory"),
        "{text}"
    );
    let text = refusal(Dir::new().settings(MIN_LIMIT - 1)).await;
    assert!(text.contains("cache.max_size"), "{text}");
}

#[tokio::test]
async fn a_directory_of_another_version_is_left_alone() {
    let dir = Dir::new();
    dir.open(LIMIT).await.close().await;
    std::fs::write(dir.path().join("VERSION"), "2\n").unwrap();
    let error = Store::open(dir.settings(LIMIT)).await.unwrap_err();
    assert!(matches!(error, OpenError::UnknownVersion { .. }));
    assert!(error.to_string().contains("\"2\""));
}

#[tokio::test]
async fn nobody_else_can_read_the_cache() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = Dir::new();
    let root = dir.path().join("new");
    let store = Store::open(Settings::new(&root, LIMIT)).await.unwrap();
    let blob = body(1, 100);
    fill(&store, &blob).await.unwrap();
    let mut paths = vec![root];
    while let Some(path) = paths.pop() {
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o077, 0, "{}", path.display());
        if meta.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap().flatten();
            paths.extend(entries.map(|entry| entry.path()));
        }
    }
}
