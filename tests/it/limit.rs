//! Bytes on disk never exceed the limit, and the limit never costs a pull.

use tokio::task::JoinSet;

use crate::harness::{Sampler, Setup, bytes_below, heavy, plain_origin};

const LIMIT: u64 = 200_000_000;
const BLOB: u64 = 10_000_000;
const BLOBS: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn two_gigabytes_through_a_cache_of_two_hundred_megabytes() {
    heavy();
    let mut blobs = Vec::new();
    let builder = plain_origin().repository("library/app", |repository| {
        blobs.extend((0..BLOBS).map(|seed| repository.random_blob(seed, BLOB)));
    });
    let origin = builder.start().await.unwrap();
    let forebay = Setup::new(&origin)
        .config(&format!("[cache]\nmax_size = {LIMIT}\nmin_free = 0"))
        .start()
        .await;
    let cache = forebay.cache_dir();
    let watch = Sampler::start(move || bytes_below(&cache));
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
    heavy();
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
