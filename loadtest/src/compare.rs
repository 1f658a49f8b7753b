//! Mirrors side by side: the same content, the same clients, the same machine, in turn.
//!
//! What is measured is a server on a processor of its own; its clients and its origin share another. What it can do with "a
//! core" is what it did in a second of its own CPU time, which neither an idle moment nor another program changes; what the
//! clock says stands beside it.
//!
//! `bench` is what the figures stand on, `figure` what a figure is, `figures` are all of them, `scenarios` are played beside
//! them, `turns` says who is measured when, `outcome` what came of it, and `told` is the report.

mod bench;
mod figure;
mod figures;
mod outcome;
mod scenarios;
mod told;
mod turns;

use std::io;
use std::path::PathBuf;

use serde::Serialize;

use self::bench::Bench;
use self::figure::Figure;
pub use self::outcome::{Check, Outcome, Samples, Side};
use self::scenarios::Play;
pub use self::turns::Progress;
use self::turns::{Course, Turn, round_by_round, turns};
use crate::measure::{Cores, pin, raise_descriptors};
use crate::peers::Peer;
use crate::report::Report;
use crate::scenario::Scenario;

/// What is to be compared, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The figures by name. Where neither a figure nor a scenario is named, all are measured.
    pub figures: Vec<String>,
    /// The scenarios by name. Where neither a figure nor a scenario is named, the usual ones are played once.
    pub scenarios: Vec<String>,
    /// The peers, each with its program.
    pub peers: Vec<(Peer, PathBuf)>,
    /// How often each figure is measured, and each scenario that is named is played.
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
    /// How each peer was set up for what, without a log.
    pub settings: Vec<(String, String)>,
    /// One for each figure.
    pub outcomes: Vec<Outcome>,
    /// One for each scenario.
    pub scenarios: Vec<Outcome>,
}

/// The names of all figures, each with what it is.
pub fn names() -> Vec<(&'static str, &'static str)> {
    let all = figures::all();
    all.iter()
        .map(|figure| (figure.name, figure.title))
        .collect()
}

/// The names of the scenarios that are played where none are named.
pub fn usual_scenarios() -> Vec<String> {
    scenarios::usual()
}

/// Measures all, and tells whose turn it is, and each value as it comes.
///
/// # Errors
/// Where a figure or a scenario is not known, or nothing can be started. What goes wrong with one of them is told in its
/// outcome.
pub fn run(options: &Options, told: &(dyn Fn(Progress<'_>) + Sync)) -> io::Result<Comparison> {
    let (figures, scenarios) = chosen(options)?;
    raise_descriptors();
    let cores = Cores::first()?;
    let plays = scenarios.into_iter();
    let plays: Vec<_> = plays.map(|it| Play::of(it, options, cores)).collect();
    let of_figures: Vec<_> = figures.iter().map(|it| of_figure(it, options)).collect();
    let of_plays: Vec<_> = plays.iter().map(|it| of_play(it, options)).collect();
    let turns = of_figures.iter().chain(&of_plays).map(Vec::len).sum();
    let (has_figures, has_scenarios) = (!figures.is_empty(), !plays.is_empty());
    pin(cores.client, || {
        let mut course = Course::of(turns, told);
        Ok(Comparison {
            outcomes: measure_all(&figures, &of_figures, options, cores, &mut course)?,
            scenarios: plays
                .into_iter()
                .zip(of_plays)
                .map(|(play, turns)| play_all(play, turns, &mut course))
                .collect(),
            about: told::about(options, cores, has_figures, has_scenarios),
            settings: told::settings(options),
        })
    })?
}

fn chosen(options: &Options) -> io::Result<(Vec<Figure>, Vec<Scenario>)> {
    let Options {
        figures, scenarios, ..
    } = options;
    let is_all = figures.is_empty() && scenarios.is_empty();
    let scenarios = if is_all {
        scenarios::chosen(&scenarios::usual())?
    } else {
        scenarios::chosen(scenarios)?
    };
    let mut all = figures::all();
    if let Some(unknown) = figures
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
    all.retain(|figure| is_all || figures.iter().any(|name| name == figure.name));
    Ok((all, scenarios))
}

fn of_figure(figure: &Figure, options: &Options) -> Vec<Turn> {
    let rounds = figure.rounds.min(options.rounds);
    turns(
        rounds,
        &figure.sides(&options.peers),
        figure.once_for_others,
    )
}

fn of_play(play: &Play<'_>, options: &Options) -> Vec<Turn> {
    turns(scenarios::rounds(options), &play.sides(), false)
}

fn measure_all(
    figures: &[Figure],
    turns: &[Vec<Turn>],
    options: &Options,
    cores: Cores,
    course: &mut Course<'_>,
) -> io::Result<Vec<Outcome>> {
    if figures.is_empty() {
        return Ok(Vec::new());
    }
    let bench = Bench::start(options, cores)?;
    let outcome = |figure: &Figure| Outcome::new(figure.name, figure.title, figure.text);
    let mut outcomes: Vec<_> = figures.iter().map(outcome).collect();
    for (at, turn) in round_by_round(turns) {
        let (figure, outcome) = (&figures[at], &mut outcomes[at]);
        let measured = course.take(figure.name, turn, || (figure.measure)(&bench, turn.who));
        match measured {
            Ok(measured) => outcome.take(turn.who, measured),
            Err(error) => outcome.problems.push(format!("{}: {error}", turn.who)),
        }
    }
    for (figure, outcome) in figures.iter().zip(&mut outcomes) {
        outcome.check(figure);
    }
    Ok(outcomes)
}

fn play_all(mut play: Play<'_>, turns: Vec<Turn>, course: &mut Course<'_>) -> Outcome {
    let name = play.scenario.name.clone();
    for turn in turns {
        let played = course.take(&name, turn, || play.round(turn.who));
        if let Err(error) = played {
            let problem = format!("{}: {error}", turn.who);
            play.outcome.problems.push(problem);
        }
    }
    play.done()
}

impl Comparison {
    /// What did not come out as expected, and what could not be measured.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for outcome in self.outcomes.iter().chain(&self.scenarios) {
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
        let figures = |figures: &[&str], scenarios: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let options = Options {
                figures: owned(figures),
                scenarios: owned(scenarios),
                peers: Vec::new(),
                rounds: 1,
                quick: false,
                dir: PathBuf::new(),
            };
            chosen(&options).map(|(figures, scenarios)| {
                let figures: Vec<_> = figures.iter().map(|figure| figure.name).collect();
                let scenarios: Vec<_> = scenarios.into_iter().map(|it| it.name).collect();
                (figures, scenarios)
            })
        };
        assert_eq!(figures(&[], &[]).unwrap(), (names, usual_scenarios()));
        let two = figures(&["idle", "hits"], &[]).unwrap();
        assert_eq!(two, (vec!["hits", "idle"], vec![]));
        let demo = figures(&[], &["demo"]).unwrap();
        assert_eq!(demo, (vec![], vec!["demo".to_owned()]));
        let error = figures(&["hist"], &["demo"]).err().unwrap().to_string();
        assert!(
            error.contains("hist") && error.contains("hits, "),
            "{error}"
        );
        assert!(figures(&["hits"], &["deplay"]).is_err());
    }
}
