//! The product: what is asked of the mirror, answered from the cache or an upstream.
//!
//! - [`manifests`], [`tags`], [`blobs`], [`listing`]: the flows, as methods of [`Mirror`].
//! - [`body`]: a blob's bytes on their way to a client.
//! - `entry`: the way into every flow.
//! - [`confirm`]: what a tag points at, as its upstream tells it.
//! - [`fill`]: one fetch of one blob, read by any number of clients.
//! - [`rights`]: who may read what.
//! - `at_once`: what the flows would decide from memory alone.
//! - `ahead`: hot tags, asked for before they are due.
//! - [`freshness`]: when a tag has to be asked for. Pure.
//! - [`memory`]: the memory tier.
//! - [`keeping`]: manifests and tag records on their way to disk.
//! - [`flight`]: one question at a time.
//! - [`tasks`]: background work that a stop waits for.
//! - `quotas`: what is known of the upstreams' quotas, over restarts.
//! - [`served`], [`error`], [`range`]: what goes up to `http`.

mod ahead;
mod at_once;
pub mod blobs;
pub mod body;
pub mod confirm;
mod entry;
pub mod error;
pub mod fill;
pub mod flight;
pub mod freshness;
pub mod keeping;
pub mod listing;
pub mod manifests;
pub mod memory;
mod quotas;
pub mod range;
mod refreshes;
pub mod rights;
pub mod served;
pub mod tags;
pub mod tasks;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Routes};
use crate::metrics::UpstreamName;
use crate::oci::{Reference, Registry, Repository, Tag};
use crate::store::{Audience, Store, StoreError};
use crate::upstream::{SetupError, Upstreams};

pub use crate::store::{Chunk, Lost, PART, Part};
pub use crate::upstream::{
    ClientKey, HostStanding, HostState, QuotaStanding, Spent, SpentBy, Standing, UpstreamStanding,
};

pub use blobs::Wanted;
pub use body::BlobBody;
pub use error::MirrorError;
pub use listing::{Listing, Page};
pub use range::{RangeSpec, Unsatisfiable};
pub use served::{Body, BodyError, CacheStatus, Fields, Served, StaleReason, etag};

use entry::Entries;
use fill::plan::Bounds;
use fill::table::{Env, Settings};
use flight::SingleFlight;
use keeping::Keeping;
use listing::Lists;
use memory::{Absent, Held, Memory, StoredManifest, Troubles};
use refreshes::Refreshes;
use rights::Rights;
use tasks::Tasks;

/// The length of a piece. Signed URLs and registry calls cost one request each, and a piece that is lost is asked for
/// again from where it broke off, so it need not be small.
const PIECE: u64 = 16 << 20;
/// How many pieces for each connection a fill may be ahead of its frontier: one of half the others' speed holds nobody up.
const PIECES_AHEAD: u64 = 2;
/// Failures in a row of one source before another is asked.
const FAILURES: u32 = 5;
/// What counts as progress between failures.
const PROGRESS: u64 = 64 << 10;
/// The part of the memory tier that is for lists.
const LISTS: u64 = 4;

/// The mirror. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Mirror {
    inner: Arc<Inner>,
}

/// What a configuration says, over what stays.
struct Inner {
    routes: Routes,
    upstreams: Upstreams,
    strict_ranges: bool,
    /// How long a response head may take: containerd gives up after 30 s.
    wait: Duration,
    /// Cancelled once another configuration counts.
    replaced: CancellationToken,
    kept: Arc<Kept>,
}

/// What a process has once, however its configuration changes.
struct Kept {
    store: Store,
    rights: Arc<Rights>,
    fills: Arc<Env>,
    tasks: Tasks,
    memory: Memory,
    lists: Lists,
    absent: Absent,
    entries: Entries,
    held: Held,
    troubles: Troubles,
    keeping: Keeping,
    manifests:
        SingleFlight<(Audience, Repository, Reference), Result<Arc<StoredManifest>, MirrorError>>,
    confirmations: SingleFlight<(Audience, Repository, Tag), confirm::Answer>,
    refreshes: Refreshes,
    /// A place for each hot tag that waits for its time.
    hot: Arc<Semaphore>,
}

