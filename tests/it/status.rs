//! `/api/status` and `forebay status`: what they tell of a running mirror as quotas shrink and upstreams fail, what is said
//! where there is no mirror, and that they tell no secret.

mod answers;
mod figures;
mod watch;

use std::process::Output;
use std::time::Duration;

use forebay_loadtest::origin::{Builder, Quota};
use serde_json::Value;
use tokio::process::Command;

use crate::harness::{Forebay, program, small_images};

const NAME: &str = "library/app";
/// Tags that are due at every request.
const DUE: &str = "[tags]\nfresh_for = \"0s\"\nnegative_for = \"0s\"";
/// How long a command may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// An origin with this many small images, under `v0` and so on, and a quota of `pulls` in 6 hours.
fn images(count: u64, pulls: i64) -> Builder {
    let quota = Quota {
        anonymous: pulls,
        ..Quota::default()
    };
    small_images(count).quota(quota)
}

/// What came of `forebay status`.
struct Told {
    code: Option<i32>,
    out: String,
    errors: String,
}

/// Runs `forebay status` to its end.
async fn status(arguments: &[&str]) -> Told {
    told(command(arguments)).await
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::from(program());
    command.arg("status").args(arguments).kill_on_drop(true);
    command
}

async fn told(mut command: Command) -> Told {
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output: Output = output.expect("it ends by itself").expect("it can be run");
    Told {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

fn admin_of(forebay: &Forebay) -> String {
    format!("http://{}", forebay.admin)
}

/// The status of a mirror, for people.
async fn shown(forebay: &Forebay) -> Told {
    status(&["--admin", &admin_of(forebay)]).await
}

/// The document of a mirror.
async fn document(forebay: &Forebay) -> Value {
    let answer = forebay.admin().get("/api/status").await;
    assert_eq!(answer.header("content-type"), "application/json");
    serde_json::from_slice(&answer.body).expect("it is JSON")
}

/// What a document has on Docker Hub.
async fn hub(forebay: &Forebay) -> Value {
    let document = document(forebay).await;
    let upstreams = document["upstreams"].as_array().expect("a list");
    let hub = upstreams.iter().find(|one| one["name"] == "docker.io");
    hub.expect("Docker Hub is configured").clone()
}
