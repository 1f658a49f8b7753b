//! Scenarios as they are played on the origin itself, which is a registry like any other.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use super::*;
use crate::fleet::Place;
use crate::origin::{ImageSpec, Kind, Origin};

/// Small images, a third of whose layers are the same.
const IMAGES: &str = "[images]\ncount = 3\nlayers = 3\nshared_layers = 1\nlayer_size = \"20KB\"\n";

fn scenario(top: &str, rest: &str) -> Scenario {
    let text = format!("name = \"test\"\nabout = \"A test.\"\nhurry = 1000\n{top}\n{IMAGES}{rest}");
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

async fn outcome(scenario: &Scenario, stage: &mut Stage) -> Outcome {
    play(scenario, stage, &Live::default()).await.unwrap()
}

async fn direct(top: &str, rest: &str) -> Outcome {
    let scenario = scenario(top, rest);
    let mut stage = Stage::without_mirror(&scenario).await.unwrap();
    outcome(&scenario, &mut stage).await
}

fn assert_is(outcome: &Outcome, measure: Measure, wanted: f64) {
    assert_are(&[&outcome.measures], measure, &[wanted]);
}

/// Of several parts.
fn assert_are(measures: &[&BTreeMap<Measure, f64>], measure: Measure, wanted: &[f64]) {
    let values: Vec<_> = measures.iter().map(|it| it[&measure]).collect();
    assert_eq!(values, wanted, "{measure:?}");
}

fn broken(outcome: &Outcome) -> Vec<String> {
    outcome.broken().map(ToString::to_string).collect()
}

#[tokio::test]
async fn without_a_mirror_every_pull_costs_the_upstream_everything() {
    let top = "expect = [\"failed_pulls = 0\", \"bodies_per_blob <= 1.01\", \"bytes_saved = 0\"]";
    let phase = "[[phase]]\nname = \"all\"\nclients = { containerd = 2, dockerd = 1, podman = 1 }\n\
                 expect = [\"quota_used = 24\", \"quota_used <= 23\"]";
    let outcome = direct(top, phase).await;
    assert_is(&outcome, Measure::Pulls, 12.0);
    assert_is(&outcome, Measure::FailedPulls, 0.0);
    assert_is(&outcome, Measure::QuotaUsed, 24.0);
    // The shared layer is one blob, which each client is sent with each image.
    assert_is(&outcome, Measure::BodiesPerBlob, 12.0);
    assert_is(&outcome, Measure::BytesSaved, 0.0);
    assert_is(&outcome, Measure::RequestsSaved, 0.0);
    assert_eq!(
        broken(&outcome),
        [
            "quota_used <= 23 in `all`: 24",
            "bodies_per_blob <= 1.01: 12.000"
        ]
    );
}

#[tokio::test]
async fn phases_are_measured_each_for_itself() {
    let phases = "[[phase]]\nname = \"first\"\nclients = { containerd = 1 }\nimages = 1\n\
                  [[phase]]\nname = \"second\"\nclients = { podman = 2 }\nimages = 2\norder = \"same\"";
    let outcome = direct("", phases).await;
    let pulls: Vec<_> = outcome
        .phases
        .iter()
        .map(|phase| phase.measures[&Measure::Pulls])
        .collect();
    assert_eq!(pulls, [1.0, 4.0]);
    let [first, second] = [0, 1].map(|nth| &outcome.phases[nth].measures);
    // HEAD, index, manifest, config and three layers; a ping in place of the HEAD.
    let all = [first, second, &outcome.measures];
    assert_are(&all, Measure::Requests, &[7.0, 28.0, 35.0]);
    assert_are(&all, Measure::UpstreamRequests, &[7.0, 28.0, 35.0]);
    let [first, second, whole] = all.map(|it| it[&Measure::Bytes]);
    assert!(first > 60_000.0 && second > 4.0 * 60_000.0);
    assert!((whole - first - second).abs() < 1e-6);
    assert!(outcome.phases[1].began >= outcome.phases[0].seconds);
    assert_eq!(outcome.asked.len(), 35);
}

#[tokio::test]
async fn a_spent_quota_fails_pulls_and_says_why() {
    let phase = "[upstream]\nquota = \"3/1h\"\n[[phase]]\nname = \"all\"\nclients = { containerd = 1 }\n\
                 expect = [\"failed_pulls = 0\", \"refusals = 0\"]";
    let outcome = direct("", phase).await;
    assert_is(&outcome, Measure::FailedPulls, 2.0);
    assert_is(&outcome, Measure::QuotaUsed, 3.0);
    // Each of the two asked for six times.
    assert_is(&outcome, Measure::Refusals, 12.0);
    assert_is(&outcome, Measure::UpstreamRefusals, 12.0);
    assert_eq!(broken(&outcome).len(), 2);
    assert_eq!(outcome.failures.len(), 2);
    assert!(
        outcome.failures[0].contains("429"),
        "{:?}",
        outcome.failures
    );
    let left = outcome.samples.last().unwrap().upstream.unwrap().quota_left;
    assert_eq!(left, Some(0));
}

#[tokio::test]
async fn tags_move_and_who_has_the_old_image_then_is_stale() {
    let phases = "[[phase]]\nname = \"before\"\nclients = { containerd = 1 }\n\
                  [[phase]]\nname = \"after\"\nclients = { containerd = 1 }\nevents = [{ move_tags = 2 }]";
    let scenario = scenario("", phases);
    let mut stage = Stage::without_mirror(&scenario).await.unwrap();
    let origin = std::sync::Arc::clone(&stage.upstream.as_ref().unwrap().origin);
    let roots = || [0, 1, 2].map(|number| origin.image(&format!("library/image-{number}"), "v1"));
    let old = roots();
    let outcome = outcome(&scenario, &mut stage).await;
    let new = roots();
    let moved: Vec<_> = (0..3).map(|nth| old[nth].root != new[nth].root).collect();
    assert_eq!(moved, [true, true, false]);
    let layers = |nth: usize| [&old, &new].map(|it| it[nth].linux("amd64").layers.clone());
    let [before, after] = layers(0);
    assert_eq!(before[..2], after[..2]);
    assert_ne!(before[2], after[2]);
    assert_is(&outcome, Measure::StalePulls, 0.0);

    // A mirror of the first images, which never asks again.
    let mirror = Origin::builder().start().await.unwrap();
    let behind = "[[phase]]\nname = \"behind\"\nclients = { podman = 2 }\nimages = 1\norder = \"same\"\n\
                  expect = [\"stale_pulls = 0\"]";
    let outcome = before_a_mirror(&mirror, behind).await;
    assert_is(&outcome, Measure::StalePulls, 2.0);
    assert_eq!(broken(&outcome), ["stale_pulls = 0 in `behind`: 2"]);
}

/// Plays it on a mirror whose upstream is the built-in origin, as far as anybody knows.
async fn before_a_mirror(mirror: &Origin, rest: &str) -> Outcome {
    let scenario = scenario("", rest);
    let place = Place::mirror(mirror.host().parse().unwrap());
    let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let pid = Some(std::process::id());
    let stage = Stage::with_mirror(&scenario, place, Some(anywhere), pid).await;
    let mut stage = stage.unwrap();
    for name in names(&stage) {
        mirror.edit(&name, |repository| {
            repository.multi_arch_image("v1", &ImageSpec::default())
        });
    }
    outcome(&scenario, &mut stage).await
}

/// The repositories of a stage's images.
fn names(stage: &Stage) -> Vec<String> {
    let images = stage.upstream.as_ref().unwrap().gallery.references();
    let names = images.iter().map(|image| image.repository().to_owned());
    names.collect()
}

/// What one run has left in it would be the next one's, and nothing cold.
#[tokio::test]
async fn runs_on_a_mirror_that_was_there_have_no_image_in_common() {
    let scenario = scenario(
        "",
        "[[phase]]\nname = \"all\"\nclients = { containerd = 1 }",
    );
    let mut seen = HashSet::new();
    for _ in 0..2 {
        let place = Place::mirror("127.0.0.1:9".parse().unwrap());
        let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let stage = Stage::with_mirror(&scenario, place, Some(anywhere), None).await;
        let stage = stage.unwrap();
        let origin = &stage.upstream.as_ref().unwrap().origin;
        for name in names(&stage) {
            let image = origin.image(&name, "v1");
            assert!(seen.insert(image.root.digest.to_string()), "{name}");
            let uppermost = image.linux("amd64").layers.last().unwrap();
            assert!(seen.insert(uppermost.digest.to_string()), "{name}");
            assert!(seen.insert(name));
        }
    }
}

/// A mirror that was there pulls from one address in every round.
#[tokio::test]
async fn where_the_origin_of_a_round_listened_that_of_the_next_one_can() {
    let scenario = scenario(
        "",
        "[[phase]]\nname = \"all\"\nclients = { containerd = 1 }",
    );
    let mut listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for _ in 0..3 {
        let place = Place::mirror("127.0.0.1:9".parse().unwrap());
        let stage = Stage::with_mirror(&scenario, place, Some(listen), None).await;
        let mut stage = stage.unwrap();
        let origin = &stage.upstream.as_ref().unwrap().origin;
        listen = origin.host().parse().unwrap();
        outcome(&scenario, &mut stage).await;
        stage.end().await.unwrap();
    }
}

#[tokio::test]
async fn an_upstream_that_is_away_fails_pulls_until_it_is_back() {
    let phases = "[[phase]]\nname = \"down\"\nclients = { containerd = 1 }\nevents = [{ upstream = { state = \"down\" } }]\n\
                  [[phase]]\nname = \"fails\"\nclients = { containerd = 1 }\nevents = [{ upstream = { state = \"fails\" } }]\n\
                  [[phase]]\nname = \"refuses\"\nclients = { podman = 1 }\nimages = 1\nattempts = 2\n\
                  events = [{ upstream = { state = \"refuses\" } }]\n\
                  [[phase]]\nname = \"back\"\nclients = { podman = 1 }\n\
                  events = [{ upstream = {} }, { after = 1, upstream = { delay = \"1ms\", throttle = \"9MB\" } }]";
    let outcome = direct("", phases).await;
    let of = |measure| {
        let values = outcome.phases.iter().map(|phase| phase.measures[&measure]);
        values.collect::<Vec<_>>()
    };
    assert_eq!(of(Measure::FailedPulls), [3.0, 3.0, 1.0, 0.0]);
    assert_eq!(of(Measure::Errors), [0.0, 3.0, 0.0, 0.0]);
    // The ping is refused each time that the pull is tried.
    assert_eq!(of(Measure::Refusals), [0.0, 0.0, 2.0, 0.0]);
    assert!(of(Measure::UpstreamRequests)[0].abs() < 1e-6);
}

#[tokio::test]
async fn clients_that_may_go_around_the_mirror_do_where_it_fails_them() {
    let mirror = Origin::builder().start().await.unwrap();
    let phase = "[[phase]]\nname = \"all\"\nclients = { containerd = 1, dockerd = 1, podman = 1, lazy = 1 }\nimages = 1";
    for (top, failed, around) in [("around = true", 0.0, 4.0), ("", 4.0, 0.0)] {
        let scenario = scenario(top, phase);
        let place = Place::mirror(mirror.host().parse().unwrap());
        let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let stage = Stage::with_mirror(&scenario, place, Some(anywhere), None).await;
        let outcome = outcome(&scenario, &mut stage.unwrap()).await;
        assert_is(&outcome, Measure::FailedPulls, failed);
        assert_is(&outcome, Measure::PullsAround, around);
        assert!(!outcome.measures.contains_key(&Measure::MemoryMax));
    }
    assert!(mirror.counts().requests(Kind::ManifestHead) > 0);
}

#[tokio::test]
async fn what_can_not_be_seen_of_a_mirror_that_was_there_is_told_as_not_looked_at() {
    let registry = Origin::builder().repository("team/app", |repository| {
        repository.multi_arch_image("v2", &ImageSpec::default())
    });
    let registry = registry.start().await.unwrap();
    let phase = "[[phase]]\nname = \"all\"\nclients = { containerd = 1, podman = 1 }\n";
    let text = format!(
        "name = \"theirs\"\nabout = \"x\"\nexpect = [\"failed_pulls = 0\", \"quota_used <= 1\", \"memory_max >= 1KB\"]\n\
         [images]\nnamed = [\"team/app:v2\"]\n{phase}"
    );
    let scenario: Scenario = text.parse().unwrap();
    let place = || Place::mirror(registry.host().parse().unwrap());
    let pid = Some(std::process::id());
    let stage = Stage::with_mirror(&scenario, place(), None, pid).await;
    let outcome = outcome(&scenario, &mut stage.unwrap()).await;
    assert!(broken(&outcome).is_empty(), "{:?}", outcome.failures);
    let unseen: Vec<_> = outcome
        .verdicts
        .iter()
        .filter(|verdict| verdict.value.is_none())
        .map(|verdict| verdict.expected.to_string())
        .collect();
    assert_eq!(unseen, ["quota_used <= 1"]);
    assert!(!outcome.measures.contains_key(&Measure::UpstreamRequests));
    let html = outcome.report().html();
    assert!(html.contains("not looked at") && !html.contains("What was saved"));
}

#[tokio::test]
async fn what_a_stage_can_not_do_is_told_before_anything_is_played() {
    let registry = Origin::builder().start().await.unwrap();
    let place = || Place::mirror(registry.host().parse().unwrap());
    let anywhere: Option<SocketAddr> = Some("127.0.0.1:0".parse().unwrap());
    let phase = |events: &str| {
        format!("[[phase]]\nname = \"x\"\nclients = {{ lazy = 1 }}\nevents = [{events}]")
    };
    for (events, upstream, told) in [
        ("{ mirror = \"killed\" }", anywhere, "leave --target out"),
        ("{ move_tags = 1 }", None, "--upstream-is"),
        ("{ upstream = {} }", None, "--upstream-is"),
        ("{ rest = \"1ms\" }", None, "--image"),
    ] {
        let scenario = scenario("", &phase(events));
        let stage = Stage::with_mirror(&scenario, place(), upstream, None).await;
        let error = stage.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    let scenario = scenario("", &phase("{ mirror = \"restarted\" }"));
    let error = Stage::without_mirror(&scenario).await.unwrap_err();
    assert!(error.to_string().contains("leave --direct out"), "{error}");
}

#[tokio::test]
async fn what_came_of_it_is_told_as_json_and_as_a_report() {
    let phase = "[upstream]\nquota = \"9/1h\"\n[[phase]]\nname = \"a <b>\"\nclients = { lazy = 1 }\n\
                 expect = [\"pulls = 2\"]";
    let outcome = direct("", phase).await;
    let json = serde_json::to_value(&outcome).unwrap();
    assert_eq!(json["scenario"], "test");
    assert_eq!(json["phases"][0]["measures"]["pulls"], 3.0);
    assert_eq!(json["verdicts"][0]["expected"], "pulls = 2");
    assert_eq!(json["verdicts"][0]["value"], 3.0);
    assert_eq!(json["verdicts"][0]["phase"], "a <b>");
    assert!(
        json["samples"]
            .as_array()
            .is_some_and(|samples| !samples.is_empty())
    );
    let html = outcome.report().html();
    for part in [
        "What was saved",
        "FAIL",
        "pulls left",
        "First byte",
        "a &lt;b&gt;",
    ] {
        assert!(html.contains(part), "{part}");
    }
}