impl Deref for Inner {
    type Target = Kept;

    fn deref(&self) -> &Kept {
        &self.kept
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").finish_non_exhaustive()
    }
}

/// Who waits for an answer: as whom, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Waiter {
    /// What stands for the client where upstreams' quotas are shared out; `None` where it is not known.
    pub key: Option<ClientKey>,
    /// Nobody waits for an answer that comes later.
    pub deadline: Instant,
}

impl Mirror {
    /// A mirror of `upstreams` over `store`.
    pub fn new(config: &Config, store: Store, upstreams: Upstreams) -> Self {
        let tasks = Tasks::default();
        let rights = Arc::new(Rights::new(store.clone(), tasks.clone()));
        let lists = config.cache.memory / LISTS;
        let settings = Settings {
            linger: config.fetch.linger,
            bounds: Bounds {
                piece: PIECE,
                ahead: PIECES_AHEAD * PIECE * config.fetch.connections_per_fill as u64,
                connections: config.fetch.connections_per_fill,
                failures: FAILURES,
                progress: PROGRESS,
            },
            running: config.fetch.max_fills,
        };
        let kept = Kept {
            fills: Arc::new(Env::new(store.clone(), Arc::clone(&rights), settings)),
            keeping: Keeping::new(store.clone(), Arc::clone(&rights), tasks.clone()),
            rights,
            memory: Memory::new(config.cache.memory - lists),
            lists: Lists::new(lists, store.clone(), tasks.clone()),
            store,
            absent: Absent::default(),
            entries: Entries::new(tasks.clone()),
            held: Held::default(),
            troubles: Troubles::default(),
            refreshes: Refreshes::default(),
            hot: Arc::new(Semaphore::new(ahead::WAITING)),
            manifests: SingleFlight::new(tasks.clone()),
            confirmations: SingleFlight::new(tasks.clone()),
            tasks,
        };
        Self::of(config, upstreams, Arc::new(kept))
    }

    fn of(config: &Config, upstreams: Upstreams, kept: Arc<Kept>) -> Self {
        Self {
            inner: Arc::new(Inner {
                routes: Routes::new(config),
                upstreams,
                strict_ranges: config.cache.strict_ranges,
                wait: config.fetch.wait,
                replaced: CancellationToken::new(),
                kept,
            }),
        }
    }

    /// The same mirror by another configuration: same cache, same fills, and the same upstreams where nothing has changed
    /// for them. What [`Config::taking_effect`] holds back is not looked at.
    pub fn reconfigured(&self, config: &Config) -> Result<Self, SetupError> {
        let upstreams = self.inner.upstreams.reconfigured(config)?;
        Ok(Self::of(config, upstreams, Arc::clone(&self.inner.kept)))
    }

    /// To be told once another counts in its place: what is only planned by this one's configuration is given up. What runs
    /// goes on.
    pub fn replaced(&self) {
        self.inner.replaced.cancel();
    }

    /// Which registry a request means.
    pub fn routes(&self) -> &Routes {
        &self.inner.routes
    }

    /// The name of the upstream that a registry falls under.
    pub fn upstream_name(&self, registry: &Registry) -> Option<&UpstreamName> {
        self.inner.upstreams.label_of(registry)
    }

    /// The disk, for what operators ask about it.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Whether the cache can take a blob.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.inner.store.writable().await
    }

    /// Fetches of blobs that run or wait for their turn.
    pub fn fills(&self) -> usize {
        self.inner.fills.len()
    }

    /// Pauses the running fills, gives up what waits for an upstream, and returns when all that was fetched is kept. No
    /// request may follow.
    pub async fn shutdown(&self) {
        let fills = &self.inner.fills;
        fills.stop.cancel();
        fills.drivers.close();
        tokio::join!(fills.drivers.wait(), self.inner.tasks.finish());
    }

    /// When a wait for an upstream, or for a turn at it, ends.
    fn until(&self, waiter: Waiter) -> Instant {
        waiter.deadline.min(Instant::now() + self.inner.wait)
    }
}

#[cfg(test)]
mod tests;
