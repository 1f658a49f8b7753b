//! `compare`: forebay and what people would use instead, measured side by side on this machine.

use std::io;
use std::path::PathBuf;

use forebay_loadtest::compare::{Comparison, Options, names, run, usual_scenarios};
use forebay_loadtest::measure::{end_descendants, on_a_disk};
use forebay_loadtest::peers::{Peer, no_more_starts};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::bars::CourseBar;
use super::interrupts::Interrupts;

/// Measure forebay and its peers side by side
///
/// Each has a processor of its own, and its clients and the origin together another one, where there are two.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// These figures, and no scenarios but those that are named; --list says which there are. Without --figures and
    /// --scenarios, all figures are measured, and then the usual scenarios are played once
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    figures: Vec<String>,
    /// These scenarios that are built in, and no figures but those that are named: each with the same content and clients
    /// before each peer, and without a mirror
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    scenarios: Vec<String>,
    /// List the figures and the usual scenarios, and measure nothing
    #[arg(long)]
    list: bool,
    /// These alone; what is not installed is left out either way
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values_t = Peer::ALL)]
    peers: Vec<Peer>,
    /// The program of forebay; the one beside this program otherwise
    #[arg(long, value_name = "FILE")]
    forebay: Option<PathBuf>,
    /// How often each figure is measured, and each scenario of --scenarios is played
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// A tenth of all sizes, to see that it works
    #[arg(long)]
    quick: bool,
    /// Where caches are kept meanwhile: a directory on a disk, with 20 GB to spare
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Write all samples there, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with tables and plots there
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self, runtime: &Handle) -> io::Result<()> {
        if self.list {
            for (name, title) in names() {
                println!("{name:18}{title}");
            }
            for name in usual_scenarios() {
                println!("{name:18}a scenario");
            }
            return Ok(());
        }
        on_a_disk(&self.dir)?;
        let dir = tempfile::Builder::new()
            .prefix("forebay-compare-")
            .tempdir_in(&self.dir)?;
        let options = self.options(&dir)?;
        // Tied to the process: it ends it.
        runtime.spawn(end_with_all(dir.path().to_owned()));
        let course = CourseBar::default();
        let comparison = run(&options, &|progress| course.tell(progress));
        course.end();
        let comparison = comparison?;
        self.tell(&comparison)?;
        let failures = comparison.failures();
        match failures.len() {
            0 => Ok(()),
            count => Err(io::Error::other(format!(
                "{count} not as expected:\n{}",
                failures.join("\n")
            ))),
        }
    }

    fn options(&self, dir: &TempDir) -> io::Result<Options> {
        let mut peers = Vec::new();
        for &peer in &self.peers {
            let given = self.forebay.clone().filter(|_| peer == Peer::Forebay);
            match given.or_else(|| peer.program()) {
                Some(program) => peers.push((peer, program)),
                None if peer == Peer::Forebay => {
                    return Err(io::Error::other(
                        "there is no forebay beside this program: run cargo build --release, or give --forebay FILE",
                    ));
                }
                None => eprintln!("{peer} is not installed, and not measured"),
            }
        }
        Ok(Options {
            figures: self.figures.clone(),
            scenarios: self.scenarios.clone(),
            peers,
            rounds: self.rounds,
            quick: self.quick,
            dir: dir.path().to_owned(),
        })
    }

    fn tell(&self, comparison: &Comparison) -> io::Result<()> {
        let report = comparison.report();
        report.print();
        if let Some(file) = &self.json {
            let json = serde_json::to_string_pretty(comparison)?;
            std::fs::write(file, json)?;
        }
        if let Some(file) = &self.report {
            std::fs::write(file, report.html())?;
        }
        Ok(())
    }
}

/// Waits to be interrupted. Then neither a peer goes on, nor is anything of its cache left.
async fn end_with_all(dir: PathBuf) -> io::Result<()> {
    Interrupts::listen()?.next().await;
    // Kept until the process has ended.
    let _nothing_starts = no_more_starts();
    end_descendants()?;
    // A peer that is ending may still write; what is left then is little.
    let _ = std::fs::remove_dir_all(&dir);
    std::process::exit(130);
}
