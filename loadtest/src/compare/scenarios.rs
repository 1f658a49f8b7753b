//! Scenarios, played with the same clients and content before each side.
//!
//! What a scenario expects is expected of forebay; the others are measured alone. The clients and the origin have their
//! processor, and a mirror has its own, as with figures.

use std::io;

use tokio::runtime::Runtime;

use super::Options;
use super::figure::{Measured, Who};
use super::outcome::{Check, Outcome};
use crate::measure::Cores;
use crate::peers::Peer;
use crate::report::Unit;
use crate::scenario::{
    self, BUILTIN, Change, Like, Live, Measure, Rounds, Scenario, Stage, Worst, play,
};

/// Those that are played where none are named. What is left out: `restart-under-load`, which is of one mirror's restarts and
/// nothing without one, and `demo`, in which there is nothing that these have not.
const CHOSEN: [&str; 8] = [
    "morning-storm",
    "matrix-build",
    "deploy",
    "tag-churn",
    "upstream-outage",
    "upstream-429",
    "slow-upstream",
    "lazy-pulls",
];

/// How often each is played. Where none are named that is once: a round of the usual ones took thirteen minutes on two processors
/// that had other things to do, of which five were docker-registry's.
pub(super) fn rounds(options: &Options) -> usize {
    if options.scenarios.is_empty() {
        return 1;
    }
    options.rounds.max(1)
}

/// What is told of each side, in this order.
const TOLD: [Measure; 20] = [
    Measure::Pulls,
    Measure::FailedPulls,
    Measure::StalePulls,
    Measure::PullP50,
    Measure::PullP99,
    Measure::FirstByteP50,
    Measure::FirstByteP99,
    Measure::FirstByteMax,
    Measure::Requests,
    Measure::Refusals,
    Measure::Errors,
    Measure::CutBodies,
    Measure::UpstreamRequests,
    Measure::UpstreamBytes,
    Measure::UpstreamRefusals,
    Measure::QuotaUsed,
    Measure::BodiesPerBlob,
    Measure::BodiesOnAverage,
    Measure::BytesSaved,
    Measure::MemoryMax,
];

/// What is told of a turn that is over.
const IN_SHORT: [Measure; 4] = [
    Measure::FailedPulls,
    Measure::StalePulls,
    Measure::PullP50,
    Measure::PullP99,
];

/// Sizes and clients of a quick comparison are divided by this.
const SHRUNK: u32 = 10;

/// A scenario that is to be played.
pub(super) struct Play<'a> {
    options: &'a Options,
    cores: Cores,
    pub(super) scenario: Scenario,
    /// What came of forebay's rounds.
    own: Vec<scenario::Outcome>,
    pub(super) outcome: Outcome,
}

/// What is not the same for all sides.
fn upstreams(scenario: &Scenario) -> String {
    let like = scenario.upstream.like.map(|Like(profile)| profile.name);
    let like = like.map_or_else(
        || "wants tokens".to_owned(),
        |name| format!("has the logins and redirects of {name}"),
    );
    format!(
        "The upstream {like} where a mirror deals with that by itself, as forebay and docker-registry do, for whom that is more \
         requests; it is open for nginx and for clients without a mirror, and sends all by itself. Content, quota, delays and \
         rates are the same. Without a mirror it does its work on the clients' processor. Curves are of the last round."
    )
}

/// Those with these names.
pub(super) fn chosen(names: &[String]) -> io::Result<Vec<Scenario>> {
    let find = |name: &String| {
        let known = BUILTIN.iter().find(|builtin| builtin.name == name);
        known.map(scenario::Builtin::scenario).ok_or_else(|| {
            let known = BUILTIN.each_ref().map(|builtin| builtin.name).join(", ");
            let told = format!("no scenario is called {name}: choose from {known}");
            io::Error::new(io::ErrorKind::InvalidInput, told)
        })
    };
    names.iter().map(find).collect()
}

/// The names of those that are played where none are named.
pub(super) fn usual() -> Vec<String> {
    CHOSEN.map(str::to_owned).to_vec()
}

impl<'a> Play<'a> {
    pub(super) fn of(scenario: Scenario, options: &'a Options, cores: Cores) -> Self {
        let scenario = if options.quick {
            scenario.shrunk(SHRUNK)
        } else {
            scenario
        };
        let title = format!("Scenario {}", scenario.name);
        let text = format!("{} {}", scenario.about, upstreams(&scenario));
        Self {
            options,
            cores,
            own: Vec::new(),
            outcome: Outcome::new(&scenario.name, &title, &text),
            scenario,
        }
    }

    /// Who is measured in a round, in turn. What restarts the mirror needs one.
    pub(super) fn sides(&self) -> Vec<Who> {
        let restarts = |change| matches!(change, Change::Restart | Change::Kill);
        let direct = !self.scenario.changes().any(restarts);
        let peers = self.options.peers.iter().map(|(peer, _)| *peer);
        let peers = peers.filter(|peer| *peer != Peer::NginxSendfile);
        let direct = direct.then_some(Who::Direct);
        direct.into_iter().chain(peers.map(Who::Peer)).collect()
    }

