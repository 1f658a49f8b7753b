//! A comparison as a report, and what it is about.

use std::fs;

use super::{Comparison, Options, Outcome, Side, scenarios};
use crate::measure::Cores;
use crate::report::{Axis, Plot, PlotKind, Report, Section, Series, Table, Unit};

/// The machine, the programs and the settings, as far as they can be found out.
pub(super) fn about(
    options: &Options,
    cores: Cores,
    has_figures: bool,
    has_scenarios: bool,
) -> Vec<(String, String)> {
    let mut about = vec![
        ("processor".to_owned(), processor()),
        ("kernel".to_owned(), read("/proc/sys/kernel/osrelease")),
        ("cores".to_owned(), told(cores)),
    ];
    for (peer, program) in &options.peers {
        let version = peer.version(program);
        let version = version.unwrap_or_else(|error| format!("does not tell its version: {error}"));
        about.push((peer.name().to_owned(), version));
    }
    for peer in crate::peers::Peer::ALL {
        if !options.peers.iter().any(|(it, _)| *it == peer) {
            about.push((peer.name().to_owned(), "not measured".to_owned()));
        }
    }
    if has_figures {
        let rounds = format!(
            "{} at most, each with all in turn; herds and the capped pull take a while, and other mirrors do them once",
            options.rounds
        );
        about.push(("rounds".to_owned(), rounds));
    }
    if has_scenarios {
        let rounds = scenarios::rounds(options).to_string();
        about.push(("rounds of scenarios".to_owned(), rounds));
    }
    if options.quick {
        let quick = "sizes and clients are a tenth: no figure means anything";
        about.push(("quick".to_owned(), quick.to_owned()));
    }
    about
}

pub(super) fn settings(options: &Options) -> Vec<(String, String)> {
    let peers = options.peers.iter();
    peers
        .flat_map(|(peer, _)| {
            let settings = peer.settings().into_iter();
            settings.map(move |(what, config)| (format!("{peer}, {what}"), config))
        })
        .collect()
}

fn told(cores: Cores) -> String {
    if cores.are_shared() {
        return "one for servers and clients: what the clock says means nothing".to_owned();
    }
    let Cores { server, client } = cores;
    format!("{server} for the server, {client} for clients and origin")
}

fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':'));
    name.map_or_else(
        || "not known".to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

pub(super) fn report(comparison: &Comparison) -> Report {
    let mut report = Report::new("forebay and its peers");
    report.about.clone_from(&comparison.about);
    report.sections.push(summary(comparison));
    let figures = comparison.outcomes.iter().map(of_figure);
    report.sections.extend(figures);
    let scenarios = comparison.scenarios.iter().map(of_scenario);
    report.sections.extend(scenarios);
    let mut settings = Section::new("Settings");
    let note = "Without a log. What is not listed for a peer is set up as in plain.";
    settings.text.push(note.to_owned());
    settings.listings.clone_from(&comparison.settings);
    report.sections.push(settings);
    report
}

fn summary(comparison: &Comparison) -> Section {
    let mut section = Section::new("What was expected");
    let mut table = Table::new("", &["of", "expected", "it is", "passed"]);
    for outcome in comparison.outcomes.iter().chain(&comparison.scenarios) {
        for check in &outcome.checks {
            table.row([
                outcome.title.clone(),
                check.expected.clone(),
                check.told.clone(),
                match (check.is, check.passed) {
                    (None, _) => "-",
                    (Some(_), true) => "yes",
                    (Some(_), false) => "NO",
                }
                .to_owned(),
            ]);
        }
    }
    section.tables.push(table);
    section
}

fn of_figure(outcome: &Outcome) -> Section {
    let mut section = section(outcome);
    section.plots.extend(bars(outcome));
    let x = Axis::new("since they asked", Unit::Seconds);
    let y = Axis::new("clients", Unit::Percent);
    let title = "Clients that have their first byte";
    section
        .plots
        .extend(curves(outcome, title, x, y, |side| &side.first_bytes));
    section
}

fn of_scenario(outcome: &Outcome) -> Section {
    let mut section = section(outcome);
    let x = Axis::new("after the request", Unit::Seconds).by_powers();
    let y = Axis::new("of all requests", Unit::Percent);
    let first = curves(outcome, "First byte", x, y, |side| &side.first_bytes);
    let x = Axis::new("since the start", Unit::Seconds);
    let title = "Requests to the upstream";
    // Of a mirror there are hundreds of times fewer than without one.
    let y = Axis::default().by_powers();
    let upstream = curves(outcome, title, x, y, |side| &side.upstream);
    section.plots.extend(first);
    section.plots.extend(upstream.map(|mut plot| {
        plot.kind = PlotKind::Steps;
        plot
    }));
    section
}

fn section(outcome: &Outcome) -> Section {
    let mut section = Section::new(&outcome.title);
    section.text.push(outcome.text.clone());
    let problems = outcome.problems.iter();
    section
        .text
        .extend(problems.map(|problem| format!("Not measured: {problem}")));
    let failures = outcome.failures.iter();
    section
        .text
        .extend(failures.map(|told| format!("The first pull that failed with {told}")));
    section.tables.push(table(outcome));
    section
}

/// A row for each value, a column for each side: medians, and from where to where the rounds went.
fn table(outcome: &Outcome) -> Table {
    let sides = outcome.sides.iter().map(|side| side.name.as_str());
    let head: Vec<&str> = std::iter::once("").chain(sides).collect();
    let mut table = Table::new("median (least to most)", &head);
    let mut names: Vec<(&str, Unit)> = Vec::new();
    for value in outcome.sides.iter().flat_map(|side| &side.values) {
        if names.iter().all(|(name, _)| *name != value.name) {
            names.push((&value.name, value.unit));
        }
    }
    for (name, unit) in names {
        let mut row = vec![name.to_owned()];
        for side in &outcome.sides {
            let cell = outcome.value(&side.name, name).map_or_else(
                || "-".to_owned(),
                |value| value.spread.told(|value| unit.format(value)),
            );
            row.push(cell);
        }
        table.rows.push(row);
    }
    table
}

/// The first value, which is what a figure is about.
fn bars(outcome: &Outcome) -> Option<Plot> {
    let first = outcome.sides.first()?.values.first()?;
    let axis = Axis::new(&first.name, first.unit);
    let mut plot = Plot::new(&outcome.title, Axis::default(), axis);
    plot.kind = PlotKind::Bars;
    for side in &outcome.sides {
        let value = outcome.value(&side.name, &first.name)?;
        plot.series.push(Series {
            name: side.name.clone(),
            points: vec![(0.0, value.spread.median)],
        });
    }
    Some(plot)
}

/// A line for each side that has points, if any has.
fn curves(
    outcome: &Outcome,
    title: &str,
    x: Axis,
    y: Axis,
    points: impl Fn(&Side) -> &Vec<(f64, f64)>,
) -> Option<Plot> {
    let sides = outcome.sides.iter();
    let told = sides.filter(|side| !points(side).is_empty());
    let mut plot = Plot::new(title, x, y);
    plot.series.extend(told.map(|side| Series {
        name: side.name.clone(),
        points: points(side).clone(),
    }));
    (!plot.series.is_empty()).then_some(plot)
}
