//! `run`: a scenario, played against a mirror.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_loadtest::fleet::{Place, Reference};
use forebay_loadtest::measure::{Cores, pin, raise_descriptors};
use forebay_loadtest::report::{Report, Section, Table};
use forebay_loadtest::scenario::{BUILTIN, Live, Outcome, Rounds, Scenario, Stage, play, sibling};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::bars::Bars;
use super::interrupts::Interrupts;

/// How long a mirror that is there already may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Play a scenario against a mirror, and say whether what is expected of it holds.
///
/// Without --target it is played on a forebay of its own, with an upstream of its own. Fails where an expectation does; those
/// of what can't be seen from here are told as not looked at.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One that is built in, or a file; without it, those that are built in are listed
    scenario: Option<String>,
    /// The mirror, where it is there already: http://HOST:PORT
    #[arg(long, value_name = "URL", conflicts_with_all = ["forebay", "direct"])]
    target: Option<String>,
    /// Have the built-in origin listen at this address, from which that mirror is set up to pull
    #[arg(long, value_name = "HOST:PORT", requires = "target")]
    upstream_is: Option<SocketAddr>,
    /// Pull this image through that mirror, in place of those of the built-in origin; can be repeated
    #[arg(
        long = "image",
        value_name = "IMAGE",
        requires = "target",
        conflicts_with = "upstream_is"
    )]
    images: Vec<Reference>,
    /// The authority of that mirror's certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "target")]
    ca: Option<PathBuf>,
    /// That mirror's process on this machine, to see its memory
    #[arg(long, requires = "target")]
    pid: Option<u32>,
    /// The forebay to start [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM")]
    forebay: Option<PathBuf>,
    /// Start no mirror: the clients ask the origin itself, to see what that costs
    #[arg(long, conflicts_with = "forebay")]
    direct: bool,
    /// Play it so often, each time with a mirror and an upstream that have nothing yet: medians are told, and what is
    /// expected has to hold every time. With --image the mirror is the same, and cold the first time alone
    #[arg(long, value_name = "N", default_value = "1")]
    rounds: NonZeroUsize,
    /// Have the mirror on a processor of its own, and its clients and upstream together on another one, where there are two:
    /// neither takes the other's time then. Hundreds of clients on one processor are slow ones
    #[arg(long, conflicts_with = "target")]
    pinned: bool,
    /// Write what came of it to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report to this file, as a page for a browser
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Args {
    /// Where it is pinned, on threads of its own: those that run already have all processors.
    pub(super) fn run(self, runtime: &Runtime) -> io::Result<()> {
        if !self.pinned {
            return runtime.block_on(self.play(None));
        }
        let cores = Cores::first()?;
        pin(cores.client, || {
            Runtime::new()?.block_on(self.play(Some(cores.server)))
        })?
    }

    async fn play(&self, core: Option<usize>) -> io::Result<()> {
        let Some(name) = &self.scenario else {
            list();
            return Ok(());
        };
        let mut scenario = find(name)?;
        if !self.images.is_empty() {
            scenario.images.named.clone_from(&self.images);
        }
        raise_descriptors();
        let mut interrupts = Interrupts::listen()?;
        let mut outcomes = Vec::new();
        for number in 1..=self.rounds.get() {
            if self.rounds.get() > 1 {
                eprintln!("round {number} of {}", self.rounds);
            }
            // What was started by then ends with the wait for it.
            let stage = tokio::select! {
                stage = self.stage(&scenario, core) => stage?,
                error = interrupts.next() => return Err(error),
            };
            outcomes.push(played(&scenario, stage, &mut interrupts).await?);
        }
        match <[Outcome; 1]>::try_from(outcomes) {
            Ok([outcome]) => {
                self.tell(&outcome, &outcome.report())?;
                verdict(outcome.broken())
            }
            Err(outcomes) => {
                let rounds = Rounds::of(outcomes);
                self.tell(&rounds, &rounds.report())?;
                verdict(rounds.broken())
            }
        }
    }

    fn tell(&self, outcome: &impl Serialize, report: &Report) -> io::Result<()> {
        report.print();
        if let Some(path) = &self.json {
            write_json(outcome, path)?;
        }
        match &self.report {
            Some(path) => write(path, &report.html()),
            None => Ok(()),
        }
    }

    async fn stage(&self, scenario: &Scenario, core: Option<usize>) -> io::Result<Stage> {
        if let Some(url) = &self.target {
            let mirror = Place::of_url(url, self.ca.as_deref()).await?;
            let stage = Stage::with_mirror(scenario, mirror, self.upstream_is, self.pid).await?;
            stage.until_ready(PATIENCE).await?;
            return Ok(stage);
        }
        if self.direct {
            return Stage::without_mirror(scenario).await;
        }
        let program = program(self.forebay.as_deref())?;
        Stage::with_program(scenario, &program, core).await
    }
}

/// The forebay to start.
pub(super) fn program(named: Option<&Path>) -> io::Result<PathBuf> {
    match named {
        Some(path) => Ok(path.to_owned()),
        None => sibling("forebay"),
    }
}

/// Plays it, shows how it goes, and ends what was started for it, where it is interrupted too.
pub(super) async fn played(
    scenario: &Scenario,
    mut stage: Stage,
    interrupts: &mut Interrupts,
) -> io::Result<Outcome> {
    let live = Live::default();
    let bars = Bars::show(&live);
    let outcome = tokio::select! {
        outcome = play(scenario, &mut stage, &live) => outcome,
        error = interrupts.next() => Err(error),
    };
    drop(bars);
    let ended = stage.end().await;
    let outcome = outcome?;
    ended?;
    Ok(outcome)
}

/// An error that names what is not as expected, if anything.
pub(super) fn verdict(broken: impl Iterator<Item = impl ToString>) -> io::Result<()> {
    let broken: Vec<_> = broken.map(|it| it.to_string()).collect();
    if broken.is_empty() {
        return Ok(());
    }
    let told = format!("not as expected: {}", broken.join("; "));
    Err(io::Error::other(told))
}

pub(super) fn write_json(outcome: &impl Serialize, path: &Path) -> io::Result<()> {
    let mut json = serde_json::to_string_pretty(outcome)?;
    json.push('\n');
    write(path, &json)
}

pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text).map_err(|error| {
        let told = format!("{}: {error}", path.display());
        io::Error::new(error.kind(), told)
    })
}

/// A file where it looks like one, else one that is built in.
fn find(name: &str) -> io::Result<Scenario> {
    if let Some(builtin) = BUILTIN.iter().find(|builtin| builtin.name == name) {
        return Ok(builtin.scenario());
    }
    let path = Path::new(name);
    if path.exists() || name.contains(['/', '.']) {
        return Scenario::read(path);
    }
    let names = BUILTIN.each_ref().map(|builtin| builtin.name).join(", ");
    let told = format!("no scenario is called `{name}`: name a file, or one of {names}");
    Err(io::Error::new(io::ErrorKind::NotFound, told))
}

fn list() {
    let mut table = Table::new("", &["scenario", "about"]);
    for builtin in &BUILTIN {
        table.row([builtin.name.to_owned(), builtin.scenario().about]);
    }
    let mut section = Section::new("Scenarios");
    section.tables.push(table);
    print!("{}", section.to_text());
}
