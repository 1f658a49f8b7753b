//! Blobs that go from the page cache to a socket without a copy.

use std::fs::OpenOptions;

use forebay_loadtest::certificates::{Authority, trusting};

use crate::harness::{
    Client, End, Forebay, Setup, Wire, blob_file, blob_path, get, hold_body, listener_tls,
    origin_with_blob, sha256,
};

const APP: &str = "library/app";
/// More than what sockets take of it without a reader.
const LARGE: u64 = 24_000_000;

/// Bytes of stored blobs that were read in this way.
async fn read(mirror: &Forebay, path: &str) -> f64 {
    let label = format!("path=\"{path}\"");
    mirror
        .metric("forebay_store_read_bytes_total", &label)
        .await
}

/// What a file system does not tell what it has in memory of is read in another way. It is the same for both mirrors.
#[tokio::test(flavor = "multi_thread")]
async fn hits_go_to_plain_sockets_from_the_file_and_are_copied_for_tls() {
    let (origin, blob) = origin_with_blob(1, 3_000_000).await;
    let authority = Authority::new("servers");
    let setup = Setup::new(&origin);
    let tls = listener_tls("server", &authority, setup.dir());
    let secure = setup.config(&tls).start().await;
    let client = Client::over_tls(trusting(&[&authority], None), secure.address);
    let plain = Setup::new(&origin).start().await;
    for _ in 0..2 {
        client.pulls(APP, &blob.digest).await;
        plain.client().pulls(APP, &blob.digest).await;
    }
    let tells = read(&secure, "resident").await > 0.0;
    assert!(read(&secure, "sendfile").await < 1.0);
    assert_eq!(read(&plain, "sendfile").await > 2_000_000.0, tells);

    let whole = plain.client().blob(APP, &blob.digest).await.body;
    let path = blob_path(APP, &blob.digest);
    for (range, part) in [
        ("bytes=0-", 0..3_000_000),
        ("bytes=100000-2899999", 100_000..2_900_000),
        ("bytes=-61441", 2_938_559..3_000_000),
        ("bytes=2999999-", 2_999_999..3_000_000),
    ] {
        let answer = plain.client().range(&path, range).await;
        assert!(answer.complete && answer.body == whole[part], "{range}");
    }
}

/// What follows a part of a file on a connection comes after its last byte.
#[tokio::test(flavor = "multi_thread")]
async fn answers_to_requests_that_were_sent_together_come_in_order() {
    let (origin, blob) = origin_with_blob(2, 1_000_003).await;
    let mirror = Setup::new(&origin).start().await;
    mirror.client().pulls(APP, &blob.digest).await;
    let path = blob_path(APP, &blob.digest);
    let mut wire = Wire::open(&mirror).await;
    let asked = [&path, "/v2/", &path, &path, "/v2/"].map(get).concat();
    wire.send(asked).await;
    for length in [1_000_003, 2, 1_000_003, 1_000_003, 2] {
        let head = wire.head().await;
        assert_eq!((head.status(), head.length()), ("200", length));
        let body = wire.body(length).await;
        if length > 2 {
            assert_eq!(sha256(&body), blob.digest.as_str());
        }
    }
    wire.finish().await;
    assert_eq!(wire.rest().await, (Vec::new().into(), End::Fin));
}

/// What stands for a part of a file is never sent in its place: the client gets what there is, and is told that it is not all.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_cut_while_it_is_sent_ends_the_answer_there() {
    let (origin, blob) = origin_with_blob(3, LARGE).await;
    let mirror = Setup::new(&origin).start().await;
    let whole = mirror.client().blob(APP, &blob.digest).await.body;
    assert_eq!(sha256(&whole), blob.digest.as_str());
    // Its last byte may come before it is in its place.
    mirror
        .until_metric("forebay_fills_total", "committed", |fills| fills >= 1.0)
        .await;
    let mut wire = Wire::open(&mirror).await;
    // Whether it gets all or not, it is told by the connection's end.
    let last = get(&blob_path(APP, &blob.digest));
    wire.send(last.replace("Host:", "Connection: close\r\nHost:"))
        .await;
    assert_eq!(wire.head().await.length() as u64, LARGE);
    let first = wire.body(1000).await;
    // Somebody else's fault: nothing is left of it.
    let cut = OpenOptions::new()
        .write(true)
        .open(blob_file(&mirror.cache_dir(), &blob.digest));
    cut.unwrap().set_len(0).unwrap();
    let (rest, end) = wire.rest().await;
    let got = [first, rest].concat();
    // Between two parts the rest would come from upstream, on the same connection.
    let is_whole = got.len() as u64 == LARGE;
    assert!(whole.starts_with(&got), "{} bytes came", got.len());
    assert!(is_whole || end == End::Fin, "{end:?}");
    mirror.client().pulls(APP, &blob.digest).await;
}

/// As far as a restart would find it: who is at the frontier gets a copy.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_behind_a_running_fill_is_sent_what_it_has_from_its_file() {
    let (origin, blob) = origin_with_blob(4, 4_000_000).await;
    let gate = hold_body(&origin, &blob.digest, 3_500_000);
    let mirror = Setup::new(&origin).start().await;
    let mut readers = Vec::new();
    for first in [3_000_000, 1_500_000] {
        let mut wire = Wire::open(&mirror).await;
        wire.send(get(&blob_path(APP, &blob.digest))).await;
        assert_eq!(wire.head().await.length(), 4_000_000);
        readers.push((wire.body(first).await, wire));
    }
    let tells = read(&mirror, "resident").await > 0.0;
    assert_eq!(read(&mirror, "sendfile").await > 0.0, tells);
    gate.release();
    for (first, mut wire) in readers {
        let rest = wire.body(4_000_000 - first.len()).await;
        assert_eq!(sha256(&[first, rest].concat()), blob.digest.as_str());
    }
}
