//! `run` and `demo` as commands: what they print, write and end with.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

async fn loadtest(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay-loadtest"));
    let output = command.args(arguments).kill_on_drop(true).output();
    output.await.unwrap()
}

fn told(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(all).unwrap()
}

fn scenario(dir: &Path, expect: &str) -> String {
    let path = dir.join("small.toml");
    let text = format!(
        "name = \"small\"\nabout = \"A small one.\"\nexpect = [\"failed_pulls = 0\", \"{expect}\"]\n\
         [[phase]]\nname = \"pull\"\nclients = {{ podman = 2 }}\n"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_run_ends_well_where_all_is_as_expected_and_writes_what_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = scenario(dir.path(), "quota_used = 4");
    let [json, page] = ["out.json", "out.html"].map(|name| dir.path().join(name));
    let [json_path, page_path] = [&json, &page].map(|path| path.to_str().unwrap());
    let output = loadtest(&[
        "run", &path, "--direct", "--json", json_path, "--report", page_path,
    ])
    .await;
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(told(&output).contains("quota_used = 4"));
    let outcome: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(outcome["measures"]["quota_used"], 4.0);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!doctype html>"), "{}", &page[..40]);
}

#[tokio::test]
async fn a_run_fails_where_something_is_not_as_expected_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = scenario(dir.path(), "quota_used <= 3");
    let output = loadtest(&["run", &path, "--direct"]).await;
    assert_eq!(output.status.code(), Some(1));
    let told = told(&output);
    assert!(
        told.contains("not as expected: quota_used <= 3: 4"),
        "{told}"
    );
}

#[tokio::test]
async fn several_rounds_are_each_cold_and_told_by_their_medians() {
    let dir = tempfile::tempdir().unwrap();
    let path = scenario(dir.path(), "quota_used = 4");
    let [json, page] = ["out.json", "out.html"].map(|name| dir.path().join(name));
    let [json_path, page_path] = [&json, &page].map(|path| path.to_str().unwrap());
    let output = loadtest(&[
        "run", &path, "--direct", "--rounds", "2", "--pinned", "--json", json_path, "--report",
        page_path,
    ])
    .await;
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let outcome: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(outcome["rounds"].as_array().map(Vec::len), Some(2));
    for round in 0..2 {
        let measures = &outcome["rounds"][round]["measures"];
        assert_eq!(measures["quota_used"], 4.0, "{round}");
    }
    let quota = &outcome["measures"]["quota_used"];
    assert_eq!(
        (&quota["median"], &quota["max"]),
        (&4.0.into(), &4.0.into())
    );
    let page = std::fs::read_to_string(page).unwrap();
    for part in ["median (least to most)", "time of a round", "<svg"] {
        assert!(page.contains(part), "{part}");
        let is_printed = told(&output).contains(part);
        assert_eq!(is_printed, part != "<svg", "{}", told(&output));
    }
}

#[tokio::test]
async fn what_does_not_hold_in_a_round_fails_all_of_them_and_the_round_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = scenario(dir.path(), "quota_used <= 3");
    let output = loadtest(&["run", &path, "--direct", "--rounds", "2"]).await;
    assert_eq!(output.status.code(), Some(1));
    let told = told(&output);
    let named = "not as expected: quota_used <= 3: 4 in round 1";
    assert!(told.contains(named), "{told}");
}

#[tokio::test]
async fn what_can_not_be_run_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = scenario(dir.path(), "quota <= 3");
    for (arguments, code, what) in [
        (&["run", "afternoon"][..], 1, "one of morning-storm, "),
        (&["run", &wrong], 1, "at line 3"),
        (&["run", "/nowhere/x.toml"], 1, "/nowhere/x.toml"),
        (
            &["run", "deploy", "--forebay", "/nowhere/forebay"],
            1,
            "/nowhere/forebay",
        ),
        (
            &["run", "deploy", "--target", "mirror:5000"],
            1,
            "http://HOST:PORT",
        ),
        (
            &["run", "deploy", "--target", "http://127.0.0.1:1"],
            1,
            "--upstream-is",
        ),
        (&["run", "deploy", "--image", "alpine"], 2, "--target"),
        (&["run", "deploy", "--rounds", "0"], 2, "--rounds"),
        (
            &[
                "run",
                "deploy",
                "--direct",
                "--target",
                "http://127.0.0.1:1",
            ],
            2,
            "--direct",
        ),
        (
            &["demo", "--forebay", "/nowhere/forebay"],
            1,
            "/nowhere/forebay",
        ),
    ] {
        let output = loadtest(arguments).await;
        let told = told(&output);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(what), "{told}");
    }
}

#[tokio::test]
async fn a_run_of_nothing_lists_what_there_is() {
    let output = loadtest(&["run"]).await;
    assert_eq!(output.status.code(), Some(0));
    let told = told(&output);
    for name in ["morning-storm", "restart-under-load", "lazy-pulls"] {
        assert!(told.contains(name), "{told}");
    }
}
