//! A fleet of machines that pull whole images before one mirror: what its upstream is asked, and what each machine gets.
//!
//! The machines are real clients over real sockets, a task each; they check every byte against its digest.

mod outage;
mod restart;
mod storm;

use std::net::SocketAddr;

use forebay_loadtest::fleet::{Failure, Node, Pulled};
use forebay_loadtest::origin::{Builder, Content, Digest, ImageSpec, Kind, Origin, Quota};
use tokio::task::JoinSet;

use crate::harness::plain_origin;

const TAG: &str = "v1";

/// The repository of an image: each has its own.
fn name(number: u64) -> String {
    format!("library/image-{number}")
}

/// An image for two platforms, its bodies a thousandth of what real ones have.
fn spec(seed: u64) -> ImageSpec {
    ImageSpec {
        seed: Some(seed),
        layers: 3,
        layer_size: 15_000,
        content: Content::Opaque,
        ..ImageSpec::default()
    }
}

fn origin_with(images: u64) -> Builder {
    (0..images).fold(plain_origin(), |builder, number| {
        builder.repository(&name(number), |repository| {
            repository.multi_arch_image(TAG, &spec(number))
        })
    })
}

/// Moves the tags of the first images.
fn move_tags(origin: &Origin, images: u64) {
    for number in 0..images {
        origin.edit(&name(number), |repository| {
            repository.multi_arch_image(TAG, &spec(1_000 + number));
        });
    }
}

/// A quota of the one address that the fleet has.
fn quota(pulls: i64) -> Quota {
    Quota {
        anonymous: pulls,
        source: Some("192.0.2.7".to_owned()),
        ..Quota::default()
    }
}

/// What the images' tags point at.
fn roots(origin: &Origin, images: u64) -> Vec<Digest> {
    let root = |number| origin.image(&name(number), TAG).root.digest;
    (0..images).map(root).collect()
}

fn gets(origin: &Origin) -> u64 {
    origin.counts().requests(Kind::ManifestGet)
}

/// Requests that the origin has refused for load.
fn refusals(origin: &Origin) -> usize {
    let requests = origin.requests();
    let refused = requests.iter().filter(|it| it.status == Some(429));
    refused.count()
}

/// What came of one machine's pulls.
struct Outcome {
    node: Node,
    /// By image.
    pulled: Vec<Option<Pulled>>,
    /// The first one that failed, after which it gave up.
    failed: Option<Failure>,
}

/// This many machines pull each image, all at once, no two after each other in the same order.
async fn roll_out(registry: SocketAddr, nodes: u64, images: u64) -> Vec<Outcome> {
    let mut running = JoinSet::new();
    for first in 0..nodes {
        running.spawn(async move {
            let mut outcome = Outcome {
                node: Node::new(None, registry),
                pulled: vec![None; usize::try_from(images).unwrap()],
                failed: None,
            };
            for number in (first..first + images).map(|number| number % images) {
                match outcome.node.pull(&name(number), TAG).await {
                    Ok(pulled) => {
                        outcome.pulled[usize::try_from(number).unwrap()] = Some(pulled);
                    }
                    Err(failure) => {
                        outcome.failed = Some(failure);
                        break;
                    }
                }
            }
            outcome
        });
    }
    running.join_all().await
}

fn requests(outcomes: &[Outcome]) -> u64 {
    outcomes.iter().map(|outcome| outcome.node.requests()).sum()
}

fn assert_none_failed(outcomes: &[Outcome]) {
    let mut failures = outcomes.iter().filter_map(|it| it.failed.as_ref());
    if let Some(failure) = failures.next() {
        panic!("{failure}; and {} more", failures.count());
    }
}
