//! A cache of a million blobs: how long a start takes, and the first hit after it, as a client sees them; beside a small one.
//!
//! `cargo bench --bench million -- [BLOBS] [DIR]` makes the caches below DIR, a directory that is kept, with an entry for each blob
//! and nothing in it. Each start is one of the program's, with nothing of its index in memory; it ends with a kill, so that the
//! next one finds what a crash leaves.

mod seeded;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forebay::store::bench::{SIZE, digest};
use rustix::fs::{Advice, fadvise};

/// How often each is started.
const STARTS: usize = 5;
/// Longer than any start takes.
const PATIENCE: Duration = Duration::from_mins(2);

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|text| text != "--bench");
    let blobs = arguments
        .next()
        .map_or(1_000_000, |text| text.parse().expect("a number of blobs"));
    let parent = arguments
        .next()
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    for blobs in [1_000, blobs] {
        println!("{blobs} blobs");
        let made = Instant::now();
        let dir = seeded::seeded_dir(&parent, blobs, true);
        let index = std::fs::metadata(dir.join("index.redb"))
            .expect("an index")
            .len();
        println!(
            "  made in {:.0?}, index of {} MiB",
            made.elapsed(),
            index >> 20
        );
        for _ in 0..STARTS {
            println!("  {}", Start::of(&dir, blobs));
        }
    }
}

/// One start of the program.
struct Start {
    ready: Duration,
    /// Bytes that the disk was asked for until then.
    read: u64,
    hit: Duration,
    resident: u64,
}

impl Start {
    fn of(dir: &Path, blobs: u64) -> Self {
        forget(&dir.join("index.redb"));
        let address = free_address();
        let began = Instant::now();
        let mut child = Running(
            program(dir, blobs, address)
                .spawn()
                .expect("it can be started"),
        );
        let stream = connected(address, began);
        let ready = began.elapsed();
        let read = read_of_disk(child.0.id());
        let asked = Instant::now();
        // The one that was used longest ago: nothing has it in memory.
        let path = format!("/v2/library/app/blobs/{}", digest(0));
        get(stream, &path);
        let hit = asked.elapsed();
        let resident = resident(child.0.id());
        child.0.kill().expect("it runs");
        Self {
            ready,
            read,
            hit,
            resident,
        }
    }
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            ready,
            read,
            hit,
            resident,
        } = self;
        let (read, resident) = (read >> 10, resident >> 20);
        write!(
            f,
            "ready after {ready:.1?} and {read} KiB of the disk, first hit in {hit:.1?}, {resident} MiB resident"
        )
    }
}

/// Killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(dir: &Path, blobs: u64, address: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command
        .args(["serve", "--listen", &address.to_string(), "--cache-dir"])
        .arg(dir)
        .env(
            "FOREBAY_CACHE__MAX_SIZE",
            format!("{}B", seeded::limit(blobs)),
        )
        .env("FOREBAY_CACHE__MIN_FREE", "0B")
        .env("FOREBAY_ADMIN__LISTEN", "off")
        .env("FOREBAY_LOG__LEVEL", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound")
}

/// A connection on which a ping was answered.
fn connected(address: SocketAddr, began: Instant) -> TcpStream {
    loop {
        if let Ok(mut stream) = TcpStream::connect(address) {
            let asked = stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n");
            asked.expect("it takes a request");
            let mut answer = [0; 16];
            stream.read_exact(&mut answer).expect("it answers");
            drop(stream);
            return TcpStream::connect(address).expect("it listens");
        }
        assert!(began.elapsed() < PATIENCE, "it does not start");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All of a blob.
fn get(mut stream: TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("it takes a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert!(answer.len() as u64 > SIZE);
}

/// Has nothing of a file in memory. What is in memory alone, as on tmpfs, stays there: the start tells how much it read.
fn forget(file: &Path) {
    let file = std::fs::File::open(file).expect("an index");
    file.sync_all().expect("it can be written to the disk");
    fadvise(&file, 0, None, Advice::DontNeed).expect("it can be forgotten");
}

/// Bytes that a process has had read from disks: of what was in memory it says nothing.
fn read_of_disk(process: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{process}/io")).expect("it runs");
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("read_bytes: "));
    let bytes = line.expect("the kernel counts it");
    bytes.parse().expect("a number")
}

/// Bytes of memory that a process has.
fn resident(process: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).expect("it runs");
    let pages = statm
        .split_whitespace()
        .nth(1)
        .expect("there are seven numbers");
    pages.parse::<u64>().expect("a number") * 4096
}
