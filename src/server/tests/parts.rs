//! Parts of files in bodies: what comes before them, between them and after them.

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::Mutex;
use std::sync::mpsc;

use crate::http::{Chunk, PART, Part};

use super::*;

/// What tells every byte of a file from its neighbours, and from what stands for a part of it.
fn content(length: usize) -> Vec<u8> {
    (1..=251).cycle().take(length).collect()
}

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

fn part(file: &File, at: u64, max: usize) -> Chunk {
    let file = file.try_clone().unwrap();
    Chunk::Part(Part::of_any(file, at, max, || None))
}

fn bytes(content: &[u8]) -> Chunk {
    Chunk::Bytes(Bytes::copy_from_slice(content))
}

/// Gives these bodies, in this order.
fn serve(settings: Settings, bodies: Vec<ResponseBody>) -> Server {
    let bodies = Mutex::new(bodies.into_iter());
    Server::start(settings, move || bodies.lock().unwrap().next().unwrap())
}

impl Client {
    /// The body of the next answer, taken by and by: sockets are full all the time.
    async fn body(&mut self) -> Vec<u8> {
        let head = self.read_until("\r\n\r\n").await;
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        let mut buffer = vec![0; 10_007];
        while self.unread.len() < length {
            let most = buffer.len().min(length - self.unread.len());
            let read = timeout(LONG, self.stream.read(&mut buffer[..most])).await;
            let count = read.unwrap().unwrap();
            assert!(count > 0, "{} of {length} came", self.unread.len());
            self.unread.extend_from_slice(&buffer[..count]);
        }
        let rest = self.unread.split_off(length);
        std::mem::replace(&mut self.unread, rest)
    }
}

#[tokio::test]
async fn parts_and_bytes_come_in_their_order_to_the_last_byte() {
    let content = content(8 << 20);
    let from = file(&content);
    let mixed = || {
        ResponseBody::of_chunks(vec![
            bytes(b"first"),
            part(&from, 0, 1),
            part(&from, 1, 100),
            bytes(&content[101..70_000]),
            part(&from, 70_000, PART),
            bytes(b"between"),
            part(&from, 5, 61_440),
            part(&from, 7, 61_441),
        ])
    };
    let wanted = [
        &b"first"[..],
        &content[..70_000 + PART],
        b"between",
        &content[5..61_445],
        &content[7..61_448],
    ]
    .concat();
    let parts = (0..content.len()).step_by(PART);
    let parts = parts.map(|at| part(&from, at as u64, content.len() - at));
    let long = ResponseBody::of_chunks(parts.collect());
    let bodies = vec![mixed(), ResponseBody::whole("small"), long, mixed()];
    let server = serve(patient(), bodies);
    let mut client = server.send(&GET.repeat(4)).await;
    for wanted in [&wanted, b"small".as_slice(), &content, &wanted] {
        assert!(client.body().await == wanted);
    }
}

/// As after a body that is cut: what was sent holds, and is not to be taken back by RST.
#[tokio::test]
async fn a_file_that_ends_early_ends_the_connection_with_fin_after_what_there_was() {
    let content = content(100_000);
    let from = file(&content);
    let body = ResponseBody::of_chunks(vec![bytes(b"first"), part(&from, 0, 150_000)]);
    let server = serve(patient(), vec![body]);
    // More than hyper reads ahead, so that some of it is still in the socket when it closes.
    let client = server.send(&GET.repeat(2_000)).await;
    let (text, end) = client.read_to_end().await;
    let body = text.split("\r\n\r\n").nth(1).unwrap();
    assert!(body.starts_with("first"));
    let lossy = String::from_utf8_lossy(&content);
    assert!(body[5..] == *lossy, "{} bytes came", body.len());
    assert_eq!(end, Ok(()));
}

/// A part that had to wait for its socket, and is not in memory any more then.
fn left_for_a_while(
    length: usize,
    disk: impl Fn() -> Option<i32> + Send + Sync + 'static,
) -> ResponseBody {
    let content = content(length);
    let from = file(&content);
    from.sync_all().unwrap();
    rustix::fs::fadvise(&from, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let mut part = Part::of_any(from, 0, length, disk);
    part.rest();
    ResponseBody::of_chunks(vec![Chunk::Part(part)])
}

/// Longer than the client is given for taking nothing.
#[tokio::test]
async fn a_part_that_waits_for_the_disk_is_no_fault_of_the_client() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let slow = move || {
        // Over once the other end is dropped.
        let _ = gone.lock().unwrap().recv();
        None
    };
    let body = left_for_a_while(200_000, slow);
    let settings = Settings {
        write_idle_timeout: SHORT,
        ..patient()
    };
    let server = serve(settings, vec![body]);
    let mut client = server.send(GET).await;
    tokio::time::sleep(4 * SHORT).await;
    drop(go);
    assert!(client.body().await == content(200_000));
}

#[tokio::test]
async fn a_part_that_the_disk_does_not_bring_back_ends_the_connection_with_fin() {
    let body = left_for_a_while(200_000, || Some(5));
    let server = serve(patient(), vec![body]);
    let (text, end) = server.send(GET).await.read_to_end().await;
    assert_eq!(end, Ok(()));
    // In a file system that is memory nothing was to be brought back.
    let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
    assert!(body.is_empty() || body.len() >= 200_000);
}
