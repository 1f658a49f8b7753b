//! Manifests that are made to cost memory or stack. None is served, and what they cost is bounded.

use forebay_loadtest::origin::{Fault, Kind};
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use super::slow::resident;
use crate::harness::{Setup, heavy, plain_origin};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The largest manifest.
const MOST: usize = 4 << 20;

/// What all of them at once, and again, may add to the process: each is at most 4 MiB, is held once as it comes and a few
/// times over as it is read.
const MOST_MEMORY: u64 = 256 << 20;

fn descriptor(number: usize) -> Value {
    json!({"mediaType": IMAGE, "digest": format!("sha256:{number:064x}"), "size": 1})
}

fn image(layers: usize) -> Value {
    let layers: Vec<_> = (0..layers).map(descriptor).collect();
    json!({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(0), "layers": layers})
}

/// An image with one more field.
fn with(field: &str, value: &str) -> String {
    let image = image(1).to_string();
    let open = image.strip_suffix('}').expect("it is an object");
    format!("{open},\"{field}\":{value}}}")
}

/// An image of so many bytes.
fn of(size: usize) -> String {
    let bare = with("x", "\"\"").len();
    with("x", &format!("\"{}\"", "x".repeat(size - bare)))
}

/// An image that is nested so deep.
fn nested(depth: usize) -> String {
    let inside = depth - 1;
    with(
        "x",
        &format!("{}{}", "[".repeat(inside), "]".repeat(inside)),
    )
}

/// What is served as what, and whether anybody gets it.
fn bombs() -> Vec<(&'static str, &'static str, String, bool)> {
    let most = 10_000;
    let index = |count| {
        let manifests: Vec<_> = (0..count).map(descriptor).collect();
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string()
    };
    let full = MOST - 1000;
    let keys: Vec<_> = (0..300_000).map(|key| format!("\"{key}\":0,")).collect();
    let keys = keys.concat();
    vec![
        ("as large as may be", IMAGE, of(MOST), true),
        ("a byte too large", IMAGE, of(MOST + 1), false),
        ("as deep as may be", IMAGE, nested(32), true),
        ("a level too deep", IMAGE, nested(33), false),
        ("very deep", IMAGE, nested(full / 2), false),
        ("never closed", IMAGE, "[".repeat(full), false),
        (
            "objects, never closed",
            IMAGE,
            "{\"a\":".repeat(full / 5),
            false,
        ),
        (
            "as many as may be",
            IMAGE,
            image(most - 1).to_string(),
            true,
        ),
        ("one too many", IMAGE, image(most).to_string(), false),
        ("an index of too many", INDEX, index(most + 1), false),
        ("many too many", INDEX, index(30_000), false),
        (
            "a long type",
            IMAGE,
            format!(
                "{{\"schemaVersion\":2,\"mediaType\":\"{}\"}}",
                "x".repeat(full)
            ),
            false,
        ),
        (
            "a long digest",
            INDEX,
            format!(
                "{{\"schemaVersion\":2,\"manifests\":[{{\"mediaType\":\"{IMAGE}\",\"size\":1,\"digest\":\"{}\"}}]}}",
                "a".repeat(full)
            ),
            false,
        ),
        (
            "a long escape",
            IMAGE,
            format!("{{\"mediaType\":\"{}\"}}", "\\u0000".repeat(full / 6)),
            false,
        ),
        (
            "a long name",
            IMAGE,
            format!("{{\"{}\":1}}", "x".repeat(full)),
            false,
        ),
        (
            "a long number",
            IMAGE,
            format!("{{\"schemaVersion\":{}}}", "9".repeat(full)),
            false,
        ),
        (
            "many names",
            IMAGE,
            format!("{{{keys}\"config\":1}}"),
            false,
        ),
        (
            "many nothings",
            IMAGE,
            format!("[{}]", ["[]"].repeat(full / 3).join(",")),
            false,
        ),
        (
            "many empty descriptors",
            INDEX,
            format!("{{\"manifests\":[{}]}}", ["{}"].repeat(full / 3).join(",")),
            false,
        ),
    ]
}

/// The most memory that a process has had.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_are_bombs_are_refused_and_cost_bounded_memory() {
    heavy();
    let bombs = bombs();
    let mut digests = Vec::new();
    let builder = plain_origin().repository("library/app", |repository| {
        for (number, (_, kind, body, _)) in bombs.iter().enumerate() {
            let made = repository.manifest(kind, body.clone());
            repository.tag(&format!("v{number}"), &made.digest);
            digests.push(made.digest);
        }
        let made = repository.manifest(IMAGE, of(MOST - 1));
        repository.tag("endless", &made.digest);
    });
    let origin = builder.start().await.unwrap();
    // It claims four gigabytes, and goes on for 64 MiB of them.
    let endless = origin.on(Kind::ManifestGet).reference("endless");
    endless.always(Fault::Extra(64 << 20));
    let endless = origin.on(Kind::ManifestGet).reference("endless");
    endless.always(Fault::ClaimLength(4 << 30));
    let forebay = Setup::new(&origin).start().await;
    let client = forebay.client();
    client.get("/v2/").await;
    let before = resident(forebay.pid());

    let played = async |number: usize| {
        let (what, _, _, is_served) = &bombs[number];
        let by_tag = client.manifest("library/app", format!("v{number}")).await;
        let by_digest = client.manifest("library/app", &digests[number]).await;
        for answer in [by_tag, by_digest] {
            if *is_served {
                assert!(
                    answer.is_exactly(&digests[number]),
                    "{what}: {}",
                    answer.status
                );
            } else {
                assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{what}");
                assert!(answer.body.len() < 2_000, "{what}: {}", answer.body.len());
            }
        }
    };
    // One after the other, so that each is known by its name; then all at once.
    for number in 0..bombs.len() {
        played(number).await;
    }
    for _ in 0..2 {
        join_all((0..bombs.len()).map(played)).await;
        let answer = client.manifest("library/app", "endless").await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    }
    let grown = peak(forebay.pid()).saturating_sub(before);
    assert!(grown < MOST_MEMORY, "{grown} bytes more at its peak");
    assert!(forebay.log().lines().all(|line| line.len() < 4_000));
}
