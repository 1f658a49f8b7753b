//! Mirrors side by side: the same content, the same clients, the same machine, in turn.
//!
//! What is measured is a server on a processor of its own; its clients and its origin share another. What it can do with "a
//! core" is what it did in a second of its own CPU time, which neither an idle moment nor another program changes; what the
//! clock says stands beside it.
//!
//! `bench` is what the figures stand on, `figure` what a figure is, `figures` are all of them, `outcome` what came of one, and
//! `told` is the report.

mod bench;
mod figure;
mod figures;
mod outcome;
mod told;

use std::io;
use std::path::PathBuf;

use serde::Serialize;

use self::bench::Bench;
use self::figure::{Figure, Who};
pub use self::outcome::{Check, Outcome, Samples, Side};
use crate::measure::{Cores, pin, raise_descriptors};
use crate::peers::Peer;
use crate::report::Report;

/// What is to be compared, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The figures by name; all where there are none.
    pub figures: Vec<String>,
    /// The peers, each with its program.
    pub peers: Vec<(Peer, PathBuf)>,
    /// How often each figure is measured.
    pub rounds: usize,
    /// A tenth of all sizes and clients, to see that it works.
    pub quick: bool,
    /// Where the peers keep what they fetch: a directory on a disk. Nothing of it is left afterwards.
    pub dir: PathBuf,
}

/// All that was found out.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The machine, the programs and the settings.
    pub about: Vec<(String, String)>,
    /// How each peer was set up, in plain and without a log.
    pub settings: Vec<(String, String)>,
    /// One for each figure.
    pub outcomes: Vec<Outcome>,
}

/// The names of all figures, each with what it is.
pub fn names() -> Vec<(&'static str, &'static str)> {
    let all = figures::all();
    all.iter()
        .map(|figure| (figure.name, figure.title))
        .collect()
}

/// Measures all, and calls `told` with each value as it comes.
///
/// # Errors
/// Where a figure is not known, or nothing can be started. What goes wrong with one figure is told in its outcome.
pub fn run(options: &Options, told: &(dyn Fn(&str) + Sync)) -> io::Result<Comparison> {
    let figures = chosen(&options.figures)?;
    raise_descriptors();
    let cores = Cores::first()?;
    pin(cores.client, || {
        let bench = Bench::start(options, cores)?;
        let outcomes = figures
            .iter()
            .map(|figure| measure(figure, options, &bench, told));
        Ok(Comparison {
            outcomes: outcomes.collect(),
            about: told::about(options, cores),
            settings: told::settings(options),
        })
    })?
}

fn chosen(names: &[String]) -> io::Result<Vec<Figure>> {
    let mut all = figures::all();
    if let Some(unknown) = names
        .iter()
        .find(|name| all.iter().all(|figure| figure.name != **name))
    {
        let known: Vec<_> = all.iter().map(|figure| figure.name).collect();
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "no figure is called {unknown}: choose from {}",
                known.join(", ")
            ),
        ));
    }
    all.retain(|figure| names.is_empty() || names.iter().any(|name| name == figure.name));
    Ok(all)
}

/// All rounds of a figure: in each, all in turn.
fn measure(figure: &Figure, options: &Options, bench: &Bench<'_>, told: &dyn Fn(&str)) -> Outcome {
    let mut outcome = Outcome::of(figure);
    for round in 0..figure.rounds.min(options.rounds).max(1) {
        for who in figure.sides(&options.peers) {
            // What is not to be compared is not worth more than a look.
            let is_compared = matches!(who, Who::Peer(Peer::Forebay) | Who::Direct);
            if round > 0 && figure.once_for_others && !is_compared {
                continue;
            }
            match (figure.measure)(bench, who) {
                Ok(measured) => {
                    told(&format!("{} {}: {who}: {measured}", figure.name, round + 1));
                    outcome.take(who, measured);
                }
                Err(error) => {
                    told(&format!("{} {}: {who}: {error}", figure.name, round + 1));
                    outcome.problems.push(format!("{who}: {error}"));
                }
            }
        }
    }
    outcome.check(figure);
    outcome
}

impl Comparison {
    /// What did not come out as expected, and what could not be measured.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for outcome in &self.outcomes {
            let name = &outcome.name;
            let failed = outcome.checks.iter().filter(|check| !check.passed);
            failures.extend(failed.map(|check| format!("{name}: {check}")));
            failures.extend(
                outcome
                    .problems
                    .iter()
                    .map(|problem| format!("{name}: {problem}")),
            );
        }
        failures
    }

    /// As a report.
    pub fn report(&self) -> Report {
        told::report(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_chosen_by_their_names() {
        let names: Vec<_> = names().into_iter().map(|(name, _)| name).collect();
        let mut once = names.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(
            once.len(),
            names.len(),
            "two figures of one name: {names:?}"
        );
        assert_eq!(chosen(&[]).unwrap().len(), names.len());
        let two = chosen(&["idle".to_owned(), "hits".to_owned()]).unwrap();
        let two: Vec<_> = two.iter().map(|figure| figure.name).collect();
        assert_eq!(two, ["hits", "idle"]);
        let error = chosen(&["hist".to_owned()]).err().unwrap().to_string();
        assert!(
            error.contains("hist") && error.contains("hits, "),
            "{error}"
        );
    }
}
