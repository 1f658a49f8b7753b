//! What came of a figure: samples, and whether they are as expected.

use std::fmt;

use serde::Serialize;

use super::figure::{Expected, Figure, Measured, Who};
use crate::peers::Peer;
use crate::report::Unit;
use crate::stats::Spread;

/// A figure or a scenario, measured.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// What it is.
    pub title: String,
    /// What was done.
    pub text: String,
    /// All that were measured.
    pub sides: Vec<Side>,
    /// What was expected, and what is.
    pub checks: Vec<Check>,
    /// What could not be measured, and why.
    pub problems: Vec<String>,
    /// Of each side with which pulls of a scenario failed, why the first of them did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

/// What was measured of one side.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// The peer, or "direct" for the origin itself.
    pub name: String,
    /// Its values.
    pub values: Vec<Samples>,
    /// Which share of the clients, or of a scenario's requests, in hundredths, had their first byte after so many seconds, in
    /// the last round.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub first_bytes: Vec<(f64, f64)>,
    /// How many requests the upstream had got after so many seconds of a scenario, in the last round.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<(f64, f64)>,
}

/// One value, once for each round.
#[derive(Clone, Debug, Serialize)]
pub struct Samples {
    /// What it is.
    pub name: String,
    /// What it is counted in.
    pub unit: Unit,
    /// In order of the rounds.
    pub samples: Vec<f64>,
    /// Their middle and their ends.
    pub spread: Spread,
}

/// What was expected.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// In words.
    pub expected: String,
    /// The value that was worst, or the ratio of the medians; none where it could not be looked at.
    pub is: Option<f64>,
    /// As it is read.
    pub told: String,
    /// Whether that is as expected, as far as it could be looked at.
    pub passed: bool,
}

impl Check {
    /// Of what takes a peer that was not measured.
    fn not_looked_at(expected: &Expected, who: Who) -> Self {
        Self {
            expected: format!("{}{}", expected.told(Unit::Times), whose(who)),
            is: None,
            told: "not looked at".to_owned(),
            passed: true,
        }
    }
}

fn whose(who: Who) -> String {
    match who {
        Who::Direct => " a direct pull's".to_owned(),
        Who::Peer(peer) => format!(" {peer}'s"),
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: it is {}", self.expected, self.told)
    }
}

impl Outcome {
    pub(super) fn new(name: &str, title: &str, text: &str) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            text: text.to_owned(),
            sides: Vec::new(),
            checks: Vec::new(),
            problems: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Adds a round's values.
    pub(super) fn take(&mut self, who: Who, measured: Measured) {
        let name = who.to_string();
        let known = self.sides.iter().position(|side| side.name == name);
        let index = known.unwrap_or_else(|| {
            self.sides.push(Side {
                name,
                values: Vec::new(),
                first_bytes: Vec::new(),
                upstream: Vec::new(),
            });
            self.sides.len() - 1
        });
        let side = &mut self.sides[index];
        side.first_bytes = measured.first_bytes;
        side.upstream = measured.upstream;
        for value in measured.values {
            side.take(value.name, value.unit, value.is);
        }
    }

    /// Holds what there is to what is expected.
    pub(super) fn check(&mut self, figure: &Figure) {
        let expected = figure.expected.iter();
        self.checks = expected
            .filter_map(|expected| self.checked(expected))
            .collect();
    }

    fn checked(&self, expected: &Expected) -> Option<Check> {
        let own = self.value(Peer::Forebay.name(), expected.value)?;
        let (is, unit, of) = match expected.of {
            // A promise holds in each round.
            None => (expected.bound.worst(own.spread), own.unit, String::new()),
            Some(who) => {
                let Some(theirs) = self.others(who, expected) else {
                    return Some(Check::not_looked_at(expected, who));
                };
                let ratio = own.spread.median / theirs;
                (ratio, Unit::Times, whose(who))
            }
        };
        Some(Check {
            expected: format!("{}{of}", expected.told(unit)),
            is: Some(is),
            told: exactly(unit, is),
            passed: expected.bound.holds(is),
        })
    }

    /// The median that forebay is held to.
    fn others(&self, who: Who, expected: &Expected) -> Option<f64> {
        let median = |side: &str| {
            let samples = self.value(side, expected.value)?;
            Some(samples.spread.median)
        };
        let other = median(&who.to_string())?;
        if who != Who::Peer(Peer::Nginx) {
            return Some(other);
        }
        let sendfile = median(Peer::NginxSendfile.name());
        Some(sendfile.map_or(other, |sendfile| expected.bound.harder(other, sendfile)))
    }

