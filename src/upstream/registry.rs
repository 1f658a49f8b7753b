//! All upstreams: those that are configured by name, and those of configured families, which come
//! into being when a client first asks for one.

mod logins;

use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::bounds::Places;
use super::client::Upstream;
use super::credentials::{BROUGHT, Cloud, LoginFiles};
use super::entitled::Entitlements;
use super::proxy::{Proxies, Via};
use super::quota::Book;
use super::tls::{self, Tls, TlsError};
use super::token::Tokens;
use super::transport::Clients;
use crate::config::{self, Config, Routes};
use crate::login::LoginId;
use crate::metrics::UpstreamName;
use crate::oci::Registry;

/// Members of families that are kept at a time: clients name them, so their number has a bound.
const MAX_MEMBERS: u64 = 256;
/// Logins of clients that are kept at a time.
const MAX_LOGINS: u64 = 10_000;
/// For how long one is kept that nobody asks with: longer than any right or token lasts.
const LOGIN_IDLE: Duration = Duration::from_hours(1);

/// Why the upstreams can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The TLS library refused its configuration.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// An upstream's own certificates.
    #[error("upstreams.\"{upstream}\".{error}")]
    Certificates {
        /// The upstream's name.
        upstream: String,
        /// What is wrong.
        error: TlsError,
    },
    /// The HTTP client for logins.
    #[error("the HTTP client for clouds' logins can't be set up: {0}")]
    Cloud(reqwest::Error),
    /// An upstream's HTTP client.
    #[error("upstreams.\"{upstream}\": its HTTP client can't be set up: {error}")]
    Client {
        /// The upstream's name.
        upstream: String,
        /// What is wrong.
        error: reqwest::Error,
    },
}

/// The upstreams of this mirror.
#[derive(Debug)]
pub struct Upstreams {
    routes: Routes,
    /// In the order of the configuration, which is what `routes` points into.
    entries: Vec<Entry>,
    /// What each of them was made of.
    origins: Vec<Origin>,
    members: Cache<Registry, Arc<Upstream>>,
    /// Those that are asked with a client's login.
    logins: Cache<LoginId, Arc<Upstream>>,
    shared: Shared,
}

/// What an upstream is made of: its table, and what was in the files that are read once.
#[derive(Debug, PartialEq)]
struct Origin {
    settings: config::Upstream,
    files: Vec<Option<[u8; 32]>>,
}

impl Origin {
    fn of(settings: &config::Upstream) -> Self {
        let shown = settings.client_certificate.iter();
        let shown = shown.flat_map(|shown| [&shown.certificate, &shown.key]);
        let files = settings.ca_file.iter().chain(shown);
        // What can't be read is told where it is used.
        let read = |file| Some(Sha256::digest(std::fs::read(file).ok()?).into());
        Self {
            settings: settings.clone(),
            files: files.map(read).collect(),
        }
    }
}

/// What a table of the configuration stands for.
#[derive(Clone, Debug)]
enum Entry {
    One(Arc<Upstream>),
    /// Its members share their connections, what is counted of them, and the table of what clients' logins may see.
    Family(
        Box<config::Upstream>,
        UpstreamName,
        Clients,
        Box<Entitlements>,
    ),
}

/// What all upstreams share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) tokens: Tokens,
    pub(super) cloud: Cloud,
    pub(super) logins: LoginFiles,
    /// The bound on blob connections in all.
    pub(super) connections: Places,
    /// Their quotas.
    pub(super) book: Arc<Book>,
}

impl Upstreams {
    /// Sets up what is configured. Connects to nothing; reads the certificates and files of logins.
    pub fn new(config: &Config) -> Result<Upstreams, SetupError> {
        let total = config.fetch.connections_total;
        let tls = tls::shared()?;
        let shared = Shared {
            tokens: Tokens::new(),
            cloud: Cloud::new(&tls).map_err(SetupError::Cloud)?,
            logins: LoginFiles::read(
                config
                    .upstreams
                    .iter()
                    .map(|upstream| &upstream.credentials),
            ),
            connections: Places::new(total),
            book: Arc::default(),
        };
        let new = |upstream: &config::Upstream| {
            let label = UpstreamName::configured(&upstream.registry.to_string());
            Entry::new(upstream, label, &tls, &shared)
        };
        let entries = config.upstreams.iter().map(new);
        let entries = entries.collect::<Result<_, _>>()?;
        Ok(Self::of(config, entries, shared))
    }

