//! Clients that are slow on purpose. A few hundred stand for thousands: `forebay-loadtest slow` measures what those cost.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::socket::{LAST_PING, PING, connect, exchange, head};
use crate::harness::{Setup, blob_path, get, heavy, origin_with_blob};

const HEADS: usize = 200;
const READERS: usize = 50;

/// Larger than what all buffers on its way take together.
const BLOB: u64 = 16 << 20;

/// What they may take of the mirror's memory: about twice what `config/capacity.md` says of each, and what fetches need.
const MOST: u64 = (8 << 20) + (48 << 10) * HEADS as u64 + (240 << 10) * READERS as u64;

/// Descriptors that may be open more than before, once they have gone: the upstream's, and those of who looks.
const FEW: usize = 8;

/// Sends a head byte by byte, which never ends, until the mirror ends the connection.
async fn trickle(to: SocketAddr) {
    let mut stream = connect(2, to).await;
    let begun = PING.trim_end_matches("\r\n");
    if stream.write_all(begun.as_bytes()).await.is_err() {
        return;
    }
    while stream.write_all(b"x").await.is_ok() {
        let end = stream.readable();
        if tokio::time::timeout(Duration::from_millis(200), end)
            .await
            .is_ok()
        {
            return;
        }
    }
}

/// A connection of which the client's end holds little that was not read.
pub(super) async fn narrow(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(([127, 0, 0, 3], 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Asks for a blob, and reads its head and no more.
pub(super) async fn reader(to: SocketAddr, path: &str) -> TcpStream {
    let mut stream = narrow(to).await;
    let request = get(path);
    let answer = head(&mut stream, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stream
}

/// Bytes of memory that a process has now.
pub(super) fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<u64>().unwrap() << 10
}

/// How many descriptors a process has open.
pub(super) fn descriptors(process: u32) -> usize {
    let open = std::fs::read_dir(format!("/proc/{process}/fd"));
    open.unwrap().count()
}

/// Waits until a process has so many descriptors open at most.
pub(super) async fn until_open(process: u32, most: usize) {
    let closed = async {
        while descriptors(process) > most {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let closed = tokio::time::timeout(Duration::from_mins(1), closed).await;
    let open = descriptors(process);
    assert!(closed.is_ok(), "{open} are open, and not {most} at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_slow_readers_keep_nobody_out_and_are_let_go() {
    heavy();
    let (origin, blob) = origin_with_blob(1, BLOB).await;
    let forebay = Setup::new(&origin)
        .config("[server]\nheader_timeout = \"8s\"\nwrite_idle_timeout = \"8s\"")
        .start()
        .await;
    let client = forebay.client();
    client.pulls("library/app", &blob.digest).await;
    let before = resident(forebay.pid());
    let open_before = descriptors(forebay.pid());

    let path = blob_path("library/app", &blob.digest);
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(reader(forebay.address, &path).await);
    }
    let mut heads = JoinSet::new();
    for _ in 0..HEADS {
        heads.spawn(trickle(forebay.address));
    }
    for _ in 0..20 {
        let answer = exchange(4, forebay.address, LAST_PING.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        client.pulls("library/app", &blob.digest).await;
    }
    let grown = resident(forebay.pid()).saturating_sub(before);
    assert!(grown < MOST, "{grown} bytes more, {MOST} allowed");

    heads.join_all().await;
    let ended = "forebay_connections_closed_total";
    for (reason, count) in [("header_timeout", 200.0), ("write_idle", 50.0)] {
        let reached = |ended: f64| ended > count - 0.5;
        forebay.until_metric(ended, reason, reached).await;
    }
    for mut stream in readers {
        let mut got = Vec::new();
        // However it ends, it ends short.
        let _ = stream.read_to_end(&mut got).await;
        assert!((got.len() as u64) < BLOB);
    }
    until_open(forebay.pid(), open_before + FEW).await;
    client.pulls("library/app", &blob.digest).await;
}
