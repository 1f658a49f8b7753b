//! What came of a scenario, as plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::expectation::Verdict;
use super::measure::Measure;
use crate::fleet::{Asked, Sums};

/// What a run, or one of its phases, measured. What can't be seen from here is not in it.
pub(super) type Measures = BTreeMap<Measure, f64>;

/// What came of a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: String,
    /// What it is about.
    pub about: String,
    /// What it was played on, a name and a value each.
    pub stage: Vec<(String, String)>,
    /// How long all of it took.
    pub seconds: f64,
    /// One for each phase.
    pub phases: Vec<PhaseOutcome>,
    /// Of the whole run.
    pub measures: BTreeMap<Measure, f64>,
    /// What came of each expectation, those of the phases first.
    pub verdicts: Vec<Verdict>,
    /// Why pulls failed, the first ones.
    pub failures: Vec<String>,
    /// How everything stood, from moment to moment.
    pub samples: Vec<Sample>,
    /// Each request of the clients.
    #[serde(skip)]
    pub asked: Vec<Asked>,
}

/// What came of a phase.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseOutcome {
    /// Its name.
    pub name: String,
    /// When it began, in seconds since the run did.
    pub began: f64,
    /// How long it took.
    pub seconds: f64,
    /// What it measured.
    pub measures: BTreeMap<Measure, f64>,
}

/// How everything stood at a moment; counts are from the beginning.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sample {
    /// Seconds since the run began.
    pub at: f64,
    /// What clients asked and got.
    pub clients: Sums,
    /// What the upstream was asked, where it can be seen.
    pub upstream: Option<UpstreamSample>,
    /// Bytes that the mirror has resident, where it can be seen.
    pub resident: Option<u64>,
}

/// How the upstream stood.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct UpstreamSample {
    /// Requests that it got.
    pub requests: u64,
    /// Bytes of bodies that it sent.
    pub bytes: u64,
    /// Pulls that are left in the quota.
    pub quota_left: Option<i64>,
}

/// One pull of one client, all attempts together.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    pub(super) took: Duration,
    pub(super) fate: Fate,
    /// How many of its requests went around the mirror.
    pub(super) around: u64,
}

/// How a pull ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// With what the tag points at; or pointed at while it was pulled.
    Pulled,
    /// With what the tag had pointed at before.
    Stale,
    /// Not at all, and why.
    Failed(String),
}

impl Outcome {
    /// The expectations that were not met.
    pub fn broken(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|verdict| verdict.is_broken())
    }
}
