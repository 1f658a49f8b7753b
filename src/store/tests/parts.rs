//! Parts of files that go to a socket from where they are.

use std::fs::{File, OpenOptions};
use std::future::poll_fn;
use std::io::{ErrorKind, IoSliceMut, Read};
use std::num::NonZero;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl};
use rustix::io::{ReadWriteFlags, preadv2};

use super::support::*;
use crate::store::{BlobFile, Chunk, Fault, Faults, Lost, Op, PART, Part, Store, Trail};

const SEGMENT: usize = 60 << 10;

/// The two ends of a connection; ours does not block.
fn sockets() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, theirs)
}

/// A directory in a file system that tells what is in memory, which a container's own need not do.
fn telling() -> Dir {
    let dir = Dir::new();
    let told = |dir: &Dir| {
        let path = dir.path().join("probe");
        std::fs::write(&path, b"probe").unwrap();
        let mut byte = [0];
        let mut to = [IoSliceMut::new(&mut byte)];
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        preadv2(&file, &mut to, 0, ReadWriteFlags::NOWAIT).is_ok()
    };
    if told(&dir) { dir } else { Dir::in_memory() }
}

/// A blob in a store of its own.
struct Stored {
    dir: Dir,
    store: Store,
    blob: Bytes,
    file: Arc<BlobFile>,
}

impl Stored {
    async fn new(seed: u64, length: u64) -> Self {
        let dir = telling();
        let store = dir.open(32 * MIB).await;
        let blob = body(seed, length);
        fill(&store, &blob).await.unwrap();
        let file = store.blob(&digest(&blob)).await.unwrap().unwrap();
        Self {
            dir,
            store,
            blob,
            file,
        }
    }
}

/// What a reader is given that begins here.
async fn lend(file: &Arc<BlobFile>, at: u64, max: usize) -> Chunk {
    let mut trail = Trail::default();
    file.lend_at(Some(&mut trail), at, max).await.unwrap()
}

async fn part(file: &Arc<BlobFile>, at: u64, max: usize) -> Part {
    match lend(file, at, max).await {
        Chunk::Part(part) => part,
        Chunk::Bytes(bytes) => panic!(
            "{} bytes were read: neither the temporary directory nor /dev/shm tells what is in memory",
            bytes.len()
        ),
    }
}

/// Sends all of it, and gives what the other end got.
fn sent(mut part: Part, (ours, mut theirs): (&UnixStream, &UnixStream)) -> Vec<u8> {
    let mut got = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    while !part.is_empty() {
        match part.send(ours) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let count = theirs.read(&mut buffer).unwrap();
                got.extend_from_slice(&buffer[..count]);
            }
            Err(error) => panic!("{error}"),
        }
    }
    theirs.set_nonblocking(true).unwrap();
    while let Ok(count) = theirs.read(&mut buffer) {
        got.extend_from_slice(&buffer[..count]);
    }
    theirs.set_nonblocking(false).unwrap();
    got
}

/// Has the system forget what it has of a file.
fn evict(path: &std::path::Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
}

#[tokio::test]
async fn a_part_is_sent_as_it_is_in_the_file() {
    let Stored {
        dir: _dir,
        store,
        blob,
        file,
    } = Stored::new(1, MIB + 7).await;
    let (ours, theirs) = sockets();
    let (mut got, mut parts) = (Vec::new(), 0);
    while got.len() < blob.len() {
        match lend(&file, got.len() as u64, usize::MAX).await {
            Chunk::Part(part) => {
                assert!((SEGMENT..=PART).contains(&part.len()));
                parts += 1;
                got.extend(sent(part, (&ours, &theirs)));
            }
            Chunk::Bytes(bytes) => {
                // Less than that is not worth it.
                assert!(bytes.len() < SEGMENT && got.len() + bytes.len() == blob.len());
                got.extend_from_slice(&bytes);
            }
        }
    }
    assert!(got == blob);
    assert_eq!(parts, blob.len() / PART + 1);
    let middle = part(&file, 12_345, 100_000).await;
    assert!(sent(middle, (&ours, &theirs)) == blob.slice(12_345..112_345));
    assert!(lend(&file, 0, 0).await.is_empty());
    assert!(lend(&file, file.size(), 10).await.is_empty());
    assert!(has(&store, &blob).await, "its end is no fault of the disk");
}

/// What was lent is there for as long as it is on its way.
#[tokio::test]
async fn a_part_outlives_its_blob() {
    let Stored {
        dir,
        store,
        blob,
        file,
    } = Stored::new(2, MIB).await;
    let part = part(&file, 0, usize::MAX).await;
    store.remove(&digest(&blob)).await.unwrap();
    drop(file);
    let (ours, theirs) = sockets();
    let length = part.len() as u64;
    assert!(sent(part, (&ours, &theirs)) == piece(&blob, 0..length).1);
    audit(&dir, &store).await;
}

