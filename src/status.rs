//! How a running mirror stands, as one document: what `/api/status` of the admin listener gives, and `forebay status` reads.
//!
//! Types only, which both sides use, and what they mean taken together ([`Finding`]). Names and meanings of fields are a
//! promise to those who read the document by program: what is added leaves [`FORMAT`] as it is, what is renamed, removed or
//! means another thing raises it. Times in the future are whole seconds from now, rounded up, and in Unix seconds.
//!
//! No secret is ever in it: a login is the key of the configuration that sets it and the name that it is kept under.

mod findings;
pub mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use findings::{Finding, Gravity};

/// Where it is.
pub const PATH: &str = "/api/status";
/// Which document this is.
pub const FORMAT: u32 = 1;

/// A running mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`FORMAT`].
    pub format: u32,
    /// The program's version.
    pub version: String,
    /// Where it is in its life. Before and after it serves, nothing is known of its cache and upstreams.
    pub state: State,
    /// When the document was made, in Unix seconds.
    pub at: u64,
    /// Since the start of the process.
    pub uptime_seconds: u64,
    /// The cache, where it is open.
    pub cache: Option<Cache>,
    /// Fetches of blobs.
    pub fills: Fills,
    /// What clients are held to.
    pub clients: Clients,
    /// Which configuration is gone by; `None` where an older mirror does not tell.
    #[serde(default)]
    pub configuration: Option<Configuration>,
    /// The certificates that the listeners show.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// Files of `[access]` that do not count as they are.
    #[serde(default)]
    pub access_files: Vec<AccessFile>,
    /// Each table in `[upstreams]`, by its name.
    pub upstreams: Vec<Upstream>,
}

/// Which configuration a mirror goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// When it was read, in Unix seconds.
    pub loaded_at: u64,
    /// Keys that it sets, and that count after a restart only.
    pub needs_restart: Vec<String>,
    /// Why a later one is not gone by, where there is one.
    pub error: Option<String>,
}

/// The certificate that a listener shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// `clients` or `admin`.
    pub listener: String,
    /// When it ends, or one between it and its authority, in Unix seconds.
    pub expires_at: u64,
    /// Why newer files are not used, where there are such.
    pub error: Option<String>,
}

/// A file of passwords, or of a token, that does not count as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessFile {
    /// What is wrong with it, and where it is.
    pub error: String,
    /// Since when that is known, in Unix seconds.
    pub since: u64,
}

/// Where a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The cache is not open yet.
    Starting,
    /// Clients are served.
    Serving,
    /// It is on its way out.
    Draining,
}

/// The cache on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// All that it takes of the disk, unfinished fills and the index included.
    pub bytes: u64,
    /// `max_size`.
    pub limit_bytes: u64,
    /// Blobs that are complete.
    pub blobs: u64,
    /// Tags that are known.
    pub tags: u64,
    /// Blobs evicted since the start.
    pub evictions: u64,
    /// And their bytes.
    pub evicted_bytes: u64,
    /// Of those the ones that manifests of the last hour needed: the cache is too small.
    pub guarded_evictions: u64,
    /// What was not kept since the start, since eviction could make no room for it.
    pub no_room: u64,
    /// Why it can't be written, where it can't.
    pub error: Option<String>,
}

/// Fetches of blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fills {
    /// Those that run, or wait for their turn.
    pub running: u64,
}

/// What clients are held to by `[limits]`, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clients {
    /// Clients that are remembered now.
    pub tracked: u64,
    /// Requests, and for bytes bodies, that were held, by limit.
    pub delayed: BTreeMap<String, u64>,
    /// Requests and connections that were refused, by limit.
    pub refused: BTreeMap<String, u64>,
}

