//! A comparison as a report, and what it is about.

use std::fs;

use super::{Comparison, Options, Outcome};
use crate::measure::Cores;
use crate::report::{Axis, Plot, PlotKind, Report, Section, Series, Table, Unit};

/// The machine, the programs and the settings, as far as they can be found out.
pub(super) fn about(options: &Options, cores: Cores) -> Vec<(String, String)> {
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
    let rounds = format!(
        "{} at most, each with all in turn; herds and the capped pull take a while, and other mirrors do them once",
        options.rounds
    );
    about.push(("rounds".to_owned(), rounds));
    if options.quick {
        let quick = "sizes and clients are a tenth: no figure means anything";
        about.push(("quick".to_owned(), quick.to_owned()));
    }
    about
}

pub(super) fn settings(options: &Options) -> Vec<(String, String)> {
    let peers = options.peers.iter();
    peers
        .map(|(peer, _)| (peer.name().to_owned(), peer.settings()))
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
    report.sections.push(summary(&comparison.outcomes));
    report
        .sections
        .extend(comparison.outcomes.iter().map(section));
    let mut settings = Section::new("Settings");
    let note =
        "In plain and without a log; TLS, logs and reading from the disk are set up beside that.";
    settings.text.push(note.to_owned());
    settings.listings.clone_from(&comparison.settings);
    report.sections.push(settings);
    report
}

fn summary(outcomes: &[Outcome]) -> Section {
    let mut section = Section::new("What was expected");
    let mut table = Table::new("", &["figure", "expected", "it is", "passed"]);
    for outcome in outcomes {
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

fn section(outcome: &Outcome) -> Section {
    let mut section = Section::new(&outcome.title);
    section.text.push(outcome.text.clone());
    let problems = outcome.problems.iter();
    section
        .text
        .extend(problems.map(|problem| format!("Not measured: {problem}")));
    section.tables.push(table(outcome));
    section.plots.extend(bars(outcome));
    section.plots.extend(first_bytes(outcome));
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
                |value| {
                    let spread = value.spread;
                    match value.samples.len() {
                        1 => unit.format(spread.median),
                        _ => spread.told(|value| unit.format(value)),
                    }
                },
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

fn first_bytes(outcome: &Outcome) -> Option<Plot> {
    let told = outcome
        .sides
        .iter()
        .filter(|side| !side.first_bytes.is_empty());
    let series: Vec<_> = told
        .map(|side| Series {
            name: side.name.clone(),
            points: side.first_bytes.clone(),
        })
        .collect();
    if series.is_empty() {
        return None;
    }
    let mut plot = Plot::new(
        "Clients that have their first byte",
        Axis::new("since they asked", Unit::Seconds),
        Axis::new("clients", Unit::Percent),
    );
    plot.series = series;
    Some(plot)
}
