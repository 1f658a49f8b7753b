//! The origin as a command.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::client::client;

#[tokio::test]
async fn command_prints_what_it_serves_and_what_it_served() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_forebay-loadtest"))
        .args([
            "origin",
            "--images",
            "2",
            "--layers",
            "1",
            "--layer-size",
            "10KB",
        ])
        .args(["--architectures", "amd64", "--content", "random"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = async || -> Value {
        serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap()
    };
    let about = line().await;
    let registry = about["registry"].as_str().unwrap();
    assert_eq!(about["images"].as_array().unwrap().len(), 2);
    let image = &about["images"][1];
    assert_eq!(image["repository"], "library/image-1");
    let layer = &image["manifests"][0]["layers"][0];
    assert_eq!(layer["size"], 10_000);
    let digest = layer["digest"].as_str().unwrap();
    let url = format!("{registry}/v2/library/image-1/blobs/{digest}");
    assert_eq!(
        client()
            .get(url)
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .len(),
        10_000
    );

    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    let counts = line().await;
    assert_eq!(counts["counts"]["blob_get"]["body_bytes"], 10_000);
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn command_refuses_flags_that_make_no_sense() {
    for flags in [
        ["--layer-size", "big"],
        ["--user", "nobody"],
        ["--auth", "oauth"],
        ["--profile", "nowhere"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_forebay-loadtest"))
            .arg("origin")
            .args(flags)
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
}

#[tokio::test]
async fn command_behaves_as_the_registry_that_it_is_told_to() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_forebay-loadtest"))
        .args(["origin", "--profile", "ghcr", "--layer-size", "10KB"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let about: Value = serde_json::from_str(&line).unwrap();
    let url = format!("{}/v2/", about["registry"].as_str().unwrap());
    let ping = client().get(url).send().await.unwrap();
    let challenge = ping.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("service=\"ghcr.io\""), "{challenge}");

    let both = Command::new(env!("CARGO_BIN_EXE_forebay-loadtest"))
        .args(["origin", "--profile", "ghcr", "--auth", "basic"])
        .output();
    assert_eq!(both.await.unwrap().status.code(), Some(2));
}
