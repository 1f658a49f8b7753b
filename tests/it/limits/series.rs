//! Whatever clients ask for, the metrics are as many as before.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::socket::connect;
use crate::harness::{Forebay, Setup, heavy, origin_with_blob};

const NAMES: usize = 100_000;
const CONNECTIONS: usize = 8;
/// Requests that are sent before their answers are read.
const AT_ONCE: usize = 100;
/// One in so many goes on to the upstream, which has none of them.
const UP: usize = 10;

/// A request for a name that no other request has.
fn asked(number: usize) -> String {
    let target = match (number % UP, number / UP % 4) {
        (0, 0) => format!("/v2/library/r{number}/manifests/v1"),
        (0, 1) => format!("/v2/library/app/manifests/t{number}"),
        (0, 2) => format!("/v2/library/app/blobs/sha256:{number:064x}"),
        (0, _) => format!("/v2/library/t{number}/tags/list"),
        (1, _) => format!("/v2/r{number}.example/app/manifests/v1"),
        (2, _) => format!("/v2/library/app/manifests/v1?ns=r{number}.example"),
        (3, _) => format!("/v2/library/UPPER{number}/manifests/v1"),
        (4, _) => format!("/v2/library/app/blobs/sha256:{number}"),
        (5, _) => format!("/nothing/{number}"),
        (6, _) => format!("/v2/?n={number}"),
        (7, _) => format!("/v2/_catalog?n=1&last=r{number}"),
        (8, _) => format!("/v2/library/app/tags/list?n=x{number}"),
        _ => format!("/v2/library/app/referrers/sha256:{number}"),
    };
    let method = if number.is_multiple_of(97) {
        format!("M{number}")
    } else {
        "GET".to_owned()
    };
    format!("{method} {target} HTTP/1.1\r\nHost: m{number}\r\nUser-Agent: a/{number}\r\n\r\n")
}

/// Asks for these on one connection, and reads as many answers.
async fn ask(forebay: std::net::SocketAddr, numbers: Vec<usize>) {
    let mut stream = connect(2, forebay).await;
    for numbers in numbers.chunks(AT_ONCE) {
        let mut requests = String::new();
        for number in numbers {
            let _ = write!(requests, "{}", asked(*number));
        }
        stream.write_all(requests.as_bytes()).await.unwrap();
        let mut unread = Vec::new();
        for _ in numbers {
            let end = loop {
                if let Some(end) = ends(&unread) {
                    break end;
                }
                assert!(
                    stream.read_buf(&mut unread).await.unwrap() > 0,
                    "it is answered"
                );
            };
            unread.drain(..end);
        }
    }
}

/// Where the first answer ends, if all of it is there.
fn ends(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let end = head + length.unwrap().parse::<usize>().unwrap();
    (bytes.len() >= end).then_some(end)
}

async fn ask_all(forebay: &Forebay, numbers: std::ops::Range<usize>) {
    let numbers: Vec<_> = numbers.collect();
    let mut connections = JoinSet::new();
    for numbers in numbers.chunks(numbers.len().div_ceil(CONNECTIONS)) {
        connections.spawn(ask(forebay.address, numbers.to_vec()));
    }
    connections.join_all().await;
}

/// The names and labels of all metrics.
async fn series(forebay: &Forebay) -> BTreeSet<String> {
    let text = forebay.admin().get("/metrics").await.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let named = lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
    named.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_names_make_no_more_metrics_than_a_thousand() {
    heavy();
    let (origin, blob) = origin_with_blob(1, 1000).await;
    let forebay = Setup::new(&origin).start().await;
    forebay.client().pulls("library/app", &blob.digest).await;
    ask_all(&forebay, 1..8_000).await;
    let all = |count: f64| count >= 8_000.0;
    forebay
        .until_metric("forebay_requests_total", "", all)
        .await;
    let before = series(&forebay).await;
    ask_all(&forebay, 8_000..NAMES + 8_000).await;
    let after = series(&forebay).await;
    let more: Vec<_> = after.difference(&before).collect();
    assert_eq!(more, Vec::<&String>::new());
    assert!(after.len() < 2_000, "{} of them", after.len());
    let up = origin.counts().total();
    assert!(up >= (NAMES / UP) as u64, "only {up} went up");
}
