//! A mirror before an origin, all in one process.

use std::path::Path;

use forebay::access::{Client, Gate, Permit};
use forebay::config::Config;
use forebay::mirror::{Body, Mirror, Waiter, Wanted};
use forebay::oci::{Digest, Reference, Repository};
use forebay::store::{Settings, Store};
use forebay::upstream::Upstreams;
use forebay_loadtest::origin::{Blobs, ImageSpec, Origin};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The pulled blob's length.
pub(crate) const BLOB: u64 = 4 << 20;
/// What is hashed at once.
pub(crate) const CHUNK: usize = 60 << 10;

/// A mirror of one image.
pub(crate) struct Stage {
    pub(crate) mirror: Mirror,
    pub(crate) runtime: Runtime,
    permit: Permit,
    blob: Digest,
    tag: Reference,
    _dir: TempDir,
    _origin: (Origin, Runtime),
}

/// One thread, so that what is measured is what it does.
pub(crate) fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

impl Stage {
    pub(crate) fn new() -> Self {
        let (apart, runtime) = (runtime(), runtime());
        let mut blob = None;
        let origin =
            Origin::builder()
                .blobs(Blobs::Direct)
                .repository("library/app", |repository| {
                    repository.image("v1", &ImageSpec::default());
                    blob = Some(repository.random_blob(1, BLOB));
                });
        let origin = apart.block_on(origin.start()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), &origin);
        let mirror = runtime.block_on(async {
            let store = Store::open(Settings::new(dir.path(), 1 << 30))
                .await
                .unwrap();
            Mirror::new(&config, store, Upstreams::new(&config).unwrap())
        });
        let repository: Repository = "docker.io/library/app".parse().unwrap();
        let permit = Gate::new(&config).permit(&Client::default(), &repository);
        Self {
            mirror,
            runtime,
            permit: permit.unwrap(),
            blob: blob.unwrap().digest.to_string().parse().unwrap(),
            tag: "v1".parse().unwrap(),
            _dir: dir,
            _origin: (origin, apart),
        }
    }

    /// A manifest by its tag, as a client is given it.
    pub(crate) async fn manifest(&self) -> usize {
        let served = self
            .mirror
            .manifest(&self.permit, &self.tag, Wanted::Body, waiter());
        match served.await.unwrap().body {
            Body::Bytes(bytes) => bytes.len(),
            _ => panic!("a manifest is whole"),
        }
    }

    /// The blob, from its first byte to its last.
    pub(crate) async fn pull(&self) {
        pull(self.mirror.clone(), self.permit.clone(), self.blob).await;
    }

    /// The same by many clients.
    pub(crate) async fn pull_at_once(&self, clients: u64) {
        let mut pulls = JoinSet::new();
        for _ in 0..clients {
            pulls.spawn(pull(self.mirror.clone(), self.permit.clone(), self.blob));
        }
        pulls.join_all().await;
    }

    /// From now on the blob is not cached.
    pub(crate) async fn forget(&self) {
        while self.mirror.fills() > 0 {
            tokio::task::yield_now().await;
        }
        self.mirror.store().remove(&self.blob).await.unwrap();
    }
}

async fn pull(mirror: Mirror, permit: Permit, digest: Digest) {
    let served = mirror.blob(&permit, &digest, None, Wanted::Body, waiter());
    let Body::Blob(mut body) = served.await.unwrap().body else {
        panic!("a blob is streamed");
    };
    let mut length = 0;
    while let Some(chunk) = body.next(false).await.unwrap() {
        length += chunk.len() as u64;
    }
    assert_eq!(length, BLOB);
}

fn waiter() -> Waiter {
    Waiter {
        key: None,
        deadline: Instant::now() + std::time::Duration::from_secs(20),
    }
}

fn config(dir: &Path, origin: &Origin) -> Config {
    let text = format!(
        "cache.dir = '{}'\n[tags]\nfresh_for = \"1d\"\n[upstreams.\"docker.io\"]\nendpoints = [{:?}]\n\
         allow_private = true\nread_quota = false",
        dir.display(),
        origin.registry_url()
    );
    Config::from_toml(&text).unwrap()
}
