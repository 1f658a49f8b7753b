//! The comparison with other mirrors, with this one alone: that it measures what it says. What comes of it is for a quiet
//! machine and no test.

use forebay_loadtest::compare::{Options, run};
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
