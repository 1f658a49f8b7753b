//! A rollout that would eat its upstream's quota many times over.
//!
//! No window ends while it lasts: what the origin allows in one is all that there is for both rounds.

use std::time::Instant;

use forebay_loadtest::origin::Request;

use super::*;
use crate::harness::{Forebay, Setup, heavy};

const NODES: u64 = 500;
const IMAGES: u64 = 40;
const MOVED: u64 = 5;
const QUOTA: i64 = 100;
/// Index and manifest of one platform, of each image and of each that has moved.
const MANIFESTS: u64 = 2 * (IMAGES + MOVED);
/// A config and three layers.
const BLOBS: u64 = 4 * (IMAGES + MOVED);

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_nodes_pull_forty_images_twice_within_a_quota_of_one_hundred() {
    heavy();
    let origin = origin_with(IMAGES).quota(quota(QUOTA)).start().await;
    let origin = origin.unwrap();
    let forebay = Setup::new(&origin)
        .impatient()
        .config("[tags]\nfresh_for = \"1s\"")
        // The origin shares its cores with the fleet: that it is slow is no reason to ask it again.
        .config("[timeouts]\nconnect = \"1m\"\nfirst_byte = \"1m\"\nbody_idle = \"1m\"")
        .start()
        .await;
    let began = Instant::now();
    let first = roll_out(forebay.address, NODES, IMAGES).await;
    assert_none_failed(&first);
    assert_all_have(&first, &roots(&origin, IMAGES), None);
    assert_eq!(gets(&origin), 2 * IMAGES);

    let old = roots(&origin, IMAGES);
    move_tags(&origin, MOVED);
    let mut second = roll_out(forebay.address, NODES, IMAGES).await;
    assert_none_failed(&second);
    let new = roots(&origin, IMAGES);
    assert_all_have(&second, &new, Some(&old));
    let behind = catch_up(&forebay, &mut second, &new).await;
    assert_all_have(&second, &new, None);

    let counts = origin.counts();
    let seconds = began.elapsed().as_secs();
    let asked = requests(&first) + requests(&second);
    println!(
        "through the mirror: {NODES} nodes pulled {IMAGES} images twice with {asked} requests in {seconds} s, and none \
         failed; {behind} pulls were of a tag that had moved within its time; the origin was asked for {} manifests with \
         GET and {} with HEAD, and for {} blobs",
        counts.requests(Kind::ManifestGet),
        counts.requests(Kind::ManifestHead),
        counts.requests(Kind::BlobGet),
    );
    // HEAD, index, manifest, config and layers; more only where a connection had ended.
    assert!(asked >= 7 * (2 * NODES * IMAGES + behind), "{asked}");
    assert_eq!(gets(&origin), MANIFESTS);
    assert_eq!(
        counts.requests(Kind::BlobGet),
        BLOBS,
        "{:#?}",
        asked_again(&origin)
    );
    assert_eq!(refusals(&origin), 0, "the quota was overdrawn");
    // Once a second for each tag; twice leaves room for who looks ahead of time.
    let heads = counts.requests(Kind::ManifestHead);
    assert!(heads <= 2 * IMAGES * (seconds + 1), "{heads}");
    drop(forebay);

    // A window later, everyone for himself.
    origin.set_quota(Some(quota(QUOTA)));
    origin.reset();
    let straight = roll_out(origin.host().parse().unwrap(), NODES, IMAGES).await;
    let failed = straight.iter().filter(|it| it.failed.is_some()).count() as u64;
    println!(
        "straight at the same origin: {failed} of {NODES} nodes failed, after {} requests",
        requests(&straight)
    );
    assert!(failed > NODES / 2);
    let served = gets(&origin) - refusals(&origin) as u64;
    assert_eq!(served, QUOTA.unsigned_abs());
}

/// The requests for blobs that were asked for more than once.
fn asked_again(origin: &Origin) -> Vec<Request> {
    let requests = origin.requests_for(Kind::BlobGet);
    let times = |target: &str| requests.iter().filter(|it| it.target == target).count();
    let again = requests.iter().filter(|it| times(&it.target) > 1);
    again.cloned().collect()
}

/// Each machine has what each tag points at, or pointed at before where that may still be.
fn assert_all_have(outcomes: &[Outcome], roots: &[Digest], before: Option<&[Digest]>) {
    for outcome in outcomes {
        for (number, pulled) in outcome.pulled.iter().enumerate() {
            let root = &pulled.as_ref().unwrap().root;
            let before = before.map(|before| &before[number]);
            assert!(
                *root == roots[number] || Some(root) == before,
                "image {number}: {pulled:?}"
            );
        }
    }
}

/// Waits until the mirror has heard of each tag that has moved; then whoever was given an old image before pulls again, and
/// is given the new one. Says how many pulls that took.
async fn catch_up(forebay: &Forebay, outcomes: &mut [Outcome], new: &[Digest]) -> u64 {
    let mut again = 0;
    for (number, root) in (0..).zip(new) {
        forebay.until_tag(&name(number), TAG, root).await;
        let index = usize::try_from(number).unwrap();
        for outcome in &mut *outcomes {
            if outcome.pulled[index].as_ref().unwrap().root != *root {
                let pulled = outcome.node.pull(&name(number), TAG).await;
                outcome.pulled[index] = Some(pulled.unwrap());
                again += 1;
            }
        }
    }
    again
}
