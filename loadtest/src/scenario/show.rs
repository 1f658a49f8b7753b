//! An outcome as a report: what was expected, what was measured, and how it went over time.

use std::time::Duration;

use super::measure::{Measure, float};
use super::outcome::{Outcome, Sample, UpstreamSample};
use crate::fleet::{Asked, Role};
use crate::report::{Axis, Plot, PlotKind, Report, Section, Series, Table, Unit};
use crate::stats::percentile;

/// Points of a curve: a picture shows no more.
const POINTS: usize = 400;
/// Parts of the run that percentiles are taken of.
const PARTS: u32 = 60;

impl Outcome {
    /// All of it, for a terminal or a browser.
    pub fn report(&self) -> Report {
        let mut report = Report::new(&format!("forebay-loadtest: {}", self.scenario));
        report.about("scenario", self.about.clone());
        for (name, value) in &self.stage {
            report.about(name, value.clone());
        }
        report.about("time", Unit::Seconds.format(self.seconds));
        report.sections.extend(self.in_short());
        report.sections.extend([self.measured(), self.over_time()]);
        report
    }

    /// What was saved, where the upstream could be seen, and what was expected.
    pub fn in_short(&self) -> Vec<Section> {
        let sections = [self.saved(), Some(self.expected())];
        sections.into_iter().flatten().collect()
    }

    fn saved(&self) -> Option<Section> {
        let value = |measure| self.measures.get(&measure).copied();
        let last = self.samples.last()?.clients;
        let mut table = Table::new("", &["", "clients", "upstream", "saved"]);
        for (name, served, upstream, saved) in [
            (
                "requests",
                Unit::Count.format(float(last.requests + last.around)),
                Measure::UpstreamRequests,
                Measure::RequestsSaved,
            ),
            (
                "bytes of bodies",
                Unit::Bytes.format(float(last.bytes + last.bytes_around)),
                Measure::UpstreamBytes,
                Measure::BytesSaved,
            ),
        ] {
            let cells = [upstream, saved].map(|it| value(it).map(|value| it.shown(value)));
            let [upstream, saved] = cells;
            table.row([name.to_owned(), served, upstream?, saved?]);
        }
        let pulls = Measure::Pulls.shown(value(Measure::Pulls)?);
        let quota = Measure::QuotaUsed.shown(value(Measure::QuotaUsed)?);
        table.row([
            "pulls, and manifests that count".to_owned(),
            pulls,
            quota,
            String::new(),
        ]);
        let mut section = Section::new("What was saved");
        section.tables.push(table);
        Some(section)
    }

    fn expected(&self) -> Section {
        let mut section = Section::new("What was expected");
        let mut table = Table::new("", &["", "expected", "of", "measured"]);
        for verdict in &self.verdicts {
            let measure = verdict.expected.measure;
            let mark = match verdict.value {
                None => "not looked at",
                Some(_) if verdict.is_broken() => "FAIL",
                Some(_) => "ok",
            };
            let seen = verdict.value.map(|value| measure.shown(value));
            table.row([
                mark.to_owned(),
                verdict.expected.to_string(),
                verdict
                    .phase
                    .clone()
                    .unwrap_or_else(|| "the run".to_owned()),
                seen.unwrap_or_else(|| "can't be seen from here".to_owned()),
            ]);
        }
        section.tables.push(table);
        if !self.failures.is_empty() {
            let mut failures = Table::new("The first pulls that failed", &["why"]);
            let rows = self.failures.iter().map(|told| vec![told.clone()]);
            failures.rows.extend(rows);
            section.tables.push(failures);
        }
        section
    }

    fn measured(&self) -> Section {
        let mut section = Section::new("What was measured");
        let names = self.phases.iter().map(|phase| phase.name.as_str());
        let head: Vec<_> = std::iter::once("")
            .chain(names)
            .chain(["the run"])
            .collect();
        let mut table = Table::new("", &head);
        for measure in Measure::ALL {
            let Some(&whole) = self.measures.get(&measure) else {
                continue;
            };
            let shown = |value: Option<&f64>| value.map_or(String::new(), |it| measure.shown(*it));
            let phases = self
                .phases
                .iter()
                .map(|it| shown(it.measures.get(&measure)));
            let mut row = vec![measure.name().to_owned()];
            row.extend(phases);
            row.push(shown(Some(&whole)));
            table.rows.push(row);
        }
        section.tables.push(table);
        section
    }

    pub(super) fn over_time(&self) -> Section {
        let mut section = Section::new("Over time");
        section.text.push(self.phases_told());
        section.plots.extend([
            self.plot(
                "Requests",
                Unit::Count,
                &[
                    ("of clients", &|sample| {
                        Some(float(sample.clients.requests + sample.clients.around))
                    }),
                    ("to the upstream", &upstream(|it| float(it.requests))),
                ],
            ),
            self.plot(
                "Bytes of bodies",
                Unit::Bytes,
                &[
                    ("to clients", &|sample| Some(float(served(sample)))),
                    ("from the upstream", &upstream(|it| float(it.bytes))),
                    ("saved", &|sample| {
                        Some(float(served(sample).saturating_sub(sample.upstream?.bytes)))
                    }),
                ],
            ),
            self.plot(
                "Quota",
                Unit::Count,
                &[("pulls left", &|sample| {
                    sample
                        .upstream?
                        .quota_left
                        .map(|left| float(left.max(0).cast_unsigned()))
                })],
            ),
            self.plot(
                "Memory of the mirror",
                Unit::Bytes,
                &[("resident", &|sample| sample.resident.map(float))],
            ),
        ]);
        section.plots.retain(|plot| !plot.series.is_empty());
        section.plots.extend(self.waits());
        section
    }

