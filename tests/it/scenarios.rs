//! Scenarios of the load test, small ones, played on the real process: it does what they expect, and they see that it does.

use std::path::Path;

use forebay_loadtest::measure::Cores;
use forebay_loadtest::peers::Peer;
use forebay_loadtest::scenario::{Live, Measure, Outcome, Scenario, Stage, play};

use crate::harness::{PROGRAM, heavy};

/// All clients, cold and warm, with an upstream that is never too slow for a busy machine.
const STORM: &str = r#"
name = "small-storm"
about = "Every client, cold and warm."
hurry = 50
expect = [
  "failed_pulls = 0",
  "refusals = 0",
  "errors = 0",
  "cut_bodies = 0",
  "bodies_per_blob <= 1.01",
  "quota_used = 6",
  "memory_max >= 1MB",
]

[images]
count = 3
layers = 3
shared_layers = 1
layer_size = "200KB"

[upstream]
quota = "100/6h"

[mirror]
config = '''
[timeouts]
connect = "1m"
first_byte = "1m"
body_idle = "1m"
'''

[[phase]]
name = "cold"
clients = { containerd = 6, dockerd = 4, podman = 4, lazy = 4 }

[[phase]]
name = "warm"
clients = { containerd = 6, dockerd = 4, podman = 4, lazy = 4 }
expect = ["upstream_bytes = 0", "quota_used = 0"]
"#;

/// A mirror that is restarted while its upstream is away, and killed while that is back.
const TROUBLES: &str = r#"
name = "small-troubles"
about = "Restarts and an outage."
hurry = 100
expect = ["failed_pulls = 0", "refusals = 0", "bodies_on_average <= 1.01"]

[images]
count = 3
layer_size = "200KB"

[mirror]
config = '''
[tags]
fresh_for = "1h"
'''

[[phase]]
name = "before"
clients = { containerd = 3 }

[[phase]]
name = "away"
clients = { containerd = 3, podman = 3 }
attempts = 30
events = [{ upstream = { state = "down" } }, { mirror = "restarted" }]
expect = ["upstream_requests = 0", "errors = 0"]

[[phase]]
name = "killed"
clients = { containerd = 6 }
attempts = 30
events = [{ upstream = {} }, { after = 4, mirror = "killed" }]
"#;

async fn played(text: &str) -> Outcome {
    let scenario: Scenario = text.parse().unwrap();
    let stage = Stage::with_program(&scenario, Path::new(PROGRAM), None).await;
    played_on(stage.unwrap(), &scenario).await
}

async fn played_on(mut stage: Stage, scenario: &Scenario) -> Outcome {
    let outcome = play(scenario, &mut stage, &Live::default()).await;
    stage.end().await.unwrap();
    outcome.unwrap()
}

/// Everything was looked at, and is as expected.
fn assert_held(outcome: &Outcome) {
    for verdict in &outcome.verdicts {
        assert!(verdict.value.is_some(), "{verdict}");
        assert!(!verdict.is_broken(), "{verdict}; {:?}", outcome.failures);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_pulls_through_the_mirror_at_the_cost_of_one_body_a_blob() {
    heavy();
    let outcome = played(STORM).await;
    assert_held(&outcome);
    assert!((outcome.measures[&Measure::Pulls] - 108.0).abs() < 1e-6);
    let last = outcome.samples.last().unwrap();
    assert_eq!(last.upstream.unwrap().quota_left, Some(94));
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_come_through_an_outage_and_restarts_at_the_cost_of_one_body_a_blob() {
    heavy();
    assert_held(&played(TROUBLES).await);
}

/// As it is played where mirrors are compared.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_among_others_has_the_scenarios_configuration_and_is_restarted_too() {
    heavy();
    let scenario: Scenario = TROUBLES.parse().unwrap();
    let (dir, core) = (tempfile::tempdir().unwrap(), Cores::first().unwrap().server);
    let program = Path::new(PROGRAM);
    let stage = Stage::with_peer(&scenario, Peer::Forebay, program, core, dir.path()).await;
    assert_held(&played_on(stage.unwrap(), &scenario).await);
    let left = dir.path().read_dir().unwrap().count();
    assert_eq!(left, 0, "something is left");
}

const README: &str = include_str!("../../loadtest/README.md");

#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_scenario_goes_as_it_expects() {
    heavy();
    let (_, sample) = README.split_once("```toml\n").unwrap();
    let (sample, _) = sample.split_once("```").unwrap();
    assert_held(&played(sample).await);
}
