//! `kill -9` at any instant: nothing corrupt is served, what had come is not asked for again, nothing is left behind.

use std::path::Path;

use forebay_loadtest::origin::{Descriptor, Fault, Origin};
use http::Method;
use rand::{RngExt as _, SeedableRng as _};

use crate::harness::{Forebay, Setup, blob_path, committed, heavy, plain_origin};

const PULLS: u64 = 16;
const SIZE: u64 = 12 << 20;
const ROUNDS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_killed_in_the_middle_of_sixteen_pulls_twenty_times_over_serves_only_what_verifies()
 {
    heavy();
    let mut blobs = Vec::new();
    let builder = plain_origin().repository("library/app", |repository| {
        blobs.extend((0..PULLS * ROUNDS).map(|seed| repository.random_blob(seed, SIZE)));
    });
    let origin = builder.start().await.unwrap();
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    let mut setup = Setup::new(&origin);
    let mut resumed = 0;
    for round in 0..ROUNDS {
        let first = usize::try_from(round * PULLS).unwrap();
        let batch = &blobs[first..first + usize::try_from(PULLS).unwrap()];
        let forebay = setup.start().await;
        interrupt(
            &forebay,
            &origin,
            batch,
            random.random_range(SIZE / 4..SIZE),
        )
        .await;
        setup = forebay.kill().await;
        origin.reset();
        let forebay = setup.start().await;
        resumed += pull_again(&forebay, &origin, batch).await;
        setup = match round % 3 {
            0 => forebay.stop().await.1,
            1 => kill_when_stored(forebay).await,
            // A client has its last byte before the blob is stored, so some of these go on once more.
            _ => {
                let forebay = forebay.kill().await.start().await;
                pull_again(&forebay, &origin, batch).await;
                kill_when_stored(forebay).await
            }
        };
    }
    // All of it was pulled and stored, so all of it is here.
    origin.stop().await;
    let forebay = setup.start().await;
    for blob in &blobs {
        forebay.client().pulls("library/app", &blob.digest).await;
    }
    assert_eq!(committed(&forebay.cache_dir()).len(), blobs.len());
    println!(
        "{resumed} of {} interrupted fills went on where they were",
        PULLS * ROUNDS
    );
    assert!(
        resumed > PULLS * ROUNDS / 2,
        "only {resumed} fills were resumed"
    );
    let (status, setup) = forebay.stop().await;
    assert!(status.success());
    assert_eq!(
        files_in(&setup.cache_dir().join("partial")),
        Vec::<String>::new()
    );
}

/// Kills it once all that it has fetched is stored: a kill takes nothing of that.
async fn kill_when_stored(forebay: Forebay) -> Setup {
    forebay
        .until_metric("forebay_fills_running", "", |running| running == 0.0)
        .await;
    forebay.kill().await
}

/// Starts pulling `batch` and returns when the origin has sent about `sent` bytes of each.
async fn interrupt(forebay: &Forebay, origin: &Origin, batch: &[Descriptor], sent: u64) {
    for blob in batch {
        origin.on_body(&blob.digest).once(Fault::stall_at(sent));
        let (client, path) = (forebay.client(), blob_path("library/app", &blob.digest));
        // Ends when the mirror is killed.
        tokio::spawn(async move {
            let mut response = client.open(Method::GET, &path, &[]).await;
            while let Ok(Some(_)) = response.chunk().await {}
        });
    }
    for blob in batch {
        origin.sent(&blob.digest, sent).await;
    }
}

/// Pulls `batch`, and counts what did not have to start over.
async fn pull_again(forebay: &Forebay, origin: &Origin, batch: &[Descriptor]) -> u64 {
    let client = forebay.client();
    let pulls = batch
        .iter()
        .map(|blob| client.blob("library/app", &blob.digest));
    let answers = futures_util::future::join_all(pulls).await;
    let mut resumed = 0;
    for (answer, blob) in answers.iter().zip(batch) {
        assert!(
            answer.is_exactly(&blob.digest),
            "{} after a kill",
            answer.status
        );
        let asked = origin.ranges_requested(&blob.digest);
        resumed += u64::from(asked.first().is_none_or(|range| range.start > 0));
    }
    resumed
}

fn files_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the directory is there");
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}
