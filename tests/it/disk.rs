//! A disk that fails costs the cache's help, never the pull.
//!
//! The mirror runs in this process over a store whose operations are made to fail; the upstream is a scripted origin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forebay::access::{self, Gate};
use forebay::config::Config;
use forebay::mirror::{Body, BodyError, Chunk, Mirror, MirrorError, RangeSpec, Waiter, Wanted};
use forebay::oci::{Digest, Repository};
use forebay::store::{Fault, Faults, Op, Settings, Store};
use forebay::upstream::Upstreams;
use forebay_loadtest::origin::{self, Descriptor, Kind, Origin};
use tempfile::TempDir;

use crate::harness::{hold_body, origin_with_blob, sha256};

const SIZE: u64 = 6_000_000;
/// `errno` of a disk that can't, of a process without descriptors, and of a disk that is full.
const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

struct Rig {
    mirror: Mirror,
    store: Store,
    origin: Origin,
    blob: Descriptor,
    failing: Arc<AtomicBool>,
    config: Config,
    faults: Faults,
    dir: TempDir,
}

impl Rig {
    /// The blob is cached and no file open any more: the next pull meets the disk's fault, and is right all the same.
    async fn meets_its_fault_with_a_cached_blob(&mut self, op: Op) {
        self.reopen().await;
        let asked = self.bodies();
        self.fail(true);
        assert!(self.is_right(&self.pull().await.unwrap()), "{op}");
        assert!(self.bodies() > asked, "{op}: the fault was not met");
        self.fail(false);
    }

    /// A mirror whose disk refuses `op` with `errno` while `failing` is set.
    async fn new(seed: u64, op: Op, errno: i32) -> Self {
        let (origin, blob) = origin_with_blob(seed, SIZE).await;
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "[upstreams.\"docker.io\"]\nendpoints = [{:?}]\nallow_private = true\n",
            origin.registry_url()
        );
        let config = Config::from_toml(&config).unwrap();
        let failing = Arc::new(AtomicBool::new(false));
        let fails = Arc::clone(&failing);
        let faults = Faults::hook(move |asked, path| {
            let blob = !path.ends_with("index.redb") && !path.ends_with("VERSION");
            (asked == op && blob && fails.load(Ordering::Relaxed)).then_some(Fault::Fail(errno))
        });
        let (mirror, store) = open(&config, &faults, &dir).await;
        Self {
            mirror,
            store,
            origin,
            blob,
            failing,
            config,
            faults,
            dir,
        }
    }

    /// Closes the mirror and opens it again.
    async fn reopen(&mut self) {
        self.mirror.shutdown().await;
        self.store.close().await;
        (self.mirror, self.store) = open(&self.config, &self.faults, &self.dir).await;
    }

    /// How many bodies the upstream was asked for.
    fn bodies(&self) -> u64 {
        self.origin.counts().requests(Kind::BlobGet)
    }

    fn fail(&self, fail: bool) {
        self.failing.store(fail, Ordering::Relaxed);
    }

    fn digest(&self) -> Digest {
        self.blob.digest.as_str().parse().unwrap()
    }

    async fn pull(&self) -> Result<Vec<u8>, BodyError> {
        let body = self.ask(None).await.expect("the upstream has it");
        read(body).await
    }

    async fn ask(&self, range: Option<RangeSpec>) -> Result<Body, MirrorError> {
        let repository: Repository = "docker.io/library/app".parse().unwrap();
        let permit = Gate::new(&self.config).permit(&access::Client::default(), &repository);
        let waiter = Waiter {
            key: None,
            deadline: tokio::time::Instant::now() + Duration::from_mins(1),
        };
        let served = self
            .mirror
            .blob(
                &permit.unwrap(),
                &self.digest(),
                range,
                Wanted::Body,
                waiter,
            )
            .await?;
        Ok(served.body)
    }

    fn is_right(&self, bytes: &[u8]) -> bool {
        sha256(bytes) == self.blob.digest.as_str()
    }

    /// Everything works again, and the next pull is kept.
    async fn recovers(&self) {
        self.fail(false);
        assert!(self.is_right(&self.pull().await.unwrap()));
        let digest = self.digest();
        while self.store.stat(&digest).await.unwrap().is_none() {
            assert!(self.is_right(&self.pull().await.unwrap()));
        }
    }
}