/// A table in `[upstreams]`: one registry, or a family of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// The table's name.
    pub name: String,
    /// Whether it stands for many registries.
    pub is_family: bool,
    /// The key in it that sets a login; `None` where nobody is logged in.
    pub login: Option<String>,
    /// The hosts that are dialled for it, those in trouble first.
    pub hosts: Vec<Host>,
    /// How many more there are.
    pub hosts_left_out: u64,
    /// Its quotas as far as they are known: those that are closed or waited for first, then the one nearest to its end.
    pub quotas: Vec<Quota>,
    /// How many more there are.
    pub quotas_left_out: u64,
    /// What it was asked for since the start.
    pub asked: Asked,
    /// What clients were given of it since the start.
    pub served: Served,
    /// The part of that which it was not asked for.
    pub saved: Saved,
    /// Stale answers since the start, by reason.
    pub stale: BTreeMap<String, u64>,
    /// Pulls that were not made since the start, by what kept them from it.
    pub refused: BTreeMap<String, u64>,
    /// Requests that waited for a quota since the start.
    pub waits: Waits,
}

/// A host that is dialled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Scheme, name and port.
    pub url: String,
    /// Whether it is an endpoint of the registry. Others are token services, and where it redirects to.
    pub is_endpoint: bool,
    /// Whether it is asked.
    pub breaker: Breaker,
    /// When it is tried again, where it is left alone.
    pub next_attempt_in_seconds: Option<u64>,
    /// How it failed last, where it is not simply asked.
    pub error: Option<String>,
}

/// Whether a host is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// It has kept failing, and is left alone.
    Open,
    /// It has kept failing, and some requests try whether it is back.
    Trying,
    /// It has answered again, and is asked by a few at a time.
    Recovering,
    /// It is.
    Closed,
}

/// What an upstream allows one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// The registry, which may be one of a family.
    pub registry: String,
    /// Host and port of the endpoint that has it, where that is not the first.
    pub endpoint: Option<String>,
    /// The account that is logged in with: `user` and its name, or `account` and the key that it is looked up by; `None` where
    /// no login is configured.
    pub account: Option<String>,
    /// Whom the upstream says that it counts for. Quotas of a site with the same one are one.
    pub source: Option<String>,
    /// What has the least left; `None` where no limit is known.
    pub by: Option<Limit>,
    /// Pulls in a window.
    pub limit: Option<u64>,
    /// Its length.
    pub window_seconds: Option<u64>,
    /// Pulls left, those under way taken off. Some upstreams go below zero.
    pub left: Option<i64>,
    /// When there is a pull again at the latest, or the upstream is asked whether there is; `None` where nothing is spent.
    pub resets_in_seconds: Option<u64>,
    /// The same in Unix seconds.
    pub resets_at: Option<u64>,
    /// Until when the upstream has asked to be left alone (429), in seconds from now.
    pub closed_for_seconds: Option<u64>,
    /// The same in Unix seconds.
    pub closed_until: Option<u64>,
    /// Pulls under way.
    pub under_way: u64,
    /// Requests that wait for one.
    pub waiting: u64,
    /// What there is to configure about it.
    pub change: String,
}

/// What limits pulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// What the upstream reports.
    Reported,
    /// `quota` in its table.
    Configured,
}

/// What an upstream was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// GETs of manifests, which quotas count.
    pub pulls: u64,
    /// All requests but those for tokens.
    pub requests: u64,
    /// Those that failed: no answer, no usable one, or a refusal other than 404.
    pub failed: u64,
    /// Bytes that it sent.
    pub bytes: u64,
}

/// What clients were given of an upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// GETs of manifests that were answered: as many pulls as there would have been without the mirror.
    pub pulls: u64,
    /// Requests for manifests and blobs that were answered.
    pub requests: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// What an upstream was not asked for, since it was here, or on its way here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Requests for manifests and blobs.
    pub requests: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Requests that waited for a quota.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// How many.
    pub count: u64,
    /// For how long in all.
    pub seconds: u64,
}

#[cfg(test)]
pub(crate) mod tests;
