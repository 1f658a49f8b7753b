//! Scenarios: what a fleet of clients does to a mirror while its upstream does what upstreams do, and what may come of it.
//!
//! A [`Scenario`] is read from TOML (`file`, `values`; those in `loadtest/scenarios` are built in), and says what images there
//! are, how the upstream behaves, the phases of clients' pulls, what happens while they last (`event`), and what is expected
//! in the end ([`Expectation`], of a [`Measure`]). A [`Stage`] is what it is played on: a mirror that is there already, or a forebay that
//! `program` starts, and the origin before it, where that is ours. `engine` plays it, `crowd` is the clients of a phase,
//! `sampler` looks on, `measures` adds up, `outcome` is what came of it as plain data, `rounds` is that of several rounds, and
//! `show` makes a report of that.

mod crowd;
mod engine;
mod event;
mod expectation;
mod file;
mod images;
mod measure;
mod measures;
mod outcome;
mod program;
mod rounds;
mod sampler;
mod show;
mod stage;
mod values;

pub use self::engine::{Live, Now, play};
pub use self::event::{Change, Condition, Event, State};
pub use self::expectation::{Expectation, Verdict};
pub use self::file::{Images, Mirror, Order, Phase, Scenario, Upstream};
pub use self::measure::Measure;
pub use self::outcome::{Outcome, PhaseOutcome, Sample};
pub use self::program::{Program, sibling};
pub use self::rounds::{PhaseRounds, Rounds, Worst};
pub use self::stage::Stage;
pub use self::values::{Like, PullQuota, Size, Time};

/// A scenario that is built in: its name, and its text.
pub struct Builtin {
    /// What it is called.
    pub name: &'static str,
    text: &'static str,
}

/// Those that are built in.
pub const BUILTIN: [Builtin; 10] = [
    builtin(
        "morning-storm",
        include_str!("../scenarios/morning-storm.toml"),
    ),
    builtin(
        "matrix-build",
        include_str!("../scenarios/matrix-build.toml"),
    ),
    builtin("deploy", include_str!("../scenarios/deploy.toml")),
    builtin("tag-churn", include_str!("../scenarios/tag-churn.toml")),
    builtin(
        "upstream-outage",
        include_str!("../scenarios/upstream-outage.toml"),
    ),
    builtin(
        "upstream-429",
        include_str!("../scenarios/upstream-429.toml"),
    ),
    builtin(
        "slow-upstream",
        include_str!("../scenarios/slow-upstream.toml"),
    ),
    builtin(
        "restart-under-load",
        include_str!("../scenarios/restart-under-load.toml"),
    ),
    builtin("lazy-pulls", include_str!("../scenarios/lazy-pulls.toml")),
    builtin("demo", include_str!("../scenarios/demo.toml")),
];

const fn builtin(name: &'static str, text: &'static str) -> Builtin {
    Builtin { name, text }
}

impl Builtin {
    /// What it says.
    ///
    /// # Panics
    /// If it is wrong, which a test looks after.
    pub fn scenario(&self) -> Scenario {
        self.text.parse().expect("what is built in is right")
    }
}

#[cfg(test)]
mod tests;
