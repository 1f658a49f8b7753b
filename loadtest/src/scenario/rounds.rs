//! What came of a scenario that was played more than once, each time on a stage of its own.
//!
//! A measure is told by its median and its ends. An expectation holds where it does in every round, so its worst round is what
//! counts. What went on over time is shown of one round alone: see [`Rounds::shown`].

mod show;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::expectation::{Expectation, Verdict};
use super::measure::Measure;
use super::outcome::Outcome;
use crate::stats::Spread;

/// What came of all rounds of a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Rounds {
    /// Its name.
    pub scenario: String,
    /// What it is about.
    pub about: String,
    /// How long a round took.
    pub seconds: Spread,
    /// One for each phase.
    pub phases: Vec<PhaseRounds>,
    /// Of whole rounds.
    pub measures: BTreeMap<Measure, Spread>,
    /// What came of each expectation, those of the phases first.
    pub verdicts: Vec<Worst>,
    /// Each of them, in their order.
    pub rounds: Vec<Outcome>,
}

/// What came of a phase in all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseRounds {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub seconds: Spread,
    /// What it measured.
    pub measures: BTreeMap<Measure, Spread>,
}

/// What came of an expectation in the round that was worst for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worst {
    /// That round's.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Which round that was, from 1 on; the first one of several that are as bad.
    pub round: usize,
    /// In how many rounds it does not hold.
    pub broken_in: usize,
}

impl Rounds {
    /// Of at least one round of the same scenario.
    ///
    /// # Panics
    /// Of none.
    pub fn of(rounds: Vec<Outcome>) -> Self {
        let first = rounds.first().expect("a scenario is played at least once");
        let phases = (0..first.phases.len()).map(|nth| PhaseRounds {
            name: first.phases[nth].name.clone(),
            seconds: spread(&rounds, |round| Some(round.phases[nth].seconds)),
            measures: spreads(&rounds, |round| &round.phases[nth].measures),
        });
        let verdicts = (0..first.verdicts.len()).map(|nth| {
            let verdicts: Vec<_> = rounds.iter().map(|round| &round.verdicts[nth]).collect();
            Worst::of(&verdicts)
        });
        Self {
            scenario: first.scenario.clone(),
            about: first.about.clone(),
            seconds: spread(&rounds, |round| Some(round.seconds)),
            phases: phases.collect(),
            measures: spreads(&rounds, |round| &round.measures),
            verdicts: verdicts.collect(),
            rounds,
        }
    }

    /// The expectations that were not met in every round.
    pub fn broken(&self) -> impl Iterator<Item = &Worst> {
        self.verdicts.iter().filter(|worst| worst.broken_in > 0)
    }

    /// The round whose time is the median, from 1 on; of an even number the shorter one of the middle two.
    pub fn shown(&self) -> usize {
        let mut order: Vec<_> = (0..self.rounds.len()).collect();
        order.sort_by(|&a, &b| f64::total_cmp(&self.rounds[a].seconds, &self.rounds[b].seconds));
        order[(order.len() - 1) / 2] + 1
    }
}

impl Worst {
    fn of(verdicts: &[&Verdict]) -> Self {
        let excess = |nth: usize| {
            let Verdict {
                expected, value, ..
            } = verdicts[nth];
            value.map_or(f64::NEG_INFINITY, |value| expected.excess(value))
        };
        let mut worst = 0;
        for nth in 1..verdicts.len() {
            if excess(nth) > excess(worst) {
                worst = nth;
            }
        }
        Self {
            verdict: verdicts[worst].clone(),
            round: worst + 1,
            broken_in: verdicts.iter().filter(|it| it.is_broken()).count(),
        }
    }

    /// What was expected.
    pub fn expected(&self) -> &Expectation {
        &self.verdict.expected
    }
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, round, .. } = self;
        write!(f, "{verdict} in round {round}")
    }
}

fn spread(rounds: &[Outcome], value: impl Fn(&Outcome) -> Option<f64>) -> Spread {
    Spread::of(&rounds.iter().filter_map(value).collect::<Vec<_>>())
}

/// Of each measure that any round has.
fn spreads(
    rounds: &[Outcome],
    of: impl Fn(&Outcome) -> &BTreeMap<Measure, f64>,
) -> BTreeMap<Measure, Spread> {
    let known = |measure: &Measure| rounds.iter().any(|round| of(round).contains_key(measure));
    let measures = Measure::ALL.into_iter().filter(known);
    measures
        .map(|measure| {
            let value = |round: &Outcome| of(round).get(&measure).copied();
            (measure, spread(rounds, value))
        })
        .collect()
}

#[cfg(test)]
mod tests;
