//! `--watch`: it goes on, and ends when nobody reads or it is told to.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::*;
use crate::harness::{mirror_of, terminate, wait_for_exit};

/// A command that goes on, and its lines.
fn watching(arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let always = ["--watch", "--interval", "1"];
    let mut command = command(&[arguments, &always].concat());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// The next line that is as wanted.
async fn until(lines: &mut Lines<BufReader<ChildStdout>>, wanted: impl Fn(&str) -> bool) -> String {
    let found = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if wanted(&line) {
                return line;
            }
        }
        panic!("it has ended");
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.expect("it says so in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_seen_and_it_ends_when_nobody_reads() {
    let origin = images(1, 4).start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let (mut child, mut lines) = watching(&["--admin", &admin_of(&forebay)]);
    until(&mut lines, |line| line.contains("nothing is wrong")).await;
    forebay.client().manifest(NAME, "v0").await;
    let quota = until(&mut lines, |line| line.contains("3 of 4")).await;
    assert!(!quota.contains('\x1b'), "no terminal reads it: {quota}");
    drop(lines);
    assert_eq!(wait_for_exit(&mut child).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_json_each_line_is_a_document_and_a_signal_ends_it() {
    let origin = images(1, 4).start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let (mut child, mut lines) = watching(&["--admin", &admin_of(&forebay), "--json"]);
    for _ in 0..2 {
        let line = until(&mut lines, |_| true).await;
        let document: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(document["format"], 1);
    }
    terminate(&child);
    assert!(!wait_for_exit(&mut child).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_when_the_mirror_goes_and_programs_by_the_end() {
    let origin = images(1, 4).start().await.unwrap();
    let forebay = mirror_of(&origin).await;
    let admin = admin_of(&forebay);
    let (mut people, mut shown) = watching(&["--admin", &admin]);
    let (mut program, mut documents) = watching(&["--admin", &admin, "--json"]);
    until(&mut shown, |line| line.contains("nothing is wrong")).await;
    until(&mut documents, |_| true).await;
    drop(forebay.stop().await);
    until(&mut shown, |line| line.contains("nobody listens at")).await;
    assert_eq!(wait_for_exit(&mut program).await.code(), Some(1));
    drop(shown);
    assert_eq!(wait_for_exit(&mut people).await.code(), Some(0));
}
