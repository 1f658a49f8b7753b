//! The manifest and tag flows in one process, where a test can break the disk and look behind the answers.

mod freshness;
mod logins;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use forebay_loadtest::origin::{Fault, ImageSpec, Kind, Origin};
use futures_util::poll;
use tempfile::TempDir;
use tokio::time::Instant;

use super::memory::KnownTag;
use super::*;
use crate::access::Permit;
use crate::config::Config;
use crate::oci::{Digest, ErrorCode};
use crate::store::{self, Faults, Op};
use crate::upstream::{Caller, Upstream};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mirror of an origin that stands for Docker Hub.
pub(super) struct Bench {
    pub(super) mirror: Mirror,
    pub(super) store: Store,
    pub(super) upstream: Arc<Upstream>,
    _dir: TempDir,
}

impl Bench {
    /// `lines` are added to the config, before the upstream's table and to it.
    pub(super) async fn start(origin: &Origin, lines: [&str; 2], faults: Faults) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::from_toml(&format!(
            "cache.dir = {:?}\n{}\n[upstreams.\"docker.io\"]\nendpoints = [{:?}]\nallow_private = true\n{}",
            dir.path(),
            lines[0],
            origin.registry_url(),
            lines[1],
        ))
        .unwrap();
        // What is served from memory is there for another reason than that it fits.
        config.cache.memory = 0;
        let mut settings = store::Settings::new(dir.path(), 1 << 30);
        settings.faults = faults;
        let store = Store::open(settings).await.unwrap();
        let upstreams = Upstreams::new(&config).unwrap();
        let upstream = upstreams.get(&"docker.io".parse().unwrap()).unwrap();
        Self {
            mirror: Mirror::new(&config, store.clone(), upstreams),
            store,
            upstream,
            _dir: dir,
        }
    }

    async fn manifest(&self, reference: &str) -> Result<Served, MirrorError> {
        let reference = reference.parse().unwrap();
        let asked = Permit::for_tests(&app());
        let answer = self
            .mirror
            .manifest(&asked, &reference, Wanted::Body, waiter());
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.expect("an answer does not wait for the disk")
    }

    async fn confirm(&self) -> confirm::Answer {
        let (upstream, patient) = (&self.upstream, patient());
        let confirmed = self.mirror.confirm(upstream, &app(), &v1(), &patient).await;
        confirmed.0
    }

    async fn tag_on_disk(&self) -> Option<Digest> {
        let record = self.store.tag(&app(), &v1()).await.unwrap();
        record.map(|record| record.descriptor.digest)
    }
}

pub(super) fn waiter() -> Waiter {
    Waiter {
        key: None,
        deadline: Instant::now() + PATIENCE,
    }
}

/// A client with time.
fn patient() -> Caller {
    Caller::client(None, Instant::now() + PATIENCE)
}

pub(super) fn app() -> Repository {
    repository("library/app")
}

pub(super) fn repository(name: &str) -> Repository {
    Repository::new("docker.io".parse().unwrap(), name.parse().unwrap())
}

fn v1() -> Tag {
    "v1".parse().unwrap()
}

const ALWAYS_DUE: &str =
    "[tags]\nfresh_for = \"0s\"\nnegative_for = \"0s\"\nconfirm_wait = \"20s\"";

async fn origin_with_image() -> Origin {
    let builder = Origin::builder().repository("library/app", |repository| {
        repository.multi_arch_image("v1", &image(1))
    });
    builder.start().await.unwrap()
}

fn image(seed: u64) -> ImageSpec {
    ImageSpec {
        seed: Some(seed),
        ..ImageSpec::default()
    }
}

fn move_tag(origin: &Origin) {
    origin.edit("library/app", |repository| {
        repository.multi_arch_image("v1", &image(2))
    });
}

fn root(origin: &Origin) -> Digest {
    let root = origin.image("library/app", "v1").root;
    root.digest.as_str().parse().unwrap()
}

/// A disk whose syncs wait while it is held. Dropping it lets them go.
struct Disk(Arc<(Mutex<bool>, Condvar)>);

impl Disk {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn faults(&self) -> Faults {
        let state = Arc::clone(&self.0);
        Faults::hook(move |op, _| {
            if op == Op::Sync {
                let held = state.0.lock().unwrap();
                drop(state.1.wait_while(held, |held| *held).unwrap());
            }
            None
        })
    }

    fn hold(&self, held: bool) {
        *self.0.0.lock().unwrap() = held;
        self.0.1.notify_all();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.hold(false);
    }
}

/// A request that had been held for its client's sake waited for a quota until it was too late to tell so.
#[tokio::test]
async fn nothing_is_waited_for_longer_than_the_client_waits() {
    let origin = origin_with_image().await;
    let bench = Bench::start(&origin, ["", ""], Faults::none()).await;
    let now = Instant::now();
    let until = |wait: u64| {
        let deadline = now + Duration::from_secs(wait);
        let waiter = Waiter {
            key: None,
            deadline,
        };
        (bench.mirror.until(waiter), deadline)
    };
    let (until_then, deadline) = until(3);
    assert_eq!(until_then, deadline);
    let (until_then, deadline) = until(3600);
    assert!(until_then < deadline, "`wait` of [fetch] holds as well");
}

