//! An upstream that dies, refuses, and comes back, while machines go on pulling.

use std::time::{Duration, Instant};

use forebay_loadtest::origin::{Fault, Reply, When};
use tokio::sync::watch;

use super::*;
use crate::harness::{Forebay, Setup, heavy};

const NODES: u64 = 10;
const IMAGES: u64 = 10;
/// Of which each round has its patience tried.
const FEW: u64 = 4;

/// How long a round may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn every_image_pulls_while_its_upstream_is_dead_or_refuses_and_moves_on_when_it_is_back() {
    heavy();
    let origin = origin_with(IMAGES).start().await.unwrap();
    let forebay = Setup::new(&origin)
        .impatient()
        .config("[tags]\nfresh_for = \"1s\"")
        .start()
        .await;
    assert_none_failed(&roll_out(forebay.address, NODES, IMAGES).await);
    let mut patrol = Patrol::start(&forebay, IMAGES);

    origin.stop().await;
    move_tags(&origin, IMAGES);
    stale(&forebay, "upstream-unavailable").await;
    patrol.round().await;
    origin.reset();
    let attempts = forebay.metric(REQUESTS, "outcome=\"connect\"").await;
    let dead = Instant::now();
    patrol.round().await;
    let attempts = forebay.metric(REQUESTS, "outcome=\"connect\"").await - attempts;
    println!("dead: {attempts} attempts in {:.1?}", dead.elapsed());
    // One at a time, and the time between them grows.
    assert!(attempts <= 4.0 * (dead.elapsed().as_secs_f64() + 1.0));

    let refusing = origin.on(When::any());
    let refusing = refusing.always(Fault::Answer(Reply::abuse_limit()));
    let since = Instant::now();
    origin.start_again().await.unwrap();
    stale(&forebay, "upstream-quota").await;
    patrol.round().await;
    let asked = origin.counts().total();
    println!("refusing: {asked} requests in {:.1?}", since.elapsed());
    // The pauses double from a second on; at the end of each, each tag is asked for once.
    let pauses = (since.elapsed().as_secs() + 1).ilog2() + 2;
    assert!(asked <= IMAGES * u64::from(pauses), "{asked}");

    origin.reset();
    refusing.remove();
    let since = Instant::now();
    let new = roots(&origin, IMAGES);
    // Within the minute that `fresh_for` is by default.
    for (number, root) in (0..).zip(&new) {
        forebay.until_tag(&name(number), TAG, root).await;
    }
    patrol.round().await;
    patrol.stop().await;
    let last = roll_out(forebay.address, NODES, IMAGES).await;
    assert_none_failed(&last);
    for outcome in &last {
        for (pulled, root) in outcome.pulled.iter().zip(&new) {
            assert_eq!(pulled.as_ref().unwrap().root, *root);
        }
    }
    let heads = origin.counts().requests(Kind::ManifestHead);
    println!(
        "back: {heads} HEADs and {} GETs of manifests in {:.1?}",
        gets(&origin),
        since.elapsed()
    );
    assert_eq!(gets(&origin), 2 * IMAGES);
    assert!(heads <= 2 * IMAGES * (since.elapsed().as_secs() + 1));
}

const REQUESTS: &str = "forebay_upstream_requests_total";

/// Waits until something stale is served for this reason.
async fn stale(forebay: &Forebay, reason: &str) {
    let name = "forebay_stale_served_total";
    let before = forebay.metric(name, reason).await;
    forebay
        .until_metric(name, reason, |served| served > before)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_looks_whether_a_dead_upstream_is_back_before_the_others_follow() {
    heavy();
    let origin = origin_with(FEW).start().await.unwrap();
    let forebay = Setup::new(&origin)
        .impatient()
        .config("[tags]\nfresh_for = \"0s\"\n[timeouts]\nfirst_byte = \"2m\"")
        .start()
        .await;
    assert_none_failed(&roll_out(forebay.address, 1, FEW).await);
    origin.stop().await;
    move_tags(&origin, FEW);
    assert_none_failed(&roll_out(forebay.address, NODES, FEW).await);
    forebay
        .until_metric("forebay_upstream_breakers_open", "", |open| open > 0.0)
        .await;

    origin.reset();
    let gate = origin.on(Kind::ManifestHead).hold_head();
    origin.start_again().await.unwrap();
    let mut patrol = Patrol::start(&forebay, FEW);
    gate.reached(1).await;
    patrol.round().await;
    assert_eq!(origin.counts().total(), 1, "the others wait for its answer");
    gate.release();
    for (number, root) in (0..).zip(roots(&origin, FEW)) {
        forebay.until_tag(&name(number), TAG, &root).await;
    }
    patrol.round().await;
    patrol.stop().await;
    assert_eq!(gets(&origin), 2 * FEW);
}

/// Machines that pull each image over and over; none may ever fail.
struct Patrol {
    /// How often each has pulled all of them.
    rounds: Vec<watch::Receiver<u64>>,
    over: watch::Sender<bool>,
    running: JoinSet<()>,
}

impl Patrol {
    fn start(forebay: &Forebay, images: u64) -> Self {
        let (over, is_over) = watch::channel(false);
        let (mut rounds, mut running) = (Vec::new(), JoinSet::new());
        for _ in 0..NODES {
            let (made, seen) = watch::channel(0);
            rounds.push(seen);
            let (registry, is_over) = (forebay.address, is_over.clone());
            running.spawn(async move {
                while !*is_over.borrow() {
                    assert_none_failed(&roll_out(registry, 1, images).await);
                    made.send_modify(|rounds| *rounds += 1);
                }
            });
        }
        Self {
            rounds,
            over,
            running,
        }
    }

    /// Waits until each has pulled each image from now on.
    async fn round(&mut self) {
        for rounds in &mut self.rounds {
            // The one that it is at began before.
            let after = *rounds.borrow() + 2;
            let made = rounds.wait_for(|made| *made >= after);
            let made = tokio::time::timeout(PATIENCE, made).await;
            if !matches!(made, Ok(Ok(_))) {
                let ended = self.running.try_join_next();
                panic!("a machine does not go on: {ended:?}");
            }
        }
    }

    async fn stop(self) {
        self.over.send_replace(true);
        self.running.join_all().await;
    }
}
