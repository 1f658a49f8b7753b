//! `fleet`: machines that pull images all at once, from a registry or through a mirror of it.
//!
//! They pull what `forebay-loadtest origin --images N` holds, each byte checked, each machine until the first pull that fails.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use forebay_loadtest::fleet::{Failure, Node};
use forebay_loadtest::stats::percentile;
use tokio::task::JoinSet;

use super::origin::{TAG, name};

/// Pull images with many machines at once, as containerd does
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The registry or the mirror
    #[arg(long, value_name = "ADDRESS")]
    registry: SocketAddr,
    /// Machines, each with three connections
    #[arg(long, value_name = "N", default_value_t = 500)]
    nodes: u64,
    /// Images that each of them pulls, one after the other: library/image-0:v1, ...
    #[arg(long, value_name = "N", default_value_t = 40)]
    images: u64,
}

/// What came of one machine.
struct Outcome {
    requests: u64,
    times: Vec<Duration>,
    failed: Option<Failure>,
}

impl Args {
    pub(super) async fn run(self) -> io::Result<()> {
        let began = Instant::now();
        let mut nodes = JoinSet::new();
        for first in 0..self.nodes {
            nodes.spawn(pulls(self.registry, first, self.images));
        }
        let outcomes = nodes.join_all().await;
        let elapsed = began.elapsed();
        let requests: u64 = outcomes.iter().map(|outcome| outcome.requests).sum();
        let mut times: Vec<_> = outcomes.iter().flat_map(|it| it.times.clone()).collect();
        times.sort_unstable();
        println!(
            "{} images pulled in {elapsed:.1?} with {requests} requests; a pull took {:.1?} (p50), {:.1?} (p99)",
            times.len(),
            percentile(&times, 50),
            percentile(&times, 99),
        );
        let failures: Vec<_> = outcomes
            .iter()
            .filter_map(|it| it.failed.as_ref())
            .collect();
        println!("{} of {} machines failed", failures.len(), self.nodes);
        match failures.first() {
            Some(failure) => Err(io::Error::other(failure.to_string())),
            None => Ok(()),
        }
    }
}

async fn pulls(registry: SocketAddr, first: u64, images: u64) -> Outcome {
    let mut node = Node::new(None, registry);
    let mut times = Vec::new();
    let mut failed = None;
    // No two machines after each other in the same order.
    for number in (first..first + images).map(|number| number % images) {
        let began = Instant::now();
        match node.pull(&name(number), TAG).await {
            Ok(_) => times.push(began.elapsed()),
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    Outcome {
        requests: node.requests(),
        times,
        failed,
    }
}
