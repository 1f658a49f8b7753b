//! Bytes on disk never exceed the limit, and the limit never costs a pull.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinSet;

use crate::harness::{Setup, bytes_below, plain_origin};

const LIMIT: u64 = 200_000_000;
const BLOB: u64 = 10_000_000;
const BLOBS: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn two_gigabytes_through_a_cache_of_two_hundred_megabytes() {
    let mut blobs = Vec::new();
    let builder = plain_origin().repository("library/app", |repository| {
        blobs.extend((0..BLOBS).map(|seed| repository.random_blob(seed, BLOB)));
    });
    let origin = builder.start().await.unwrap();
    let forebay = Setup::new(&origin)
        .config(&format!("[cache]\nmax_size = {LIMIT}\nmin_free = 0"))
        .start()
        .await;
    let watch = Sampler::start(forebay.cache_dir());
    let mut pulls = JoinSet::new();
    for blob in blobs {
        while pulls.len() >= 8 {
            pulls.join_next().await.unwrap().unwrap();
        }
        let client = forebay.client();
        pulls.spawn(async move {
            let answer = client.blob("library/app", &blob.digest).await;
            assert!(
                answer.is_exactly(&blob.digest),
                "a pull failed: {}",
                answer.status
            );
        });
    }
    while let Some(pull) = pulls.join_next().await {
        pull.unwrap();
    }
    let (samples, highest) = watch.stop().await;
    println!(
        "{} bytes flowed, at most {highest} were on disk in {samples} samples; the limit is {LIMIT}",
        BLOB * BLOBS
    );
    assert!(samples > 100, "only {samples} samples were taken");
    assert!(
        highest <= LIMIT,
        "{highest} bytes were on disk, the limit is {LIMIT}"
    );
    assert!(
        highest > LIMIT / 2,
        "the cache was hardly used: {highest} bytes"
    );
    let alone = forebay.metric("forebay_solo_total", "").await;
    assert!(alone < 10.0, "{alone} pulls went past the cache");
}

/// A blob that can't fit is passed through, verified as ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_larger_than_the_cache_is_passed_through() {
    let (origin, blob) = crate::harness::origin_with_blob(1, 60_000_000).await;
    let forebay = Setup::new(&origin)
        .config("[cache]\nmax_size = \"40MB\"\nmin_free = 0")
        .start()
        .await;
    let answer = forebay.client().pulls("library/app", &blob.digest).await;
    assert!(
        answer.header("cache-status").contains("bypass"),
        "{:?}",
        answer.headers
    );
    assert!(bytes_below(&forebay.cache_dir()) <= 40_000_000);
}

/// Adds up the files of a directory, over and over.
struct Sampler {
    stop: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    thread: tokio::task::JoinHandle<u64>,
}

impl Sampler {
    fn start(directory: std::path::PathBuf) -> Self {
        let (stop, most) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, highest) = (Arc::clone(&stop), Arc::clone(&most));
        let thread = tokio::task::spawn_blocking(move || {
            let mut samples = 0;
            while !stopped.load(Ordering::Relaxed) {
                highest.fetch_max(bytes_below(&directory), Ordering::Relaxed);
                samples += 1;
            }
            samples
        });
        Self { stop, most, thread }
    }

    async fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let samples = self.thread.await.unwrap();
        (samples, self.most.load(Ordering::Relaxed))
    }
}