async fn open(config: &Config, faults: &Faults, dir: &TempDir) -> (Mirror, Store) {
    let settings = Settings {
        faults: faults.clone(),
        ..Settings::new(dir.path(), 1 << 30)
    };
    let store = Store::open(settings).await.unwrap();
    let mirror = Mirror::new(config, store.clone(), Upstreams::new(config).unwrap());
    (mirror, store)
}

async fn read(body: Body) -> Result<Vec<u8>, BodyError> {
    let Body::Blob(mut body) = body else {
        panic!("a blob's body");
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next(false).await? {
        let Chunk::Bytes(chunk) = chunk else {
            panic!("nobody here takes parts of files");
        };
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_in_the_middle_of_a_fill_costs_its_readers_nothing() {
    for (seed, errno) in [(1, EIO), (2, ENOSPC)] {
        let rig = Rig::new(seed, Op::Write, errno).await;
        let gate = hold_body(&rig.origin, &rig.blob.digest, SIZE / 2);
        let started = rig.ask(None).await.unwrap();
        let follower = rig.ask(None).await.unwrap();
        gate.reached(1).await;
        rig.fail(true);
        gate.release();
        let (first, second) = tokio::join!(read(started), read(follower));
        assert!(
            rig.is_right(&first.unwrap()),
            "errno {errno}: the reader that started it"
        );
        assert!(
            rig.is_right(&second.unwrap()),
            "errno {errno}: the follower"
        );
        rig.recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_nothing_from_the_start_is_gone_around() {
    for (seed, op) in [(3, Op::Create), (4, Op::Write)] {
        let rig = Rig::new(seed, op, ENOSPC).await;
        rig.fail(true);
        assert!(rig.is_right(&rig.pull().await.unwrap()), "{op}");
        let range = RangeSpec::From {
            first: 1000,
            last: Some(1999),
        };
        let part = read(rig.ask(Some(range)).await.unwrap()).await.unwrap();
        let whole = rig.origin.content("library/app", &rig.blob.digest);
        assert_eq!(part, whole.slice(1000..2000), "{op}");
        rig.recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_committed_has_been_served_all_the_same() {
    for (seed, op) in [(5, Op::Sync), (6, Op::Rename), (7, Op::SyncDir)] {
        let rig = Rig::new(seed, op, EIO).await;
        rig.fail(true);
        assert!(rig.is_right(&rig.pull().await.unwrap()), "{op}");
        rig.recovers().await;
    }
}

/// It used to stay where it was, and every request for it went upstream from then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_cached_blob_that_the_disk_lost_comes_from_upstream_once_and_is_kept_anew() {
    for (seed, op) in [(8, Op::Open), (9, Op::Read)] {
        let mut rig = Rig::new(seed, op, EIO).await;
        rig.recovers().await;
        rig.meets_its_fault_with_a_cached_blob(op).await;
        if op == Op::Read {
            // It is dropped behind the answer's back.
            let dropped = async {
                while rig.store.stat(&rig.digest()).await.unwrap().is_some() {
                    tokio::task::yield_now().await;
                }
            };
            let dropped = tokio::time::timeout(Duration::from_mins(1), dropped).await;
            dropped.expect("it is dropped");
        }
        rig.recovers().await;
        let asked = rig.bodies();
        assert!(rig.is_right(&rig.pull().await.unwrap()), "{op}");
        assert_eq!(rig.bodies(), asked, "{op}: it is cached again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_blob_that_cannot_be_read_for_want_of_descriptors_stays_cached() {
    for (seed, op) in [(11, Op::Open), (12, Op::Read)] {
        let mut rig = Rig::new(seed, op, EMFILE).await;
        rig.recovers().await;
        rig.meets_its_fault_with_a_cached_blob(op).await;
        let asked = rig.bodies();
        assert!(rig.is_right(&rig.pull().await.unwrap()), "{op}");
        assert_eq!(rig.bodies(), asked, "{op}: it is still cached");
    }
}

/// Even without the cache's help no wrong body completes.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_body_that_goes_around_the_disk_does_not_complete() {
    let rig = Rig::new(10, Op::Create, EIO).await;
    rig.fail(true);
    rig.origin
        .on_body(&rig.blob.digest)
        .always(origin::Fault::FlipBit(SIZE / 2));
    assert_eq!(rig.pull().await, Err(BodyError::Mismatch));
}
