//! What connections and fills take of the mirror's memory, and of the kernel's: what `config/capacity.md` says of each, and no
//! large buffer more. What is kept in `memory` and beside it is in `tier`.
//!
//! Looked at is what the process has for itself; how much of the program's own file is in memory is another matter, and for
//! a build that is tested more than for one that is used.

mod tier;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use forebay_loadtest::certificates::{Authority, trusting};
use forebay_loadtest::origin::{Fault, Origin};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::slow::{narrow, reader};
use super::socket::{PING, connect, head};
use crate::harness::{
    Client, Forebay, Setup, blob_path, get, heavy, hold_body, listener_tls, origin_with_blob,
    plain_origin,
};

const CAPACITY: &str = include_str!("../../../config/capacity.md");

const IDLE: usize = 500;
const HEADS: usize = 500;
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
    let number = line.trim_start_matches(|it: char| !it.is_ascii_digit());
    let number = number.split(' ').next();
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

/// What the mirror took between the two looks, for each of so many: about what is stated.
fn check(what: &str, count: usize, before: u64, after: u64) {
    let grown = after.saturating_sub(before);
    let each = stated(what);
    // Else they were not there when it was looked.
    assert!(
        grown >= count as u64 * each / 3,
        "{count} took {grown} bytes and {each} each are stated"
    );
    check_most(what, count, before, after);
}