    /// A value of a side, if it was measured.
    pub fn value(&self, side: &str, name: &str) -> Option<&Samples> {
        let side = self.sides.iter().find(|it| it.name == side)?;
        side.values.iter().find(|it| it.name == name)
    }
}

impl Side {
    fn take(&mut self, name: &str, unit: Unit, value: f64) {
        let known = self.values.iter().position(|it| it.name == name);
        let index = known.unwrap_or_else(|| {
            self.values.push(Samples {
                name: name.to_owned(),
                unit,
                samples: Vec::new(),
                spread: Spread::default(),
            });
            self.values.len() - 1
        });
        let samples = &mut self.values[index];
        samples.samples.push(value);
        samples.spread = Spread::of(&samples.samples);
    }
}

/// What is near its bound has to show on which side of it.
fn exactly(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Times => format!("{value:.3}x"),
        Unit::Count => format!("{value:.4}"),
        _ => unit.format(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::figure::Bound;

    const RATE: &str = "a core";
    const OWN: Who = Who::Peer(Peer::Forebay);
    const NGINX: Who = Who::Peer(Peer::Nginx);

    fn outcome(expected: &[Expected], rates: &[(Who, f64)]) -> Outcome {
        let figure = Figure::new("hits", "Hits", "", |_, _| Ok(Measured::default()));
        let figure = figure.expect(expected.iter().copied());
        let mut outcome = Outcome::new("hits", "Hits", "");
        for (who, rate) in rates {
            let measured = Measured::default().with(RATE, Unit::BytesPerSecond, *rate);
            outcome.take(*who, measured);
        }
        outcome.check(&figure);
        outcome
    }

    #[test]
    fn ratio_is_of_the_medians_of_all_rounds() {
        let expected = Expected::times(Peer::Nginx, RATE, 1.1);
        let own = [4.5, 9.0, 4.0].map(|rate| (OWN, rate));
        let nginx = [1.0, 4.0, 9.0].map(|rate| (NGINX, rate));
        let outcome = outcome(&[expected], &[own, nginx].concat());
        let check = &outcome.checks[0];
        assert!(check.passed, "{check}");
        assert_eq!(
            check.to_string(),
            "a core is at least 1.1x nginx's: it is 1.125x"
        );
        let samples = outcome.value("nginx", RATE).unwrap();
        assert_eq!(samples.samples, [1.0, 4.0, 9.0]);
        assert_eq!(samples.spread, Spread::of(&[1.0, 4.0, 9.0]));
    }

    #[test]
    fn nginx_counts_at_the_better_of_its_settings() {
        let sendfile = Who::Peer(Peer::NginxSendfile);
        let expected = Expected::times(Peer::Nginx, RATE, 1.0);
        for (plain, other, passed) in [(3.0, 5.0, false), (5.0, 3.0, false), (3.0, 3.5, true)] {
            let rates = [(OWN, 4.0), (NGINX, plain), (sendfile, other)];
            assert_eq!(outcome(&[expected], &rates).checks[0].passed, passed);
        }
    }

    #[test]
    fn value_beyond_its_bound_fails() {
        let expected = [
            Expected::at_most(RATE, 1.01),
            Expected::times_direct(RATE, Bound::AtMost(1.05)),
            Expected::times(Peer::Nginx, RATE, 1.1),
        ];
        let rates = [(OWN, 1.02), (Who::Direct, 1.0), (NGINX, 1.0)];
        let checks = outcome(&expected, &rates).checks;
        let passed: Vec<_> = checks.iter().map(|check| check.passed).collect();
        assert_eq!(passed, [false, true, false]);
    }

    #[test]
    fn comparison_with_who_is_not_there_is_told_as_not_looked_at() {
        let expected = Expected::times(Peer::Nginx, RATE, 1.1);
        let checks = outcome(&[expected], &[(OWN, 1.0)]).checks;
        assert_eq!((checks[0].is, checks[0].passed), (None, true));
        assert_eq!(
            checks[0].to_string(),
            "a core is at least 1.1x nginx's: it is not looked at"
        );
    }

    #[test]
    fn promise_is_held_in_each_round() {
        let rounds = [1.0, 1.0, 34.0].map(|bodies| (OWN, bodies));
        let checks = outcome(&[Expected::at_most(RATE, 1.01)], &rounds).checks;
        assert_eq!((checks[0].is, checks[0].passed), (Some(34.0), false));
    }
}
