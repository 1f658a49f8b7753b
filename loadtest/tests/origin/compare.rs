//! `compare` as a command: what it plays, writes and ends with. Figures are measured by tests of the mirror, which have one.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

async fn compare(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay-loadtest"));
    command.arg("compare").args(arguments).kill_on_drop(true);
    command.output().await.unwrap()
}

fn told(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(all).unwrap()
}

/// Caches have to be on a disk, which a system's own place for temporary files need not be.
const DIR: &str = env!("CARGO_TARGET_TMPDIR");

#[tokio::test]
async fn a_scenario_is_played_without_a_mirror_and_before_those_that_are_installed() {
    let dir = tempfile::tempdir_in(DIR).unwrap();
    let [json, page] = ["out.json", "out.html"].map(|name| dir.path().join(name));
    let [dir, json, page] = [dir.path(), &json, &page].map(|path| path.to_str().unwrap());
    let output = compare(&[
        "--quick",
        "--scenarios",
        "deploy",
        "--peers",
        "nginx",
        "--rounds",
        "1",
        "--dir",
        dir,
        "--json",
        json,
        "--report",
        page,
    ])
    .await;
    let told = told(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let comparison: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(comparison["outcomes"].as_array().map(Vec::len), Some(0));
    let sides = comparison["scenarios"][0]["sides"].as_array().unwrap();
    let is_installed = !told.contains("nginx is not installed");
    assert_eq!(sides.len(), 1 + usize::from(is_installed), "{told}");
    assert_eq!(sides[0]["name"], "direct");
    assert!(
        told.contains("deploy 1: direct: failed_pulls 0, "),
        "{told}"
    );
    assert!(Path::new(page).is_file());
}

#[tokio::test]
async fn what_is_not_known_is_told_with_what_there_is() {
    for (option, what) in [("--scenarios", "deploy, "), ("--figures", "herd-500, ")] {
        let arguments = [option, "deplay", "--peers", "nginx", "--dir", DIR];
        let output = compare(&arguments).await;
        let told = told(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("deplay") && told.contains(what), "{told}");
    }
}

#[tokio::test]
async fn figures_and_scenarios_are_listed() {
    let output = compare(&["--list"]).await;
    assert_eq!(output.status.code(), Some(0));
    let told = told(&output);
    for name in ["hits", "herd-500", "deploy", "upstream-outage"] {
        let is_named = |line: &str| line.split_whitespace().next() == Some(name);
        assert!(told.lines().any(is_named), "{name}: {told}");
    }
}
