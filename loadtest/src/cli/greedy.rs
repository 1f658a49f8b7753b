//! `greedy`: what one greedy client costs modest ones, as the ratio of their 99th percentiles with and without it.
//!
//! Each client has an address of its own in 127.0.0.0/8, so that a mirror on this machine can tell them apart.
//!
//! Measured with the defaults, a cached manifest, and mirror and clients as release builds on the same two cores: with
//! `per_client_requests = "100/s"` and `per_client_in_flight = 8` the median ratio was 0.76 (p99 without the greedy client 0.5
//! to 0.7 ms), without limits 98.9 (54 to 64 ms with it).

use std::io;
use std::net::Ipv4Addr;

use forebay_loadtest::fleet::Connection;
use forebay_loadtest::stats::median;
use http::Method;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::modest::{Modest, Times, connect};

/// Measure what one greedy client costs modest ones
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    modest: Modest,
    /// Requests that the greedy client has in flight, each on a connection of its own
    #[arg(long, default_value_t = 1000)]
    greedy: usize,
    /// How often both are measured, one after the other: the median of the ratios counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Fail where the median is above this
    #[arg(long, value_name = "RATIO")]
    at_most: Option<f64>,
}

const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

impl Args {
    pub(super) async fn run(self) -> io::Result<()> {
        self.modest.warm().await?;
        let mut ratios = Vec::new();
        for round in 1..=self.rounds.max(1) {
            let alone = self.modest.ask().await?;
            println!("{round}: without the greedy client: {alone}");
            let ratio = self.beside_greedy(&alone).await?;
            println!("{round}: the p99 is {ratio:.2} times what it is without it");
            ratios.push(ratio);
        }
        let median = median(&ratios);
        println!(
            "with the greedy client the modest ones' p99 is {median:.2} times what it is without (median)"
        );
        match self.at_most {
            Some(most) if median > most => Err(io::Error::other(format!(
                "{median:.2} times is more than {most:.2}"
            ))),
            _ => Ok(()),
        }
    }

    /// The modest clients' p99 beside the greedy one, as a multiple of what it is without it.
    async fn beside_greedy(&self, alone: &Times) -> io::Result<f64> {
        let (stop, stopped) = watch::channel(false);
        let mut greedy = JoinSet::new();
        for _ in 0..self.greedy {
            let client = Client {
                connection: connect(&self.modest.way()?, GREEDY).await?,
                path: self.modest.path.clone(),
            };
            greedy.spawn(client.ask_on(stopped.clone()));
        }
        let beside = self.modest.ask().await?;
        println!("   with the greedy client:    {beside}");
        stop.send_replace(true);
        let (mut answered, mut refused) = (0, 0);
        while let Some(asked) = greedy.join_next().await {
            let asked = asked.map_err(io::Error::other)??;
            answered += asked.answered;
            refused += asked.refused;
        }
        println!("   the greedy client had {answered} answers and {refused} refusals");
        Ok(beside.p99.as_secs_f64() / alone.p99.as_secs_f64())
    }
}

/// One connection that is kept.
struct Client {
    connection: Connection,
    path: String,
}

#[derive(Default)]
struct Asked {
    answered: usize,
    refused: usize,
}

impl Client {
    /// One request and its whole answer, of which the status is told.
    async fn ask(&mut self) -> io::Result<u16> {
        let answer = self.connection.ask(&Method::GET, &self.path).await?;
        Ok(answer.status)
    }

    /// Asks again and again until it is told to stop.
    async fn ask_on(mut self, mut stopped: watch::Receiver<bool>) -> io::Result<Asked> {
        let mut asked = Asked::default();
        loop {
            let status = tokio::select! {
                status = self.ask() => status?,
                _ = stopped.wait_for(|stopped| *stopped) => return Ok(asked),
            };
            match status {
                200 => asked.answered += 1,
                _ => asked.refused += 1,
            }
        }
    }
}