#[tokio::test]
async fn what_is_not_in_memory_is_brought_there_before_it_is_lent() {
    let Stored {
        dir,
        store: _store,
        blob,
        file,
    } = Stored::new(3, MIB).await;
    let path = dir.blob(&digest(&blob));
    let mut lent = part(&file, 0, usize::MAX).await;
    assert!(lent.is_resident());
    evict(&path);
    if lent.is_resident() {
        // In a file system that is memory.
        return;
    }
    // One that was lent before, and whose socket took nothing for a while.
    lent.rest();
    poll_fn(|cx| lent.poll_ready(cx)).await.unwrap();
    assert!(lent.is_resident());
    evict(&path);
    let other = part(&file, 0, usize::MAX).await;
    assert!(other.is_resident());
    let (ours, theirs) = sockets();
    let length = lent.len() as u64;
    assert!(sent(lent, (&ours, &theirs)) == piece(&blob, 0..length).1);
}

/// A part that follows one that was in memory is looked at once, at its end: a hole that begins with it is not seen unless it
/// reaches that. What follows one that was not is looked at at both.
#[tokio::test]
async fn who_goes_on_from_what_was_in_memory_looks_at_the_end_alone() {
    let Stored {
        dir,
        store: _store,
        blob,
        file,
    } = Stored::new(8, MIB).await;
    let path = dir.blob(&digest(&blob));
    let next = PART as u64;
    let hole = || {
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, next, NonZero::new(next / 2), Advice::DontNeed).unwrap();
    };
    let whole = part(&file, next, usize::MAX).await;
    assert!(whole.is_resident());
    hole();
    if whole.is_resident() {
        // In a file system that is memory.
        return;
    }
    for was_there in [true, false] {
        let mut trail = Trail::default();
        if !was_there {
            evict(&path);
        }
        let first = file.lend_at(Some(&mut trail), 0, usize::MAX).await;
        assert_eq!(first.unwrap().len(), PART);
        // What was not there was read together with what follows.
        let _ = part(&file, next, usize::MAX).await;
        hole();
        // Who saw the part before it does not see the hole.
        assert_eq!(trail.finds(&whole), was_there);
    }
}

/// A socket that appends, of which `sendfile` wants to know nothing, stands for all that it may refuse.
#[tokio::test]
async fn where_there_is_no_sendfile_bytes_are_read_and_written() {
    let Stored {
        dir: _dir,
        store: _store,
        blob,
        file,
    } = Stored::new(4, MIB).await;
    let (ours, theirs) = sockets();
    fcntl_setfl(&ours, fcntl_getfl(&ours).unwrap() | OFlags::APPEND).unwrap();
    let lent = part(&file, 5, usize::MAX).await;
    let end = 5 + lent.len() as u64;
    assert!(sent(lent, (&ours, &theirs)) == piece(&blob, 5..end).1);
    let Chunk::Bytes(bytes) = lend(&file, end, usize::MAX).await else {
        panic!("it is asked for again");
    };
    let got = piece(&blob, end..end + bytes.len() as u64).1;
    assert!(!bytes.is_empty() && bytes == got);
}

#[tokio::test]
async fn a_part_that_the_disk_does_not_give_back_ends_and_is_dropped() {
    let dir = telling();
    let failing = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&failing);
    let faults = Faults::hook(move |asked, _| {
        let eio = Fault::Fail(5);
        (asked == Op::Read && fails.load(Ordering::Relaxed)).then_some(eio)
    });
    let store = dir.open_with(32 * MIB, faults).await;
    let gone = async |seed, fails: bool, cut: u64| {
        let blob = body(seed, MIB);
        fill(&store, &blob).await.unwrap();
        let file = store.blob(&digest(&blob)).await.unwrap().unwrap();
        let mut part = part(&file, 0, usize::MAX).await;
        let path = dir.blob(&digest(&blob));
        let ours = OpenOptions::new().write(true).open(&path).unwrap();
        ours.set_len(cut).unwrap();
        failing.store(fails, Ordering::Relaxed);
        let (socket, _theirs) = sockets();
        let mut got = 0;
        let error = loop {
            match part.send(&socket) {
                Ok(count) => got += count as u64,
                Err(error) => break error,
            }
        };
        failing.store(false, Ordering::Relaxed);
        assert_eq!(got, cut);
        let is_gone = async || store.stat(&digest(&blob)).await.unwrap().is_none();
        until("it is dropped", is_gone).await;
        error
    };
    let error = gone(5, false, 1000).await;
    assert!(Lost::caused(&error), "{error}");
    let error = gone(6, true, 0).await;
    assert!(Lost::caused(&error), "{error}");
}

/// The blob stays, and so does its part: nothing is wrong with the file.
#[tokio::test]
async fn a_part_for_nobody_is_no_fault_of_the_disk() {
    let Stored {
        dir: _dir,
        store,
        blob,
        file,
    } = Stored::new(7, MIB).await;
    let mut lent = part(&file, 0, usize::MAX).await;
    let (ours, theirs) = sockets();
    drop(theirs);
    let error = lent.send(&ours).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(!Lost::caused(&error));
    let (ours, theirs) = sockets();
    let length = lent.len() as u64;
    assert!(sent(lent, (&ours, &theirs)) == piece(&blob, 0..length).1);
    assert!(has(&store, &blob).await);
}