    /// Which part of all requests to the mirror, in hundredths, had their first byte after so many seconds.
    pub(crate) fn first_bytes(&self) -> Vec<(f64, f64)> {
        curve(&self.answered())
    }

    /// How many requests the upstream had got after so many seconds, where it can be seen.
    pub(crate) fn upstream_requests(&self) -> Vec<(f64, f64)> {
        let samples = thinned(&self.samples);
        let requests = upstream(|it| float(it.requests));
        let points = samples.iter().filter_map(|it| Some((it.at, requests(it)?)));
        points.collect()
    }

    fn phases_told(&self) -> String {
        let phase = |it: &super::PhaseOutcome| {
            let [began, ended] =
                [it.began, it.began + it.seconds].map(|time| Unit::Seconds.format(time));
            format!("{} from {began} to {ended}", it.name)
        };
        let phases: Vec<_> = self.phases.iter().map(phase).collect();
        format!("Phases: {}.", phases.join("; "))
    }

    fn plot(&self, title: &str, unit: Unit, curves: &[Curve<'_>]) -> Plot {
        let x = Axis::new("since the start", Unit::Seconds);
        let mut plot = Plot::new(title, x, Axis::new("", unit));
        plot.kind = PlotKind::Steps;
        let samples = thinned(&self.samples);
        for (name, value) in curves {
            let points = samples.iter().filter_map(|it| Some((it.at, value(it)?)));
            let points: Vec<_> = points.collect();
            if !points.is_empty() {
                plot.series.push(Series {
                    name: (*name).to_owned(),
                    points,
                });
            }
        }
        plot
    }

    /// How long clients waited for the mirror's answers.
    fn waits(&self) -> Vec<Plot> {
        let mut asked = self.answered();
        if asked.is_empty() {
            return Vec::new();
        }
        asked.sort_unstable_by_key(|it| it.at);
        vec![first_bytes(&asked), latencies(&asked)]
    }

    /// The requests that the mirror answered.
    fn answered(&self) -> Vec<&Asked> {
        let mirrors = self.asked.iter();
        mirrors
            .filter(|it| it.role == Role::Mirror && it.status.is_some())
            .collect()
    }
}

/// A curve's name, and its value at a moment where it has one.
type Curve<'a> = (&'a str, &'a dyn Fn(&Sample) -> Option<f64>);

fn upstream(value: fn(&UpstreamSample) -> f64) -> impl Fn(&Sample) -> Option<f64> {
    move |sample| sample.upstream.as_ref().map(value)
}

fn served(sample: &Sample) -> u64 {
    sample.clients.bytes + sample.clients.bytes_around
}

/// No more of them than a picture shows, the last one among them.
fn thinned<T: Clone>(all: &[T]) -> Vec<T> {
    let step = all.len().div_ceil(POINTS).max(1);
    let first = all.len().saturating_sub(1) % step;
    all.iter().skip(first).step_by(step).cloned().collect()
}

/// By when which part of all requests had their first byte.
fn first_bytes(asked: &[&Asked]) -> Plot {
    let x = Axis::new("after the request", Unit::Seconds).by_powers();
    let y = Axis::new("of all requests", Unit::Percent);
    let mut plot = Plot::new("First byte", x, y);
    plot.series.push(Series {
        name: "had it".to_owned(),
        points: curve(asked),
    });
    plot
}

/// The waits for first bytes, shortest first, each with the part of all requests that waited no longer.
fn curve(asked: &[&Asked]) -> Vec<(f64, f64)> {
    let mut waits: Vec<_> = asked.iter().map(|it| it.first_byte).collect();
    waits.sort_unstable();
    let count = float(waits.len() as u64);
    let points = (1..).zip(&waits).map(|(nth, wait)| {
        let part = 100.0 * float(nth) / count;
        (wait.as_secs_f64().max(1e-6), part)
    });
    thinned(&points.collect::<Vec<_>>())
}

/// Percentiles of whole answers, of the requests that were sent within a part of the run.
fn latencies(asked: &[&Asked]) -> Plot {
    let x = Axis::new("since the start", Unit::Seconds);
    let y = Axis::new("until the last byte", Unit::Seconds).by_powers();
    let mut plot = Plot::new("Latency", x, y);
    let end = asked.last().map_or(Duration::ZERO, |it| it.at);
    let part = (end / PARTS).max(Duration::from_millis(100));
    let number =
        |it: &Asked| u32::try_from(it.at.as_millis() / part.as_millis()).unwrap_or(u32::MAX);
    let mut curves = [("p50", 50), ("p90", 90), ("p99", 99)].map(|(name, percent)| {
        let series = Series {
            name: name.to_owned(),
            points: Vec::new(),
        };
        (percent, series)
    });
    for within in asked.chunk_by(|a, b| number(a) == number(b)) {
        let mut times: Vec<_> = within.iter().map(|it| it.took).collect();
        times.sort_unstable();
        let at = (part * number(within[0])).as_secs_f64();
        for (percent, series) in &mut curves {
            let time = percentile(&times, *percent).as_secs_f64();
            series.points.push((at, time.max(1e-6)));
        }
    }
    plot.series = curves.map(|(_, series)| series).into();
    plot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_the_last_and_no_more_than_are_shown() {
        for count in [0, 1, 399, 400, 401, 12_345] {
            let all: Vec<_> = (0..count).collect();
            let thin = thinned(&all);
            assert!(thin.len() <= POINTS && thin.last() == all.last(), "{count}");
        }
    }
}