    /// Plays it once, and gives what came of it in short. The thread that calls has the clients' processor.
    pub(super) fn round(&mut self, who: Who) -> io::Result<String> {
        // What runs already may have another processor.
        let outcome = Runtime::new()?.block_on(self.played(who))?;
        let told = values(&outcome, &IN_SHORT).to_string();
        self.outcome.take(who, measured(&outcome));
        if let Some(first) = outcome.failures.first() {
            let of = format!("{who}: ");
            let is_told = |it: &String| it.starts_with(&of);
            if !self.outcome.failures.iter().any(is_told) {
                self.outcome.failures.push(of + first);
            }
        }
        if who == Who::Peer(Peer::Forebay) {
            self.own.push(outcome);
        }
        Ok(told)
    }

    async fn played(&self, who: Who) -> io::Result<scenario::Outcome> {
        let mut stage = self.stage(who).await?;
        let outcome = play(&self.scenario, &mut stage, &Live::default()).await;
        let ended = stage.end().await;
        let outcome = outcome?;
        ended?;
        Ok(outcome)
    }

    async fn stage(&self, who: Who) -> io::Result<Stage> {
        let Who::Peer(peer) = who else {
            return Stage::without_mirror(&self.scenario).await;
        };
        let known = self.options.peers.iter().find(|(it, _)| *it == peer);
        let (_, program) = known.ok_or_else(|| io::Error::other(format!("no {peer}")))?;
        let (core, dir) = (self.cores.server, &self.options.dir);
        Stage::with_peer(&self.scenario, peer, program, core, dir).await
    }

    /// All that came of it.
    pub(super) fn done(mut self) -> Outcome {
        if !self.own.is_empty() {
            let rounds = Rounds::of(self.own);
            self.outcome.checks = rounds.verdicts.iter().map(check).collect();
        }
        self.outcome
    }
}

fn values(outcome: &scenario::Outcome, wanted: &[Measure]) -> Measured {
    let mut measured = Measured::default();
    for measure in wanted {
        if let Some(&value) = outcome.measures.get(measure) {
            measured = measured.with(measure.name(), measure.unit(), value);
        }
    }
    measured
}

fn measured(outcome: &scenario::Outcome) -> Measured {
    let mut measured = values(outcome, &TOLD);
    measured = measured.with("seconds", Unit::Seconds, outcome.seconds);
    measured.first_bytes = outcome.first_bytes();
    measured.upstream = outcome.upstream_requests();
    measured
}

fn check(worst: &Worst) -> Check {
    let verdict = &worst.verdict;
    let of = verdict.phase.as_ref();
    let of = of.map_or_else(String::new, |phase| format!(" in `{phase}`"));
    let told = verdict.value.map_or_else(
        || "not looked at".to_owned(),
        |value| {
            let shown = verdict.expected.measure.shown(value);
            format!("{shown}, in round {}", worst.round)
        },
    );
    Check {
        expected: format!("{}{of}", verdict.expected),
        is: verdict.value,
        told,
        passed: worst.broken_in == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(quick: bool) -> Options {
        let peers = Peer::ALL.map(|peer| (peer, "program".into()));
        Options {
            figures: Vec::new(),
            scenarios: Vec::new(),
            peers: peers.into(),
            rounds: 1,
            quick,
            dir: "/nowhere".into(),
        }
    }

    #[test]
    fn those_that_are_named_are_played_in_every_round() {
        let mut options = options(false);
        options.rounds = 3;
        assert_eq!(rounds(&options), 1);
        options.scenarios = vec!["deploy".to_owned()];
        assert_eq!(rounds(&options), 3);
    }

    fn sides(name: &str) -> Vec<String> {
        let options = options(false);
        let cores = Cores {
            server: 0,
            client: 0,
        };
        let scenario = chosen(&[name.to_owned()]).unwrap().remove(0);
        let sides = Play::of(scenario, &options, cores).sides();
        sides.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_is_played_before_every_side_and_without_a_mirror_where_none_is_restarted() {
        let peers = ["forebay", "nginx", "docker-registry"];
        assert_eq!(sides("deploy"), [&["direct"], &peers[..]].concat());
        assert_eq!(sides("restart-under-load"), peers);
    }

    #[test]
    fn what_is_usual_is_built_in_and_needs_no_restart() {
        for scenario in chosen(&usual()).unwrap() {
            let name = &scenario.name;
            assert!(sides(name).contains(&"direct".to_owned()), "{name}");
        }
        let error = chosen(&["deplay".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("deplay") && error.contains("deploy, "));
    }

    #[test]
    fn what_is_expected_is_told_of_the_worst_round() {
        let verdict = |value| scenario::Verdict {
            expected: "failed_pulls = 0".parse().unwrap(),
            phase: Some("cold".to_owned()),
            value,
        };
        let worst = |value, broken_in| Worst {
            verdict: verdict(value),
            round: 2,
            broken_in,
        };
        let failed = check(&worst(Some(3.0), 1));
        let told = "failed_pulls = 0 in `cold`: it is 3, in round 2";
        assert_eq!((failed.to_string().as_str(), failed.passed), (told, false));
        let unseen = check(&worst(None, 0));
        assert_eq!((unseen.is, unseen.passed), (None, true));
    }
}
