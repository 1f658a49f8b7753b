//! The comparison with other mirrors, figures with this one alone: that it measures what it says. What comes of it is for a
//! quiet machine and no test.

use std::sync::Mutex;

use forebay_loadtest::compare::{Comparison, Options, Progress, run};
use forebay_loadtest::peers::Peer;

use crate::harness::{PROGRAM, heavy};

#[test]
fn comparison_measures_the_mirror_that_it_starts_and_reports_it() {
    heavy();
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        figures: [
            "hits",
            "hits-tls",
            "manifests-logged",
            "herd-32",
            "paced",
            "idle",
        ]
        .map(str::to_owned)
        .to_vec(),
        scenarios: Vec::new(),
        peers: vec![(Peer::Forebay, PROGRAM.into())],
        rounds: 1,
        quick: true,
        dir: dir.path().to_owned(),
    };
    let comparison = run(&options, &|_| ()).unwrap();
    let problems: Vec<_> = comparison
        .outcomes
        .iter()
        .flat_map(|it| &it.problems)
        .collect();
    assert!(problems.is_empty(), "{problems:?}");
    let median = |figure: &str, side: &str, value: &str| {
        let outcome = comparison.outcomes.iter().find(|it| it.name == figure);
        let samples = outcome.unwrap().value(side, value);
        samples
            .unwrap_or_else(|| panic!("{figure}: {side} has no {value}"))
            .spread
            .median
    };
    for figure in ["hits", "hits-tls", "manifests-logged"] {
        assert!(median(figure, "forebay", "by the clock") > 0.0, "{figure}");
    }
    let bodies = median("herd-32", "forebay", "upstream bodies");
    assert!((bodies - 1.0).abs() < 1e-6, "{bodies}");
    for side in ["forebay", "direct"] {
        let bodies = median("paced", side, "upstream bodies");
        assert!((bodies - 1.0).abs() < 1e-6, "{side}: {bodies}");
    }
    assert!(median("idle", "forebay", "resident") > 0.0);

    let report = comparison.report();
    let titles: Vec<_> = report.sections.iter().map(|it| it.title.as_str()).collect();
    // What was expected before them, and how all were set up after them.
    assert_eq!(titles.len(), 2 + options.figures.len(), "{titles:?}");
    assert!(report.html().contains("read_quota = false"), "no settings");
    assert!(report.html().contains("first byte"));
    assert!(
        dir.path().read_dir().unwrap().next().is_none(),
        "something is left"
    );
}

fn value(comparison: &Comparison, side: &str, name: &str) -> Vec<f64> {
    let samples = comparison.scenarios[0].value(side, name);
    let samples = samples.unwrap_or_else(|| panic!("{side} has no {name}"));
    samples.samples.clone()
}

#[test]
fn comparison_plays_a_scenario_before_each_peer_that_is_installed_and_without_one() {
    heavy();
    let dir = tempfile::tempdir().unwrap();
    let others = [Peer::Nginx, Peer::DockerRegistry].into_iter();
    let others = others.filter_map(|peer| Some((peer, peer.program()?)));
    let peers: Vec<_> = [(Peer::Forebay, PROGRAM.into())]
        .into_iter()
        .chain(others)
        .collect();
    let options = Options {
        figures: Vec::new(),
        scenarios: vec!["deploy".to_owned()],
        peers: peers.clone(),
        rounds: 2,
        quick: true,
        dir: dir.path().to_owned(),
    };
    let turns = Mutex::new(Vec::new());
    let told = |progress: Progress<'_>| {
        if let Progress::Begins { done, of, what } = progress {
            turns.lock().unwrap().push(format!("{done}/{of} {what}"));
        }
    };
    let comparison = run(&options, &told).unwrap();
    assert_eq!(comparison.failures(), [""; 0]);
    assert!(comparison.outcomes.is_empty());
    let (turns, of) = (turns.into_inner().unwrap(), 2 * (peers.len() + 1));
    assert_eq!(turns.len(), of, "{turns:?}");
    assert_eq!(turns[0], format!("0/{of} deploy, round 1, direct"));
    // Who was first is last in the round after.
    let second = format!("{}/{of} deploy, round 2, forebay", of / 2);
    assert_eq!(turns[of / 2], second);
    let last = format!("{}/{of} deploy, round 2, direct", of - 1);
    assert_eq!(turns[of - 1], last);

    let outcome = &comparison.scenarios[0];
    assert_eq!(outcome.checks.len(), 5, "{:?}", outcome.checks);
    assert_eq!(outcome.sides.len(), peers.len() + 1);
    for (peer, _) in peers {
        // 50 clients pull one image at once. docker-registry has it come for each of them.
        let wanted = match peer {
            Peer::DockerRegistry => f64::NEG_INFINITY,
            _ => 90.0,
        };
        let saved = value(&comparison, peer.name(), "bytes_saved");
        assert_eq!(saved.len(), 2, "{peer}");
        let is_so = |it: &f64| (wanted..=100.0).contains(it);
        assert!(saved.iter().all(is_so), "{peer}: {saved:?}");
        assert_eq!(value(&comparison, peer.name(), "pulls"), [50.0; 2]);
        assert!(value(&comparison, peer.name(), "memory_max")[0] > 1e6);
    }
    // A client that had to ask again has got a little twice.
    let saved = value(&comparison, "direct", "bytes_saved");
    assert!(saved.iter().all(|it| it.abs() < 5.0), "{saved:?}");
    assert!(
        comparison.scenarios[0]
            .value("direct", "memory_max")
            .is_none()
    );
    let html = comparison.report().html();
    for part in [
        "Requests to the upstream",
        "First byte",
        "quota_used &lt;= 2",
    ] {
        assert!(html.contains(part), "{part}");
    }
    let left = dir.path().read_dir().unwrap().count();
    assert_eq!(left, 0, "something is left");
}