/// A cold answer waited for two syncs and three index transactions, one after the other.
#[tokio::test]
async fn a_cold_manifest_is_answered_before_it_is_on_disk_and_a_stop_waits_until_it_is() {
    let origin = origin_with_image().await;
    let disk = Disk::new();
    let bench = Bench::start(&origin, ["", ""], disk.faults()).await;
    disk.hold(true);
    let cold = bench.manifest("v1").await.unwrap();
    assert_eq!(cold.cache_status, CacheStatus::Miss);
    let root = root(&origin);
    assert_eq!(bench.store.stat(&root).await.unwrap(), None);
    // Until it is stored it is served from here, by tag and by digest.
    for reference in ["v1", &root.to_string()] {
        let warm = bench.manifest(reference).await.unwrap();
        assert_eq!(warm.cache_status, CacheStatus::Hit, "{reference}");
    }
    assert_eq!(origin.counts().requests(Kind::ManifestGet), 1);

    let mut stop = std::pin::pin!(bench.mirror.shutdown());
    assert!(poll!(&mut stop).is_pending());
    assert_eq!(bench.tag_on_disk().await, None, "it would point at nothing");
    disk.hold(false);
    stop.await;
    assert!(bench.store.stat(&root).await.unwrap().is_some());
    assert_eq!(bench.tag_on_disk().await, Some(root));
    let app = app();
    let everyone = store::Audience::Everyone;
    let link = bench
        .store
        .has_link(&app.registry, &app.name, &root, everyone);
    assert!(link.await.unwrap().is_some());
}

#[tokio::test]
async fn a_manifest_that_cannot_be_stored_is_served_and_its_tag_stays_where_it_was_on_disk() {
    let origin = origin_with_image().await;
    let broken = Arc::new(Mutex::new(false));
    let faults = Faults::hook({
        let broken = Arc::clone(&broken);
        move |op, _| (op == Op::Sync && *broken.lock().unwrap()).then_some(store::Fault::Fail(5))
    });
    let bench = Bench::start(&origin, [ALWAYS_DUE, ""], faults).await;
    bench.manifest("v1").await.unwrap();
    let old = root(&origin);
    while bench.tag_on_disk().await.is_none() {
        tokio::task::yield_now().await;
    }
    move_tag(&origin);
    *broken.lock().unwrap() = true;
    let moved = bench.manifest("v1").await.unwrap();
    assert_eq!(moved.digest, Some(root(&origin)));
    bench.mirror.shutdown().await;
    assert_eq!(bench.tag_on_disk().await, Some(old));
}

/// The record's age counted from the end of the confirmation, which may be long after the upstream's answer.
#[tokio::test]
async fn a_record_is_as_old_as_the_answer_that_confirmed_it() {
    let origin = origin_with_image().await;
    let bench = Bench::start(&origin, [ALWAYS_DUE, ""], Faults::none()).await;
    bench.manifest("v1").await.unwrap();
    let old = origin.image("library/app", "v1");
    let amd64 = old.linux("amd64").descriptor.digest.as_str();
    bench.manifest(amd64).await.unwrap();
    move_tag(&origin);
    let new = origin.image("library/app", "v1");
    let child = origin
        .on(Kind::ManifestGet)
        .reference(&new.linux("amd64").descriptor.digest)
        .hold_head();
    let answered = async {
        child.reached(1).await;
        let now = SystemTime::now();
        child.release();
        now
    };
    let (confirmed, head_answered_before) = tokio::join!(bench.confirm(), answered);
    confirmed.unwrap();
    let told = bench.mirror.inner.memory.tag(&app(), &v1()).unwrap();
    let record = told.known.record().unwrap();
    assert_eq!(record.descriptor.digest, root(&origin));
    assert!(record.confirmed_at <= head_answered_before);
}

/// An index that was not there yet, on an upstream whose tag was, took the tag's record with it.
#[tokio::test]
async fn only_the_tags_own_404_removes_its_record() {
    let origin = origin_with_image().await;
    let bench = Bench::start(&origin, [ALWAYS_DUE, ""], Faults::none()).await;
    bench.manifest("v1").await.unwrap();
    let old = root(&origin);
    move_tag(&origin);
    let by_digest = origin
        .on(Kind::ManifestGet)
        .reference(root(&origin).to_string())
        .always(Fault::status(404));
    let by_tag = origin
        .on(Kind::ManifestGet)
        .reference("v1")
        .always(Fault::status(503));
    let stale = bench.manifest("v1").await.unwrap();
    assert_eq!(stale.digest, Some(old));
    assert_eq!(
        stale.cache_status,
        CacheStatus::Stale(StaleReason::Unavailable)
    );

    by_tag.remove();
    let confirmed = bench.confirm().await.unwrap();
    assert_eq!(
        confirmed.descriptor.digest,
        root(&origin),
        "the tag itself was asked"
    );

    by_digest.remove();
    origin.edit("library/app", |repository| repository.remove_tag("v1"));
    let gone = bench.manifest("v1").await.unwrap_err();
    let MirrorError::NotFound { code, .. } = gone else {
        panic!("{gone}");
    };
    assert_eq!(code, ErrorCode::ManifestUnknown);
    bench.mirror.shutdown().await;
    assert_eq!(bench.tag_on_disk().await, None);
}

/// A request that looked for a manifest just before the question for it ended, and asked just after, had it
/// fetched again: a second pull of the upstream's quota.
#[tokio::test]
async fn who_asks_just_after_a_manifest_came_does_not_have_it_fetched_again() {
    let origin = origin_with_image().await;
    let bench = Bench::start(&origin, ["", ""], Faults::none()).await;
    let (repository, digest) = (app(), root(&origin));
    let caller = patient();
    for _ in 0..2 {
        let late = bench
            .mirror
            .fetch_by_digest(&bench.upstream, &repository, &digest, &caller);
        assert_eq!(late.await.unwrap().0.digest, digest);
    }
    assert_eq!(origin.counts().requests(Kind::ManifestGet), 1);
}
