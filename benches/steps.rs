//! Steps of the hot paths, one at a time: `cargo bench --bench steps`. What the figures are is in `benches/README.md`.
//!
//! Run by `cargo test`, each is tried once, in a cache of a thousand blobs.

mod seeded;
mod stage;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use forebay::http::bench::is_routed;
use forebay::oci::{Algorithm, Digest, Verifier};
use forebay::store::Settings;
use forebay::store::bench::{Steps, digest};
use http::{HeaderMap, Method, Uri};
use tokio::runtime::Runtime;

use stage::Stage;

fn main() {
    divan::main();
}

/// Blobs in a cache: few, and so many that it matters. Those of tests are few.
const SIZES: &[u64] = if cfg!(debug_assertions) {
    &[1_000]
} else {
    &[1_000, 1_000_000]
};

static STAGE: LazyLock<Stage> = LazyLock::new(Stage::new);

/// What clients ask for: as dockerd, as containerd with `ns`, and by a registry's name in the path.
const TARGETS: [&str; 4] = [
    "/v2/library/nginx/manifests/1.27-alpine",
    "/v2/library/nginx/blobs/sha256:6a9bd6a1d6bd9b6e94a2ae2a1ac2e4b8e4e1a4c9c9d5ce4a7a9be9a0c4a7b5d1",
    "/v2/library/nginx/manifests/latest?ns=docker.io",
    "/v2/ghcr.io/homebrew/core/jq/manifests/1.7",
];

#[divan::bench(args = TARGETS)]
fn route(bencher: Bencher<'_, '_>, target: &str) {
    let uri: Uri = target.parse().unwrap();
    let headers: HeaderMap = [(http::header::HOST, "mirror:5000".parse().unwrap())]
        .into_iter()
        .collect();
    let routes = STAGE.mirror.routes();
    assert!(is_routed(routes, &Method::GET, &uri, &headers));
    bencher.bench_local(|| is_routed(routes, &Method::GET, black_box(&uri), &headers));
}

#[divan::bench(args = Algorithm::ALL)]
fn verify(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let body = vec![7; 1 << 20];
    let digest = Digest::of(algorithm, &body);
    bencher
        .counter(BytesCount::of_slice(&body))
        .bench_local(|| {
            let mut verifier = Verifier::new(digest);
            for chunk in black_box(&body).chunks(stage::CHUNK) {
                verifier.update(chunk);
            }
            verifier.finish().is_ok()
        });
}

#[divan::bench]
fn manifest_from_memory(bencher: Bencher<'_, '_>) {
    let stage = &*STAGE;
    stage.runtime.block_on(stage.manifest());
    bencher.bench_local(|| stage.runtime.block_on(stage.manifest()));
}

#[divan::bench]
fn read_stored(bencher: Bencher<'_, '_>) {
    let stage = &*STAGE;
    stage.runtime.block_on(stage.pull());
    bencher
        .counter(BytesCount::new(stage::BLOB))
        .bench_local(|| stage.runtime.block_on(stage.pull()));
}

/// All of them read a cold blob while it comes, on the threads on which it comes.
#[divan::bench(args = [1, 10, 100], sample_count = 20)]
fn fan_out(bencher: Bencher<'_, '_>, readers: u64) {
    let stage = &*STAGE;
    bencher
        .counter(BytesCount::new(readers * stage::BLOB))
        .with_inputs(|| stage.runtime.block_on(stage.forget()))
        .bench_local_values(|()| stage.runtime.block_on(stage.pull_at_once(readers)));
}

#[divan::bench(args = SIZES)]
fn look_up(bencher: Bencher<'_, '_>, blobs: u64) {
    let seeded = Seeded::open(blobs);
    let mut number = 0;
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        number = (number + 7_919) % blobs;
        let found = seeded.steps.look_up(&digest(number)).unwrap();
        assert!(found.is_some(), "{number} is missing");
    });
    seeded.close();
}

/// Room for a blob, in a cache that is full: a copy, since what goes is gone.
#[divan::bench(args = SIZES, sample_count = 50, sample_size = 1)]
fn evict(bencher: Bencher<'_, '_>, blobs: u64) {
    let copy = tempfile::tempdir_in(CACHES).unwrap();
    seeded::copy(&seeded_dir(blobs), copy.path());
    let seeded = Seeded::at(copy.path(), blobs);
    let Seeded { steps, runtime } = &seeded;
    bencher.bench_local(|| {
        let freed = runtime.block_on(steps.evict(1)).unwrap();
        assert!(freed > 0, "nothing has gone");
    });
    seeded.close();
}

/// Where seeded caches are.
const CACHES: &str = env!("CARGO_TARGET_TMPDIR");

fn seeded_dir(blobs: u64) -> PathBuf {
    seeded::seeded_dir(Path::new(CACHES), blobs, false)
}

/// A cache of many blobs, of which there are no files.
struct Seeded {
    steps: Steps,
    runtime: Runtime,
}

impl Seeded {
    fn open(blobs: u64) -> Self {
        Self::at(&seeded_dir(blobs), blobs)
    }

    fn at(dir: &Path, blobs: u64) -> Self {
        let runtime = stage::runtime();
        let settings = Settings::new(dir, seeded::limit(blobs));
        let steps = runtime.block_on(Steps::open(settings)).unwrap();
        Self { steps, runtime }
    }

    fn close(self) {
        self.runtime.block_on(self.steps.close());
    }
}
