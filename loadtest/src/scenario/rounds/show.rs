//! Several rounds as a report: what was expected of each, medians and ends, and how one of them went over time.

use super::{Rounds, Worst};
use crate::report::{Report, Section, Table, Unit};
use crate::scenario::measure::Measure;
use crate::stats::Spread;

impl Rounds {
    /// All of it, for a terminal or a browser.
    pub fn report(&self) -> Report {
        let mut report = Report::new(&format!("forebay-loadtest: {}", self.scenario));
        report.about("scenario", self.about.clone());
        let number = self.shown();
        let shown = &self.rounds[number - 1];
        for (name, value) in &shown.stage {
            report.about(name, value.clone());
        }
        let rounds = format!(
            "{}; addresses and pictures are of round {number}, whose time is in the middle",
            self.rounds.len()
        );
        report.about("rounds", rounds);
        let time = self.seconds.told(|value| Unit::Seconds.format(value));
        report.about("time of a round", time);
        let over_time = shown.over_time();
        report
            .sections
            .extend([self.expected(), self.measured(), over_time]);
        report
    }

    fn expected(&self) -> Section {
        let mut section = Section::new("What was expected of every round");
        let mut table = Table::new("", &["", "expected", "of", "at worst", "in round"]);
        for worst in &self.verdicts {
            table.row(row(worst));
        }
        section.tables.push(table);
        let mut failures = Table::new("The first pulls that failed", &["round", "why"]);
        for (number, round) in (1..).zip(&self.rounds) {
            for told in &round.failures {
                failures.row([format!("{number}"), told.clone()]);
            }
        }
        if !failures.rows.is_empty() {
            section.tables.push(failures);
        }
        section
    }

    fn measured(&self) -> Section {
        let mut section = Section::new("What was measured");
        let names = self.phases.iter().map(|phase| phase.name.as_str());
        let names = names.chain(["the run"]);
        let head: Vec<_> = std::iter::once("").chain(names).collect();
        let mut table = Table::new("median (least to most)", &head);
        for (measure, whole) in &self.measures {
            let shown = |spread: Option<&Spread>| {
                let told = spread.map(|spread| spread.told(|value| measure.shown(value)));
                told.unwrap_or_default()
            };
            let phases = self.phases.iter().map(|it| shown(it.measures.get(measure)));
            let mut row = vec![Measure::name(*measure).to_owned()];
            row.extend(phases);
            row.push(shown(Some(whole)));
            table.rows.push(row);
        }
        section.tables.push(table);
        section
    }
}

fn row(worst: &Worst) -> [String; 5] {
    let verdict = &worst.verdict;
    let measure = verdict.expected.measure;
    let mark = match verdict.value {
        None => "not looked at",
        Some(_) if worst.broken_in > 0 => "FAIL",
        Some(_) => "ok",
    };
    let phase = verdict.phase.clone();
    let seen = verdict.value.map(|value| measure.shown(value));
    [
        mark.to_owned(),
        verdict.expected.to_string(),
        phase.unwrap_or_else(|| "the run".to_owned()),
        seen.unwrap_or_else(|| "can't be seen from here".to_owned()),
        verdict
            .value
            .map(|_| worst.round.to_string())
            .unwrap_or_default(),
    ]
}
