//! A mirror that dies in the middle of a rollout.

use std::time::Duration;

use super::*;
use crate::harness::{Setup, heavy};

const NODES: u64 = 50;
const IMAGES: u64 = 30;
/// Half of what the images have manifests.
const QUOTA: i64 = 30;

/// A client's pause where its mirror is away.
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_is_killed_in_the_middle_of_a_rollout_overdraws_no_quota() {
    heavy();
    let windows = Quota {
        window: Duration::from_secs(3),
        ..quota(QUOTA)
    };
    let origin = origin_with(IMAGES).quota(windows).start().await.unwrap();
    let forebay = Setup::new(&origin)
        .config("[tags]\nfresh_for = \"1h\"")
        .start()
        .await;
    // So that there is something on the disk of the quota, however early the first death is.
    assert_none_failed(&roll_out(forebay.address, 1, 1).await);
    let mut forebay = forebay.restart().await;
    let address = forebay.address;

    let mut nodes = JoinSet::new();
    for first in 0..NODES {
        nodes.spawn(async move {
            let mut node = Node::new(None, address);
            let mut again = 0_u64;
            for number in (first..first + IMAGES).map(|number| number % IMAGES) {
                while node.pull(&name(number), TAG).await.is_err() {
                    again += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
            again
        });
    }
    let pulled = |origin: &Origin| gets(origin) - refusals(origin) as u64;
    // In the middle of a window, and when nothing is left of one. What was not on the disk yet is fetched again.
    for death in [QUOTA / 2, QUOTA] {
        let death = death.unsigned_abs();
        origin
            .until("the rollout goes on", |_| pulled(&origin) >= death)
            .await;
        forebay = forebay.kill().await.listen(address).start().await;
    }
    let again = nodes.join_all().await.into_iter().sum::<u64>();
    let (pulled, refused) = (pulled(&origin), refusals(&origin));
    println!(
        "{pulled} manifests were fetched for {}, in windows of {QUOTA}; {refused} pulls were refused upstream, {again} \
         begun again",
        2 * IMAGES,
    );
    assert_eq!(refused, 0, "the quota was overdrawn");
    drop(forebay);
}
