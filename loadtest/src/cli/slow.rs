//! `slow`: what clients that are slow on purpose cost modest ones, and the mirror's machine: those that never finish a
//! request's head, those that read a byte a second, and those that ask for nothing.
//!
//! The figures that were measured, and how, are in `config/capacity.md`.

mod crowd;
mod memory;

use std::io;
use std::time::Duration;

use forebay_loadtest::stats::median;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

use super::modest::Modest;
use super::units;
use crowd::Crowd;
use memory::Memory;

/// Measure what slow clients cost modest ones, and the machine
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    modest: Modest,
    /// Connections whose request's head comes a byte a second and never ends; one that is ended is opened again
    #[arg(long, default_value_t = 5000)]
    heads: usize,
    /// Connections that read a byte a second of --blob
    #[arg(long, default_value_t = 2000)]
    readers: usize,
    /// What they ask for, larger than any buffer on its way: such as /v2/library/app/blobs/sha256:...
    #[arg(long)]
    blob: Option<String>,
    /// Connections that have asked once and are kept open
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// The mirror's process, to say what it has of memory
    #[arg(long)]
    pid: Option<u32>,
    /// Within this time all slow readers have to be let go
    #[arg(long, default_value = "75s", value_parser = units::duration)]
    shed_within: Duration,
    /// How often all is measured: the median of the ratios counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Fail where the median is above this
    #[arg(long, value_name = "RATIO")]
    at_most: Option<f64>,
}

impl Args {
    pub(super) async fn run(self) -> io::Result<()> {
        self.modest.warm().await?;
        // The slow ones share no thread with those whose times are taken: thousands of handshakes would be in their way.
        let apart = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let ratios = self.rounds_beside(apart.handle()).await;
        apart.shutdown_background();
        let ratios = ratios?;
        let median = median(&ratios);
        println!(
            "beside slow clients the modest ones' p99 is {median:.2} times what it is without (median)"
        );
        match self.at_most {
            Some(most) if median > most => Err(io::Error::other(format!(
                "{median:.2} times is more than {most:.2}"
            ))),
            _ => Ok(()),
        }
    }

    async fn rounds_beside(&self, apart: &Handle) -> io::Result<Vec<f64>> {
        let mut ratios = Vec::new();
        for round in 1..=self.rounds.max(1) {
            println!("round {round}");
            ratios.push(self.round(apart).await?);
        }
        Ok(ratios)
    }

    async fn round(&self, apart: &Handle) -> io::Result<f64> {
        let alone = self.modest.ask().await?;
        println!("  without slow clients: {alone}");
        let before = Memory::of(self.pid)?;
        let (stop, stopped) = watch::channel(false);
        let crowd = apart.spawn(self.clone().crowd(stopped)).await??;
        let beside = self.modest.ask().await?;
        println!("  beside slow clients:  {beside}");
        let during = Memory::of(self.pid)?;
        println!("  memory before: {before}");
        println!("  memory beside: {during}");
        let count = self.heads + self.readers + self.idle;
        println!(
            "  for each of {count}: {}",
            during.more_than(&before, count)
        );
        tokio::time::sleep(self.patience()).await;
        stop.send_replace(true);
        let shed = crowd.end().await?;
        println!(
            "  let go: {} heads, {} of {} readers",
            shed.heads, shed.readers, self.readers
        );
        println!("  memory after:  {}", Memory::of(self.pid)?);
        if shed.heads < self.heads || shed.readers < self.readers {
            return Err(io::Error::other("slow clients were not let go"));
        }
        Ok(beside.p99.as_secs_f64() / alone.p99.as_secs_f64())
    }

    /// How long there is to wait for the slow ones to be let go.
    fn patience(&self) -> Duration {
        match self.readers {
            0 => Duration::ZERO,
            _ => self.shed_within,
        }
    }

    /// All of them, opened: readers take longest to open, and a head is soon let go.
    async fn crowd(self, stopped: watch::Receiver<bool>) -> io::Result<Crowd> {
        let mut crowd = Crowd::of(self.modest.way()?, stopped);
        crowd.idle(self.idle, &self.modest.path).await?;
        if self.readers > 0 {
            let blob = self.blob.as_deref();
            let blob = blob.ok_or_else(|| io::Error::other("--readers needs --blob"))?;
            crowd.readers(self.readers, blob).await?;
        }
        crowd.heads(self.heads).await?;
        Ok(crowd)
    }
}
