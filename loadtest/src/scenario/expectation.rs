//! What is expected of a run: a measure, and what it may be.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::measure::Measure;

/// What a measure may be: `failed_pulls = 0`, `bodies_per_blob <= 1.01`, `bytes_saved >= 90 %`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expectation {
    /// Of what.
    pub measure: Measure,
    relation: Relation,
    bound: f64,
    /// As it was written.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Is,
    AtMost,
    AtLeast,
}

/// What came of an expectation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What was expected.
    pub expected: Expectation,
    /// Of which phase, if not of the whole run.
    pub phase: Option<String>,
    /// What it turned out to be; none where it can't be seen from here, so that nobody looked.
    pub value: Option<f64>,
}

impl Expectation {
    /// Whether a value is as expected.
    pub fn allows(&self, value: f64) -> bool {
        match self.relation {
            Relation::Is => (value - self.bound).abs() < 1e-9,
            Relation::AtMost => value <= self.bound,
            Relation::AtLeast => value >= self.bound,
        }
    }

    /// How far a value is beyond what is expected, in the measure's own unit; below zero where there is room.
    pub(super) fn excess(&self, value: f64) -> f64 {
        match self.relation {
            Relation::Is => (value - self.bound).abs(),
            Relation::AtMost => value - self.bound,
            Relation::AtLeast => self.bound - value,
        }
    }
}

impl Verdict {
    /// Whether it is not as expected.
    pub fn is_broken(&self) -> bool {
        self.value.is_some_and(|value| !self.expected.allows(value))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            expected,
            phase,
            value,
        } = self;
        write!(f, "{expected}")?;
        if let Some(phase) = phase {
            write!(f, " in `{phase}`")?;
        }
        match value {
            Some(value) => write!(f, ": {}", expected.measure.shown(*value)),
            None => write!(f, ": not looked at, it can't be seen from here"),
        }
    }
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let written = [
            ("<=", Relation::AtMost),
            (">=", Relation::AtLeast),
            ("=", Relation::Is),
        ];
        for (sign, relation) in written {
            let Some((measure, bound)) = text.split_once(sign) else {
                continue;
            };
            let measure: Measure = measure.trim().parse()?;
            return Ok(Self {
                measure,
                relation,
                bound: measure.value(bound.trim())?,
                text: text.trim().to_owned(),
            });
        }
        Err(format!(
            "`{text}`: write `failed_pulls = 0`, with =, <= or >="
        ))
    }
}

impl TryFrom<String> for Expectation {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Expectation> for String {
    fn from(expectation: Expectation) -> Self {
        expectation.text
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_read_with_the_units_of_what_they_are_of() {
        for (text, good, bad) in [
            ("failed_pulls = 0", 0.0, 1.0),
            ("bodies_per_blob <= 1.01", 1.01, 1.02),
            ("bytes_saved >= 90 %", 90.0, 89.9),
            ("memory_max<=150MiB", 157_286_400.0, 157_286_401.0),
            ("first_byte_max <= 25s", 25.0, 25.1),
        ] {
            let expectation: Expectation = text.parse().unwrap();
            assert!(
                expectation.allows(good) && !expectation.allows(bad),
                "{text}"
            );
            assert_eq!(expectation.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_expectation_is_told_with_what_to_write() {
        for (text, told) in [
            ("failed_pulls", "write `failed_pulls = 0`"),
            ("failed_pull = 0", "there are pulls, failed_pulls, "),
            ("failed_pulls = none", "`none` is no number"),
            ("bodies_per_blob <= inf", "`inf` is no number"),
            ("memory_max <= 1", ""),
            ("pull_p50 <= 3", "50ms"),
        ] {
            match text.parse::<Expectation>() {
                Ok(_) => assert_eq!(told, "", "{text}"),
                Err(error) => assert!(!told.is_empty() && error.contains(told), "{error}"),
            }
        }
    }

    #[test]
    fn what_nobody_looked_at_is_not_broken_and_told_so() {
        let verdict = |value| Verdict {
            expected: "quota_used <= 100".parse().unwrap(),
            phase: Some("storm".to_owned()),
            value,
        };
        assert!(verdict(Some(101.0)).is_broken() && !verdict(Some(100.0)).is_broken());
        assert_eq!(
            verdict(Some(101.0)).to_string(),
            "quota_used <= 100 in `storm`: 101"
        );
        assert!(!verdict(None).is_broken());
        assert!(verdict(None).to_string().contains("not looked at"));
    }
}
