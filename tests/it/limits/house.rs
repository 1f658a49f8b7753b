//! As many connections as there may be, whoever's they are.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::slow::{descriptors, until_open};
use super::socket::{LAST_PING, PING, connect, exchange, head};
use crate::harness::{Forebay, Setup, blob_path, get, heavy, hold_body, origin_with_blob, sha256};

/// What a ping is answered, on a connection that is not kept.
async fn status(forebay: &Forebay, last: u8) -> String {
    let answer = exchange(last, forebay.address, LAST_PING.as_bytes()).await;
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_connection_is_busy_a_new_one_is_refused_and_those_that_run_are_not_touched() {
    let (origin, blob) = origin_with_blob(1, 1_000_000).await;
    let forebay = Setup::new(&origin)
        .config("[limits]\nmax_connections = 2")
        .start()
        .await;
    let gate = hold_body(&origin, &blob.digest, 500_000);
    let path = blob_path("library/app", &blob.digest);
    let request = get(&path);
    let mut busy = Vec::new();
    for last in [2, 3] {
        let mut stream = connect(last, forebay.address).await;
        let begun = head(&mut stream, request.as_bytes()).await;
        assert!(begun.starts_with("HTTP/1.1 200"), "{begun}");
        busy.push(stream);
    }
    let refused = exchange(4, forebay.address, PING.as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    for told in [
        "retry-after: ",
        "connection: close",
        "UNAVAILABLE",
        "`max_connections` under [limits]",
    ] {
        assert!(refused.contains(told), "{told} is not in {refused}");
    }
    let counted = forebay
        .metric("forebay_connections_closed_total", "full")
        .await;
    assert!(counted >= 1.0, "{counted}");

    gate.release();
    for mut stream in busy {
        let mut body = vec![0; 1_000_000];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(sha256(&body), blob.digest.to_string());
    }
    // The mirror sees the end of them a moment later than we do, and waits for it.
    assert_eq!(status(&forebay, 4).await, "HTTP/1.1 200 OK");
}

/// A few hundred stand for 15,000: what counts is that they are more than there are descriptors.
#[tokio::test(flavor = "multi_thread")]
async fn more_idle_connections_than_there_are_descriptors_keep_nobody_out() {
    const DESCRIPTORS: usize = 256;
    heavy();
    let (origin, blob) = origin_with_blob(1, 1_000_000).await;
    let forebay = Setup::new(&origin)
        .descriptors(DESCRIPTORS)
        // Who is ended is ended for another.
        .config("[server]\nheader_timeout = \"10m\"\nidle_timeout = \"10m\"\nwrite_idle_timeout = \"10m\"")
        .config("[cache]\nopen_files = 16")
        .start()
        .await;
    let before = descriptors(forebay.pid());
    let gate = hold_body(&origin, &blob.digest, 500_000);
    let path = blob_path("library/app", &blob.digest);
    let request = get(&path);
    let mut old = connect(2, forebay.address).await;
    let begun = head(&mut old, request.as_bytes()).await;
    assert!(begun.starts_with("HTTP/1.1 200"), "{begun}");

    let mut idle: Vec<TcpStream> = Vec::new();
    for number in 0..DESCRIPTORS + 32 {
        let mut stream = connect(3, forebay.address).await;
        // Every other one never says a word.
        if number % 2 == 0 {
            let answer = head(&mut stream, PING.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{number}: {answer}");
        }
        idle.push(stream);
    }
    assert_eq!(status(&forebay, 4).await, "HTTP/1.1 200 OK");
    gate.release();
    let mut body = vec![0; 1_000_000];
    old.read_exact(&mut body).await.unwrap();
    assert_eq!(sha256(&body), blob.digest.to_string());
    // Beside them there is room for files and for the upstream.
    forebay.client().pulls("library/app", &blob.digest).await;

    for (name, labels) in [
        ("forebay_accept_errors_total", ""),
        ("forebay_store_faults_total", ""),
        ("forebay_solo_total", ""),
    ] {
        let counted = forebay.metric(name, labels).await;
        assert!(counted < 0.5, "{name}: {counted}");
    }
    let spared = forebay
        .metric("forebay_connections_closed_total", "spared")
        .await;
    assert!(spared > 0.0);
    // What stays is those of the blob, of the upstream, and of who looks.
    drop((idle, old));
    until_open(forebay.pid(), before + 8).await;
}