/// As [`check`], of what may take less.
fn check_most(what: &str, count: usize, before: u64, after: u64) {
    let grown = after.saturating_sub(before);
    let (each, allowed) = (stated(what), most(count, stated(what)));
    println!("{what}: {} bytes", grown / count as u64);
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

/// Whoever does nothing stays.
const PATIENT: &str =
    "[server]\nheader_timeout = \"10m\"\nidle_timeout = \"10m\"\nwrite_idle_timeout = \"10m\"";

/// A mirror that has served a blob, and so has what it takes for the first connection.
async fn warm(blob: u64) -> (Forebay, String, Origin) {
    let (origin, blob) = origin_with_blob(1, blob).await;
    let forebay = Setup::new(&origin).config(PATIENT).start().await;
    forebay.client().pulls("library/app", &blob.digest).await;
    (forebay, blob_path("library/app", &blob.digest), origin)
}

async fn ping(forebay: &Forebay) -> TcpStream {
    let mut stream = connect(2, forebay.address).await;
    let answer = head(&mut stream, PING.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stream
}

/// Clients that have asked for the same blob and read its head.
async fn readers(forebay: &Forebay, path: &str) -> Vec<TcpStream> {
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(reader(forebay.address, path).await);
    }
    readers
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
    check(
        "for each idle connection without TLS",
        IDLE,
        before,
        own(forebay.pid()),
    );
}

/// A head without its end.
fn begun() -> &'static [u8] {
    PING.trim_end_matches("\r\n").as_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_take_what_is_stated() {
    heavy();
    let (forebay, _, _origin) = warm(1000).await;
    let before = own(forebay.pid());
    let mut heads = Vec::new();
    for _ in 0..HEADS {
        let mut stream = connect(2, forebay.address).await;
        stream.write_all(begun()).await.unwrap();
        heads.push(stream);
    }
    drop(ping(&forebay).await);
    let what = "for each slow head without TLS";
    check(what, HEADS, before, own(forebay.pid()));
}

/// A client's end of a connection, with its handshake behind it.
async fn shaken(to: SocketAddr, tls: &TlsConnector) -> TlsStream<TcpStream> {
    let stream = connect(2, to).await;
    let name = ServerName::from(to.ip());
    tls.connect(name, stream).await.unwrap()
}

/// What the first ones take is what each handshake takes while it lasts, and is kept for the next.
async fn shake_first(to: SocketAddr, tls: &TlsConnector) {
    for _ in 0..16 {
        drop(shaken(to, tls).await);
    }
}

/// Most of what came before it was read by then.
async fn shake_last(to: SocketAddr, tls: &TlsConnector) {
    let mut last = shaken(to, tls).await;
    last.write_all(PING.as_bytes()).await.unwrap();
    last.read_u8().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_tls_take_what_is_stated() {
    heavy();
    let (origin, _) = origin_with_blob(1, 1000).await;
    let authority = Authority::new("servers");
    for (what, sent) in [
        ("for each idle connection over TLS", PING.as_bytes()),
        ("for each slow head over TLS", begun()),
    ] {
        let setup = Setup::new(&origin);
        let tls = listener_tls("server", &authority, setup.dir());
        let forebay = setup.config(PATIENT).config(&tls).start().await;
        let tls = TlsConnector::from(Arc::new(trusting(&[&authority], None)));
        shake_first(forebay.address, &tls).await;
        let before = own(forebay.pid());
        let mut streams = Vec::new();
        for _ in 0..IDLE {
            let mut stream = shaken(forebay.address, &tls).await;
            stream.write_all(sent).await.unwrap();
            if sent == PING.as_bytes() {
                let mut answer = [0; 12];
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"HTTP/1.1 200");
            }
            streams.push(stream);
        }
        shake_last(forebay.address, &tls).await;
        check(what, IDLE, before, own(forebay.pid()));
    }
}

/// Bytes that the kernel holds for the mirror's ends of its connections: what waits to be read and to be sent, and what is
/// set aside for that.
fn kernels(port: u16) -> u64 {
    let ends = format!("sport = :{port}");
    let told = Command::new("ss")
        .args(["-tmnH", "state", "established", &ends])
        .output();
    let told = told.expect("ss is there: it comes with iproute2");
    assert!(told.status.success(), "{told:?}");
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(
        text.is_empty() || text.contains("skmem:"),
        "this kernel tells ss nothing of sockets' memory (inet_diag): {text}"
    );
    let held = |memory: &str| {
        let fields = memory.split([',', ')']);
        let counted = fields.filter_map(|field| field.strip_prefix(['r', 'f', 'w']));
        counted
            .filter_map(|number| number.parse::<u64>().ok())
            .sum::<u64>()
    };
    text.split("skmem:(").skip(1).map(held).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_takes_what_is_stated_of_answers_that_are_read_slowly() {
    heavy();
    let (forebay, path, _origin) = warm(BLOB).await;
    let before = kernels(forebay.address.port());
    let mut readers = readers(&forebay, &path).await;
    let mut taken = vec![0; TAKEN];
    for reader in &mut readers {
        reader.read_exact(&mut taken).await.unwrap();
    }
    drop(ping(&forebay).await);
    let after = kernels(forebay.address.port());
    check(
        "for each answer that is being read slowly",
        READERS,
        before,
        after,
    );
}

/// Whoever reads a little has the mirror send a little: that is when it would take more than it needs.
async fn read_a_little(readers: &mut [impl AsyncRead + Unpin]) {
    let mut taken = vec![0; TAKEN];
    for _ in 0..3 {
        for reader in &mut *readers {
            reader.read_exact(&mut taken).await.unwrap();
        }
    }
}

/// It has no bytes of a body.
#[tokio::test(flavor = "multi_thread")]
async fn answers_from_files_that_are_read_slowly_take_what_is_stated() {
    heavy();
    let (forebay, path, _origin) = warm(BLOB).await;
    let before = own(forebay.pid());
    let mut readers = readers(&forebay, &path).await;
    read_a_little(&mut readers).await;
    drop(ping(&forebay).await);
    let after = own(forebay.pid());
    let what = "for each answer that is sent from a file";
    check(what, READERS, before, after);
}

/// Each had two or three chunks of a body waiting in the process, and on a slow disk a quarter of a megabyte.
#[tokio::test(flavor = "multi_thread")]
async fn answers_over_tls_that_are_read_slowly_take_what_is_stated() {
    heavy();
    let (origin, blob) = origin_with_blob(1, BLOB).await;
    let authority = Authority::new("servers");
    let setup = Setup::new(&origin);
    let tls = listener_tls("server", &authority, setup.dir());
    let forebay = setup.config(PATIENT).config(&tls).start().await;
    let trusting = trusting(&[&authority], None);
    let client = Client::over_tls(trusting.clone(), forebay.address);
    client.pulls("library/app", &blob.digest).await;
    let tls = TlsConnector::from(Arc::new(trusting));
    let path = blob_path("library/app", &blob.digest);
    let request = get(&path);
    shake_first(forebay.address, &tls).await;
    let before = own(forebay.pid());
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let stream = narrow(forebay.address).await;
        let name = ServerName::from(forebay.address.ip());
        let mut stream = tls.connect(name, stream).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        readers.push(stream);
    }
    read_a_little(&mut readers).await;
    shake_last(forebay.address, &tls).await;
    let after = own(forebay.pid());
    let what = "for each other answer that is being sent";
    check(what, READERS, before, after);
}

/// A large blob comes over as many connections as a fill may have.
#[tokio::test(flavor = "multi_thread")]
async fn a_fill_on_all_of_its_connections_takes_what_is_stated() {
    const LARGE: u64 = 256 << 20;
    const CONNECTIONS: f64 = 8.0;
    heavy();
    let (forebay, _, origin) = warm(1000).await;
    let blob = origin.edit("library/app", |repository| repository.random_blob(2, LARGE));
    // More connections bring more, and none is done before there are all of them, held up as they may be.
    let slow = Fault::Throttle(4_000_000);
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
    check_most(what, 8, before, after);
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
        let request = get(&path);
        let answer = head(&mut stream, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let mut half = vec![0; usize::try_from(FILLED / 4).unwrap()];
        stream.read_exact(&mut half).await.unwrap();
        clients.push(stream);
    }
    let after = own(forebay.pid());
    let what = "for each connection on which a blob is fetched";
    check_most(what, FILLS, before, after);
    for gate in gates {
        gate.release();
    }
}
