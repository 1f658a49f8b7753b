//! The clients against the origin, and against servers that do what it does not.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::runtime::Runtime;

use super::{Load, Slow, Target, get};
use crate::certificates::{Authority, trusting};
use crate::origin::{Descriptor, Fault, Kind, Origin};

const REPOSITORY: &str = "library/app";

/// An origin with one blob. The clients block, so that it has threads of its own.
struct Bench {
    origin: Origin,
    blob: Descriptor,
    _runtime: Runtime,
}

impl Bench {
    fn with_blob_of(size: u64) -> Self {
        let runtime = Runtime::new().unwrap();
        let origin = Origin::builder().repository(REPOSITORY, |_| ());
        let origin = runtime.block_on(origin.start()).unwrap();
        let blob = origin.edit(REPOSITORY, |repository| repository.random_blob(1, size));
        Self {
            origin,
            blob,
            _runtime: runtime,
        }
    }

    fn target(&self) -> Target {
        Target::plain(self.origin.host().parse().unwrap())
    }

    fn request(&self) -> Vec<u8> {
        let path = format!("/v2/{REPOSITORY}/blobs/{}", self.blob.digest);
        get(&self.target(), &path)
    }
}

#[test]
fn each_answer_is_read_to_its_last_byte_over_connections_that_are_kept() {
    let bench = Bench::with_blob_of(1_000_003);
    let mut load = Load::open(&bench.target(), 3, vec![bench.request()]).unwrap();
    for run in 1..=2 {
        let (tally, times) = load.run_each(10).unwrap();
        assert_eq!((tally.answers, tally.bytes), (10, 10_000_030));
        assert_eq!(times.len(), 10);
        assert!(times.iter().all(|its| its.first <= its.last));
        assert!(times.iter().all(|its| its.first > Duration::ZERO));
        let sent = bench.origin.body_bytes(&bench.blob.digest);
        assert_eq!(sent, run * 10_000_030);
    }
    let requests = bench.origin.requests_for(Kind::BlobGet);
    let clients: HashSet<SocketAddr> = requests.iter().map(|request| request.client).collect();
    assert_eq!(clients.len(), 3);
}

#[test]
fn what_a_run_leaves_on_its_way_is_none_of_the_next_ones() {
    let bench = Bench::with_blob_of(5_000_000);
    let mut load = Load::open(&bench.target(), 2, vec![bench.request()]).unwrap();
    let mut something_came = || load.run_for(Duration::from_millis(20)).unwrap().bytes > 0;
    assert!((0..1_000).any(|_| something_came()));
    let (tally, _) = load.run_each(3).unwrap();
    assert_eq!((tally.answers, tally.bytes), (3, 15_000_000));
}

#[test]
fn answer_that_is_no_success_is_an_error() {
    let bench = Bench::with_blob_of(1_000);
    bench.origin.on(Kind::BlobGet).once(Fault::status(429));
    let mut load = Load::open(&bench.target(), 1, vec![bench.request()]).unwrap();
    let error = load.run_each(1).unwrap_err().to_string();
    assert!(error.contains("429"), "{error}");

    bench.origin.on(Kind::BlobGet).once(Fault::CutAt(500));
    let mut load = Load::open(&bench.target(), 1, vec![bench.request()]).unwrap();
    let error = load.run_each(1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

/// Answers requests with a body of `size` bytes, `each` of them on every connection, until `count` connections have ended.
fn server(
    size: usize,
    each: usize,
    count: usize,
    tls: Option<ServerConfig>,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let tls = tls.map(Arc::new);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
    let answer = [answer.into_bytes(), vec![7; size]].concat();
    let serving = std::thread::spawn(move || {
        for _ in 0..count {
            let (socket, _) = listener.accept().unwrap();
            match &tls {
                None => answer_all(socket, &answer, each),
                Some(config) => {
                    let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                    answer_all(StreamOwned::new(connection, socket), &answer, each);
                }
            }
        }
    });
    (address, serving)
}

fn answer_all(mut stream: impl Read + Write, answer: &[u8], each: usize) {
    for _ in 0..each {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(answer).unwrap();
        stream.flush().unwrap();
    }
}

#[test]
fn request_goes_over_another_connection_where_the_server_has_ended_the_last() {
    let (address, serving) = server(100, 2, 3, None);
    let target = Target::plain(address);
    let mut load = Load::open(&target, 1, vec![get(&target, "/")]).unwrap();
    let (tally, _) = load.run_each(6).unwrap();
    assert_eq!((tally.answers, tally.bytes), (6, 600));
    serving.join().unwrap();
}

#[test]
fn body_is_read_to_its_last_byte_under_tls() {
    let authority = Authority::new("raw");
    let pair = authority.server(&["127.0.0.1"]);
    let (address, serving) = server(3_000_001, 2, 1, Some(pair.shown()));
    let target = Target {
        address,
        tls: Some(Arc::new(trusting(&[&authority], None))),
    };
    let mut load = Load::open(&target, 1, vec![get(&target, "/")]).unwrap();
    let (tally, _) = load.run_each(2).unwrap();
    assert_eq!((tally.answers, tally.bytes), (2, 6_000_002));
    serving.join().unwrap();
}

#[test]
fn slow_downloads_are_under_way_together_and_read_little() {
    let bench = Bench::with_blob_of(15_000_000);
    let mut slow = Slow::open(&bench.target(), 2, &bench.request(), 10_000).unwrap();
    let mut looks = 0;
    let look = |looks: &mut usize| {
        *looks += 1;
        Ok(())
    };
    while slow
        .run_for(Duration::from_millis(1), || look(&mut looks))
        .unwrap()
        < 2
    {}
    assert!(looks > 0);
    assert!(bench.origin.body_bytes(&bench.blob.digest) < 15_000_000);
}
