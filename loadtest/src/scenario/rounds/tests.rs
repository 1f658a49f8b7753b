//! What is made of several rounds.

use super::*;
use crate::scenario::PhaseOutcome;

/// A round that took so long, with one failed pull for each of `failed`, and this `pull_p50`.
fn round(seconds: f64, failed: f64, expect: &[&str]) -> Outcome {
    let measures = BTreeMap::from([
        (Measure::FailedPulls, failed),
        (Measure::PullP50, seconds / 10.0),
    ]);
    let verdict = |text: &&str| {
        let expected: Expectation = text.parse().unwrap();
        Verdict {
            value: measures.get(&expected.measure).copied(),
            phase: None,
            expected,
        }
    };
    Outcome {
        scenario: "test".to_owned(),
        about: "A test.".to_owned(),
        stage: vec![("mirror".to_owned(), format!("of {seconds}"))],
        seconds,
        phases: vec![PhaseOutcome {
            name: "all".to_owned(),
            began: 0.0,
            seconds: seconds / 2.0,
            measures: measures.clone(),
        }],
        verdicts: expect.iter().map(verdict).collect(),
        measures,
        failures: (0..2)
            .filter(|_| failed > 0.0)
            .map(|_| "no".to_owned())
            .collect(),
        samples: Vec::new(),
        asked: Vec::new(),
    }
}

const NONE_FAILED: &str = "failed_pulls = 0";

#[test]
fn measures_are_told_by_their_median_and_their_ends() {
    let rounds = [30.0, 10.0, 20.0].map(|seconds| round(seconds, 0.0, &[]));
    let rounds = Rounds::of(rounds.into());
    let of = |median, min, max| Spread { median, min, max };
    assert_eq!(rounds.seconds, of(20.0, 10.0, 30.0));
    assert_eq!(rounds.measures[&Measure::PullP50], of(2.0, 1.0, 3.0));
    assert_eq!(rounds.phases[0].seconds, of(10.0, 5.0, 15.0));
    let phase = &rounds.phases[0].measures;
    assert_eq!(phase[&Measure::PullP50], of(2.0, 1.0, 3.0));
    assert!(!rounds.measures.contains_key(&Measure::UpstreamBytes));
    let html = rounds.report().html();
    assert!(html.contains("2 s (1 s to 3 s)"), "{html}");
}

#[test]
fn one_round_in_which_it_does_not_hold_breaks_an_expectation_and_is_named() {
    let expect = [NONE_FAILED, "pull_p50 <= 10s"];
    let rounds = [0.0, 0.0, 3.0, 1.0].map(|failed| round(20.0, failed, &expect));
    let rounds = Rounds::of(rounds.into());
    let broken: Vec<_> = rounds.broken().collect();
    assert_eq!(broken.len(), 1);
    assert_eq!((broken[0].round, broken[0].broken_in), (3, 2));
    assert_eq!(broken[0].to_string(), "failed_pulls = 0: 3 in round 3");
    let html = rounds.report().html();
    assert!(html.contains("<td>FAIL</td><td>failed_pulls = 0</td>"));
    let told = "<td>ok</td><td>pull_p50 &lt;= 10s</td><td>the run</td><td>2 s</td><td>1</td>";
    assert!(html.contains(told), "{html}");
    assert_eq!(html.matches("<td>no</td>").count(), 4);
}

#[test]
fn the_worst_round_is_the_one_farthest_from_what_is_expected() {
    let expect = ["pull_p50 <= 2s", "pull_p50 >= 2s", "pull_p50 = 2s"];
    let expect = expect.map(|text| text.replace("2s", "2000ms"));
    let expect: Vec<_> = expect.iter().map(String::as_str).collect();
    let rounds = [19.0, 10.0, 27.0].map(|seconds| round(seconds, 0.0, &expect));
    let rounds = Rounds::of(rounds.into());
    let worst: Vec<_> = rounds.verdicts.iter().map(|it| it.round).collect();
    assert_eq!(worst, [3, 2, 2]);
}

#[test]
fn what_no_round_could_see_is_told_so_and_breaks_nothing() {
    let rounds = [1.0, 2.0].map(|seconds| round(seconds, 0.0, &["quota_used = 0"]));
    let rounds = Rounds::of(rounds.into());
    assert_eq!(rounds.broken().count(), 0);
    let html = rounds.report().html();
    assert!(html.contains("<td>not looked at</td>"), "{html}");
}

#[test]
fn pictures_are_of_the_round_whose_time_is_the_median() {
    for (seconds, shown) in [
        (&[30.0, 10.0, 20.0][..], 3),
        (&[40.0, 10.0, 20.0, 30.0], 3),
        (&[7.0], 1),
    ] {
        let rounds = seconds.iter().map(|&seconds| round(seconds, 0.0, &[]));
        let rounds = Rounds::of(rounds.collect());
        assert_eq!(rounds.shown(), shown);
        let mirror = ("mirror".to_owned(), format!("of {}", seconds[shown - 1]));
        assert!(rounds.report().about.contains(&mirror));
    }
}

#[test]
fn json_has_the_spreads_and_all_rounds() {
    let rounds = [1.0, 3.0].map(|seconds| round(seconds, 0.0, &[NONE_FAILED]));
    let json = serde_json::to_value(Rounds::of(rounds.into())).unwrap();
    assert_eq!(json["measures"]["pull_p50"]["median"], 0.2);
    assert_eq!(json["phases"][0]["seconds"]["max"], 1.5);
    assert_eq!(json["verdicts"][0]["expected"], NONE_FAILED);
    assert_eq!(json["verdicts"][0]["value"], 0.0);
    assert_eq!(json["verdicts"][0]["round"], 1);
    assert_eq!(json["rounds"][1]["seconds"], 3.0);
}
