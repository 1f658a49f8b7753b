//! What connections and fills take of the mirror's memory: what `config/capacity.md` says of each, and no buffer more.
//!
//! Looked at is what the process has for itself; how much of the program's own file is in memory is another matter, and for
//! a build that is tested more than for one that is used.

use forebay_loadtest::origin::Fault;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::slow::reader;
use super::socket::{PING, connect, head};
use crate::harness::{Forebay, Setup, blob_path, heavy, hold_body, origin_with_blob, plain_origin};

const CAPACITY: &str = include_str!("../../../config/capacity.md");

const IDLE: usize = 500;
const READERS: usize = 300;
const FILLS: usize = 16;

/// Larger than what all buffers on its way take together.
const BLOB: u64 = 16 << 20;
const FILLED: u64 = 8 << 20;
/// What a slow reader reads at a time.
const TAKEN: usize = 100_000;

/// What the page says that each takes, in bytes.
fn stated(of_each: &str) -> u64 {
    let line = CAPACITY.lines().find(|line| line.ends_with(of_each));
    let line = line.unwrap_or_else(|| panic!("the formula has {of_each}"));
    let number = line.trim_start_matches([' ', '+']).split(' ').next();
    let number: u64 = number.unwrap().parse().expect("a number of KiB");
    assert!(line.contains(" KiB "), "{line}");
    number << 10
}

/// What so many may take: the allocator's share is an eighth, and what a mirror that has just started takes for the first
/// of them.
fn most(count: usize, each: u64) -> u64 {
    let all = count as u64 * each;
    all + all / 8 + (2 << 20)
}

/// Bytes of memory that a process has for itself.
fn own(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<u64>().unwrap() << 10
}

/// What the mirror took between the two looks, for each of so many.
fn check(what: &str, count: usize, before: u64, after: u64) {
    let grown = after.saturating_sub(before);
    let (each, allowed) = (stated(what), most(count, stated(what)));
    println!("{what}: {} KiB", grown / count as u64 / 1024);
    assert!(
        grown <= allowed,
        "{count} took {grown} bytes, {each} each are stated, {allowed} allowed"
    );
}

/// What the page says that the process takes without all that, in bytes, but for the memory tier.
fn base() -> u64 {
    let beginning = "resident = ";
    let line = CAPACITY
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(beginning));
    let number = line.and_then(|line| line.strip_suffix(" MiB + memory in [cache]"));
    let number: u64 = number
        .expect("the formula has a base")
        .parse()
        .expect("a number of MiB");
    number << 20
}

/// A mirror that has served a blob, and so has what it takes for the first connection.
async fn warm(blob: u64) -> (Forebay, String, forebay_loadtest::origin::Origin) {
    let (origin, blob) = origin_with_blob(1, blob).await;
    let forebay = Setup::new(&origin).start().await;
    forebay.client().pulls("library/app", &blob.digest).await;
    (forebay, blob_path("library/app", &blob.digest), origin)
}

async fn ping(forebay: &Forebay) -> TcpStream {
    let mut stream = connect(2, forebay.address).await;
    let answer = head(&mut stream, PING.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stream
}

/// With an empty cache, and with one blob and no connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_without_anything_to_do_takes_no_more_than_the_base() {
    heavy();
    let (origin, blob) = origin_with_blob(1, BLOB).await;
    let forebay = Setup::new(&origin).start().await;
    let started = own(forebay.pid());
    forebay.client().pulls("library/app", &blob.digest).await;
    let pulled = own(forebay.pid());
    println!(
        "base: {} KiB, after a pull {} KiB",
        started >> 10,
        pulled >> 10
    );
    assert!(started <= base(), "{started} bytes");
    assert!(pulled <= base(), "{pulled} bytes after a pull");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_take_what_is_stated() {
    heavy();
    let (forebay, _, _origin) = warm(1000).await;
    let before = own(forebay.pid());
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(ping(&forebay).await);
    }
    check("for each idle connection", IDLE, before, own(forebay.pid()));
}

/// Each had two or three chunks of a body waiting in the process, and on a slow disk a quarter of a megabyte.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_read_slowly_take_what_is_stated() {
    heavy();
    let (forebay, path, _origin) = warm(BLOB).await;
    let before = own(forebay.pid());
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(reader(forebay.address, &path).await);
    }
    // Whoever reads a little has the mirror send a little: that is when it would take more than it needs.
    let mut taken = vec![0; TAKEN];
    for _ in 0..3 {
        for reader in &mut readers {
            reader.read_exact(&mut taken).await.unwrap();
        }
    }
    drop(ping(&forebay).await);
    let after = own(forebay.pid());
    check("for each answer that is being sent", READERS, before, after);
}

/// A large blob comes over as many connections as a fill may have.
#[tokio::test(flavor = "multi_thread")]
async fn a_fill_on_all_of_its_connections_takes_what_is_stated() {
    const LARGE: u64 = 256 << 20;
    const CONNECTIONS: f64 = 8.0;
    heavy();
    let (forebay, _, origin) = warm(1000).await;
    let blob = origin.edit("library/app", |repository| repository.random_blob(2, LARGE));
    // More connections bring more, and none is done before there are all of them.
    let slow = Fault::Throttle(8_000_000);
    let slow = origin.on_body(&blob.digest).always(slow);
    let before = own(forebay.pid());
    let (client, digest) = (forebay.client(), blob.digest.clone());
    let pull = tokio::spawn(async move { client.blob("library/app", &digest).await });
    let all = |connections| connections >= CONNECTIONS;
    forebay
        .until_metric("forebay_upstream_connections", "docker.io", all)
        .await;
    let after = own(forebay.pid());
    slow.remove();
    assert!(pull.await.unwrap().is_exactly(&blob.digest));
    let what = "for each connection on which a blob is fetched";
    check(what, 8, before, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn fills_take_what_is_stated() {
    heavy();
    let mut blobs = Vec::new();
    let builder = plain_origin().repository("library/app", |repository| {
        for seed in 0..=FILLS {
            blobs.push(repository.random_blob(seed as u64, FILLED));
        }
    });
    let origin = builder.start().await.unwrap();
    let forebay = Setup::new(&origin).start().await;
    let first = blobs.pop().unwrap();
    forebay.client().pulls("library/app", &first.digest).await;
    let before = own(forebay.pid());
    let mut gates = Vec::new();
    let mut clients = Vec::new();
    for blob in &blobs {
        gates.push(hold_body(&origin, &blob.digest, FILLED / 2));
        let path = blob_path("library/app", &blob.digest);
        let mut stream = connect(2, forebay.address).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: mirror\r\n\r\n");
        let answer = head(&mut stream, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let mut half = vec![0; usize::try_from(FILLED / 4).unwrap()];
        stream.read_exact(&mut half).await.unwrap();
        clients.push(stream);
    }
    let after = own(forebay.pid());
    let what = "for each connection on which a blob is fetched";
    check(what, FILLS, before, after);
    for gate in gates {
        gate.release();
    }
}
