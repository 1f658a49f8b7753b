//! What is read of a scenario's file, and what is told of a wrong one.

use std::time::Duration;

use super::*;

const SMALL: &str = r#"
name = "small"
about = "A small one."

[[phase]]
name = "pull"
clients = { containerd = 2, podman = 1 }
"#;

fn told(text: &str) -> String {
    let text = format!("{SMALL}{text}");
    text.parse::<Scenario>().unwrap_err()
}

#[test]
fn every_scenario_that_is_built_in_is_right_and_called_by_its_name() {
    for builtin in &BUILTIN {
        let scenario = builtin.scenario();
        assert_eq!(scenario.name, builtin.name);
        let phases = &scenario.phases;
        let expected: usize = phases.iter().map(|phase| phase.expect.len()).sum();
        assert!(expected + scenario.expect.len() > 0, "{}", scenario.name);
        assert!(
            scenario
                .expect
                .iter()
                .any(|it| it.to_string() == "failed_pulls = 0")
        );
    }
}

#[test]
fn what_is_not_said_is_small_and_at_once() {
    let scenario: Scenario = SMALL.parse().unwrap();
    assert_eq!((scenario.image_count(), scenario.hurry), (1, 1));
    let phase = &scenario.phases[0];
    assert_eq!((phase.count(), phase.pulls(1), phase.attempts), (3, 3, 1));
    assert_eq!(phase.start_within, Time::default());
    assert!(!scenario.around);
}

#[test]
fn events_say_what_happens_and_when() {
    let text = format!(
        "{SMALL}events = [{{ rest = \"2s\" }}, {{ after = 1, move_tags = 1 }}, {{ after = 2, mirror = \"killed\" }}, \
         {{ after = 3, upstream = {{ state = \"down\", delay = \"1s\" }} }}]"
    );
    let scenario: Scenario = text.parse().unwrap();
    let changes: Vec<_> = scenario.changes().collect();
    let down = Condition {
        state: State::Down,
        delay: Some(Time(Duration::from_secs(1))),
        ..Condition::default()
    };
    let expected = [
        Change::Rest(Duration::from_secs(2)),
        Change::MoveTags(1),
        Change::Kill,
        Change::Upstream(down),
    ];
    assert_eq!(changes, expected);
    let after: Vec<_> = scenario.phases[0]
        .events
        .iter()
        .map(|it| it.after)
        .collect();
    assert_eq!(after, [0, 1, 2, 3]);
}

#[test]
fn shrunk_scenario_has_fewer_clients_and_events_that_still_come() {
    for builtin in &BUILTIN {
        let (whole, small) = (builtin.scenario(), builtin.scenario().shrunk(10));
        let pulls = |scenario: &Scenario| {
            let count = scenario.image_count();
            let phases = scenario.phases.iter();
            phases.map(|phase| phase.pulls(count)).sum::<u64>()
        };
        assert!(pulls(&small) * 5 < pulls(&whole), "{}", small.name);
        assert_eq!(small.mistakes(), [""; 0], "{}", small.name);
        let is_saved = |it: &Expectation| it.to_string().contains("saved");
        assert!(!small.expect.iter().any(is_saved), "{}", small.name);
    }
    let small = BUILTIN[0].scenario().shrunk(10);
    assert_eq!(
        (small.images.layer_size, small.phases[0].count()),
        (Size(200_000), 12)
    );
}

#[test]
fn time_that_the_mirror_trusts_tags_is_read_of_its_configuration() {
    let of = |config: &str| {
        let config = config.to_owned();
        let known = Mirror { config }.tags_fresh_for();
        known.map_err(|error| error.to_string())
    };
    let second = of("[tags]\nconfirm_wait = \"5s\"\nfresh_for = \"1s\"");
    assert_eq!(second, Ok(Some(Duration::from_secs(1))));
    assert_eq!(of("[tags]\nconfirm_wait = \"5s\""), Ok(None));
    assert_eq!(of(""), Ok(None));
    let soon = of("[tags]\nfresh_for = \"soon\"").unwrap_err();
    assert!(soon.contains("tags.fresh_for"), "{soon}");
}

#[test]
fn what_is_unknown_or_unreadable_is_told_with_its_line() {
    for (text, what) in [
        ("imges = 3", "imges"),
        ("start_within = \"soon\"", "a whole number comes first"),
        ("clients = 3", "duplicate key"),
        ("events = [{ after = 1 }]", "an event has one of"),
        (
            "events = [{ rest = \"1s\", move_tags = 1 }]",
            "an event has one of",
        ),
        ("events = [{ mirror = \"gone\" }]", "gone"),
        (
            "expect = [\"failed = 0\"]",
            "nothing is measured as `failed`",
        ),
        ("[upstream]\nquota = \"100\"", "write a quota as 100/6h"),
        (
            "[upstream]\nlike = \"docker\"",
            "there are docker-hub, ghcr, ",
        ),
        ("[images]\nnamed = [\"A\"]", "`A` is no image"),
    ] {
        let told = told(text);
        assert!(told.contains(what), "{told}");
        assert!(told.contains("at line "), "{told}");
    }
}

#[test]
fn all_that_can_not_be_is_told_at_once() {
    let told = told(
        "attempts = 0\nimages = 2\nevents = [{ after = 7, rest = \"1s\" }, { after = 1, move_tags = 2 }]\n\
         [images]\nlayers = 2\nshared_layers = 2\n",
    );
    for what in [
        "images.shared_layers: ",
        "phase `pull`: nobody pulls anything",
        "phase `pull`: there are 1 images",
        "phase `pull`: an event waits for pull 7 of 6",
        "phase `pull`: events are not in the order",
        "phase `pull`: there are 1 tags",
    ] {
        assert!(told.contains(what), "{what} is not in:\n{told}");
    }
}

const README: &str = include_str!("../../../README.md");

#[test]
fn the_readme_names_all_there_is_and_its_example_can_be_read() {
    for name in BUILTIN.iter().map(|builtin| builtin.name) {
        assert!(README.contains(&format!("| `{name}` |")), "{name}");
    }
    for name in Measure::ALL.map(Measure::name) {
        assert!(README.contains(&format!("`{name}`")), "{name}");
    }
    let (_, example) = README.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let scenario: Scenario = example.parse().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scenario.changes().count(), 5);
}

#[test]
fn clients_that_log_in_nowhere_can_not_go_around_to_a_registry_that_asks_for_it() {
    let text = format!("around = true\n{SMALL}[upstream]\nlike = \"docker-hub\"");
    let told = text.parse::<Scenario>().unwrap_err();
    assert!(told.starts_with("upstream.like: "), "{told}");
}

#[test]
fn a_file_that_can_not_be_read_is_named() {
    let error = Scenario::read(std::path::Path::new("/nowhere/x.toml")).unwrap_err();
    assert!(
        error.to_string().starts_with("/nowhere/x.toml: "),
        "{error}"
    );
}