    fn of(config: &Config, entries: Vec<Entry>, shared: Shared) -> Upstreams {
        Upstreams {
            routes: Routes::new(config),
            entries,
            origins: config.upstreams.iter().map(Origin::of).collect(),
            members: Cache::builder()
                .max_capacity(MAX_MEMBERS)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            logins: Cache::builder()
                .max_capacity(MAX_LOGINS)
                .time_to_idle(LOGIN_IDLE)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            shared,
        }
    }

    /// The upstreams of another configuration of the same process. One whose table and files say the same is the same: with
    /// its connections, its tokens, and what is known of its hosts. Quotas carry over however its table has changed, and so
    /// does what was counted. `connections_total` is not looked at.
    pub fn reconfigured(&self, config: &Config) -> Result<Upstreams, SetupError> {
        let tls = tls::shared()?;
        let credentials = config
            .upstreams
            .iter()
            .map(|upstream| &upstream.credentials);
        let shared = Shared {
            // A login that is there no more leaves no token to those that are new.
            tokens: Tokens::new(),
            logins: LoginFiles::read(credentials),
            ..self.shared.clone()
        };
        let made = |upstream: &config::Upstream| {
            let origin = Origin::of(upstream);
            if let Some(at) = self.origins.iter().position(|known| *known == origin) {
                return Ok(self.entries[at].clone());
            }
            let mut labels = self.entries.iter().map(Entry::label);
            let name = upstream.registry.to_string();
            let known = labels.find(|label| label.as_str() == name).cloned();
            let label = known.unwrap_or_else(|| UpstreamName::configured(&name));
            Entry::new(upstream, label, &tls, &shared)
        };
        let entries = config.upstreams.iter().map(made);
        let entries = entries.collect::<Result<_, _>>()?;
        let new = Self::of(config, entries, shared);
        for (registry, member) in &self.members {
            if self.is_kept(&registry, &new) {
                new.members.insert((*registry).clone(), member);
            }
        }
        for (id, upstream) in &self.logins {
            if self.is_kept(upstream.registry(), &new) {
                new.logins.insert(*id, upstream);
            }
        }
        Ok(new)
    }

    /// Whether the table that a registry falls under says the same in both.
    fn is_kept(&self, registry: &Registry, new: &Upstreams) -> bool {
        let of = |upstreams: &Upstreams| upstreams.routes.upstream_for(registry);
        match (of(self), of(new)) {
            (Some(old), Some(at)) => self.origins[old] == new.origins[at],
            _ => false,
        }
    }

    /// Takes up what [`Quotas::rows`] gave to an earlier process. Comes before the first question.
    pub fn restore_quotas(&self, rows: Vec<(String, Vec<u8>)>) {
        let rows = rows.into_iter().filter_map(|(key, row)| {
            let read = serde_json::from_slice(&row);
            let warn = |error: &serde_json::Error| {
                tracing::warn!(%error, "what was known of a quota can't be read; it is asked for again");
            };
            Some((key, read.inspect_err(warn).ok()?))
        });
        self.shared.book.restore(rows);
    }

    /// The quotas of all, whatever becomes of the upstreams.
    pub fn quotas(&self) -> Quotas {
        Quotas(Arc::clone(&self.shared.book))
    }

    /// Each table of the configuration, with those of its registries that are in use.
    pub(super) fn tables(&self) -> impl Iterator<Item = (UpstreamName, Vec<Arc<Upstream>>)> {
        self.entries.iter().enumerate().map(|(index, entry)| {
            let members = match entry {
                Entry::One(upstream) => vec![upstream.clone()],
                Entry::Family(..) => self.members_of(index),
            };
            (entry.label().clone(), members)
        })
    }

    fn members_of(&self, index: usize) -> Vec<Arc<Upstream>> {
        let members = self.members.iter();
        let mut members: Vec<_> = members
            .filter(|(registry, _)| self.routes.upstream_for(registry) == Some(index))
            .map(|(_, upstream)| upstream)
            .collect();
        members.sort_by(|one, other| one.registry().as_str().cmp(other.registry().as_str()));
        members
    }

    /// The registries that are configured by name.
    pub fn named(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::One(upstream) => Some(upstream),
            Entry::Family(..) => None,
        })
    }

    /// The name of the upstream that a registry falls under; `None` if none is configured.
    pub fn label_of(&self, registry: &Registry) -> Option<&UpstreamName> {
        let entry = &self.entries[self.routes.upstream_for(registry)?];
        Some(entry.label())
    }

    /// The upstream of a registry; `None` if none is configured.
    pub fn get(&self, registry: &Registry) -> Option<Arc<Upstream>> {
        match &self.entries[self.routes.upstream_for(registry)?] {
            Entry::One(upstream) => Some(upstream.clone()),
            Entry::Family(settings, label, clients, entitled) => {
                let member = || {
                    let registry = registry.clone();
                    Arc::new(Upstream::new(
                        registry,
                        settings,
                        label.clone(),
                        clients.clone(),
                        (**entitled).clone(),
                        &self.shared,
                    ))
                };
                Some(self.members.get_with_by_ref(registry, member))
            }
        }
    }
}

impl Entry {
    fn new(
        settings: &config::Upstream,
        label: UpstreamName,
        tls: &rustls::ClientConfig,
        shared: &Shared,
    ) -> Result<Entry, SetupError> {
        let upstream = || settings.registry.to_string();
        let of_file = |error| SetupError::Certificates {
            upstream: upstream(),
            error,
        };
        let own = Tls::new(tls, settings).map_err(of_file)?;
        let proxies = Proxies::new(&settings.proxy);
        check_secrecy(settings, &proxies).map_err(of_file)?;
        let clients = Clients::new(&own, proxies, settings.timeouts.connect).map_err(|error| {
            SetupError::Client {
                upstream: upstream(),
                error,
            }
        })?;
        // What logins may see there is over when the table is another one: it may be another registry.
        let entitled = Entitlements::default();
        Ok(match settings.registry.exact() {
            Some(registry) => Entry::One(Arc::new(Upstream::new(
                registry.clone(),
                settings,
                label,
                clients,
                entitled,
                shared,
            ))),
            None => Entry::Family(Box::new(settings.clone()), label, clients, entitled.into()),
        })
    }
}

impl Entry {
    fn label(&self) -> &UpstreamName {
        match self {
            Entry::One(upstream) => upstream.label(),
            Entry::Family(_, label, ..) => label,
        }
    }
}

/// What is known of the upstreams' quotas.
#[derive(Clone, Debug)]
pub struct Quotas(Arc<Book>);

impl Quotas {
    /// What is worth knowing of them after a restart, by key.
    pub fn rows(&self) -> Vec<(String, Vec<u8>)> {
        let snapshots = self.0.snapshots().into_iter();
        // What stands for a client's login stands for nobody after a restart.
        let snapshots = snapshots.filter(|(key, _)| !key.starts_with(BROUGHT));
        let row = |(key, snapshot)| Some((key, serde_json::to_vec(&snapshot).ok()?));
        snapshots.filter_map(row).collect()
    }

    /// Waits until there is something new in [`Quotas::rows`].
    pub async fn changed(&self) {
        self.0.changed().await;
    }
}

/// A proxy that is spoken to in TLS could ask for the client certificate, and would be shown it. The configuration has no such
/// one; the environment may.
fn check_secrecy(settings: &config::Upstream, proxies: &Proxies) -> Result<(), TlsError> {
    let Some(shown) = &settings.client_certificate else {
        return Ok(());
    };
    let mut ways = settings.endpoints.iter().filter_map(|url| proxies.to(url));
    match ways.find(Via::is_tls) {
        None => Ok(()),
        Some(via) => Err(TlsError {
            key: "client_cert",
            path: shown.certificate.clone(),
            problem: format!(
                "the endpoint is reached {via}, which would be shown it too: set http_proxy to an http:// one or to \"direct\""
            ),
        }),
    }
}
