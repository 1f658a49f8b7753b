//! What each client may take: requests a second, requests at once, bytes a second, connections.
//!
//! A request beyond its client's limits is held before it is refused, since some clients ask again at once, a few times,
//! and then give up: a refusal costs them the pull, a wait costs them the wait. It is held before anything is looked up, so
//! it has no fill, no upstream connection and no place in any other queue. Each client has its own queues, first come, first
//! served; nothing is shared between clients but the table that they stand in.
//!
//! Bytes are paced where a body gives them away (`pace`), which takes nothing from the fill behind it.
//!
//! Owns the table of clients that are limited at present (`table`): bounded, and pruned of those that are as good as new.

mod pace;
mod rate;
mod table;

use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

pub(super) use pace::Pace;

use super::client::{Caller, ClientAddr, Peer};
use crate::config;
use crate::metrics::{self, ClientLimit};
use rate::Pacer;
use table::Table;

/// Requests of one client that may be held. Each has a connection, so this bounds how many of them one client ties up by
/// asking too much; further requests are refused at once.
const MOST_HELD: usize = 2048;
/// When to come back where nothing tells when a place will be free.
const SOON: Duration = Duration::from_secs(5);
/// What bytes are counted in: governor counts to 2^32, and in whole nanoseconds each.
const CELL: u64 = 1 << 10;

/// The terms of connections that come now. A clone is the same.
#[derive(Clone, Debug)]
pub struct Clients(Arc<RwLock<Arc<Terms>>>);

/// What each client may take by one configuration, and whose word on who asks is taken. A request keeps to one.
#[derive(Debug)]
pub struct Terms {
    limits: Limits,
    proxies: config::Proxies,
    table: Arc<Table>,
}

/// What one client may take.
#[derive(Debug, PartialEq)]
struct Limits {
    requests: Option<config::Rate>,
    in_flight: Option<usize>,
    bytes: Option<config::ByteRate>,
    connections: Option<usize>,
    max_delay: Duration,
    exempt: Vec<ipnet::IpNet>,
}

impl Limits {
    fn of(config: &config::Config) -> Self {
        let limits = config.limits.clone();
        Self {
            requests: limits.per_client_requests,
            in_flight: limits.per_client_in_flight,
            bytes: limits.per_client_bytes,
            connections: limits.per_client_connections,
            max_delay: limits.max_delay,
            exempt: limits.exempt,
        }
    }

    /// Whether there is anything to hold a client to.
    fn any(&self) -> bool {
        self.requests.is_some()
            || self.in_flight.is_some()
            || self.bytes.is_some()
            || self.connections.is_some()
    }
}

/// What is known of one client.
#[derive(Debug)]
struct Client {
    requests: Option<Pacer>,
    places: Option<Arc<Semaphore>>,
    bytes: Option<Pacer>,
    connections: Option<Arc<Semaphore>>,
    /// One permit a request that is held.
    waiting: Arc<Semaphore>,
}

impl Client {
    fn new(limits: &Limits) -> Self {
        let places = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self {
            requests: limits.requests.map(|rate| Pacer::new(rate.count, rate.per)),
            places: limits.in_flight.map(places),
            bytes: limits
                .bytes
                .map(|rate| Pacer::new(cells(rate.bytes), rate.per)),
            connections: limits.connections.map(places),
            waiting: Arc::new(Semaphore::new(MOST_HELD)),
        }
    }

    /// Whether its past is of no account, once nothing of it runs.
    fn is_as_new(&self, now: Instant) -> bool {
        let mut rates = [&self.requests, &self.bytes].into_iter().flatten();
        rates.all(|rate| rate.is_full(now))
    }
}

/// Bytes in cells: at least one.
fn cells(bytes: u64) -> NonZeroU32 {
    let cells = u32::try_from(bytes / CELL).unwrap_or(u32::MAX);
    NonZeroU32::new(cells).unwrap_or(NonZeroU32::MIN)
}

/// A client has asked for more than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) limit: Refused,
    pub(super) retry_after: Duration,
}

/// Which limit, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Requests(config::Rate),
    InFlight(usize),
    Connections(usize),
    /// Not its own, but that of all clients together.
    AllConnections(usize),
}

impl Refused {
    /// The client's limit, if it is one.
    fn label(self) -> Option<ClientLimit> {
        match self {
            Self::Requests(_) => Some(ClientLimit::Requests),
            Self::InFlight(_) => Some(ClientLimit::InFlight),
            Self::Connections(_) => Some(ClientLimit::Connections),
            Self::AllConnections(_) => None,
        }
    }
}

/// A request that was let in. What it holds of its client's goes back when this goes, which is with its body.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    _place: Option<OwnedSemaphorePermit>,
    // The place is one of this client's, and the table keeps a client as long as someone has it.
    _client: Option<Arc<Client>>,
    pub(super) pace: Option<Pace>,
}

/// A connection's place among its client's.
#[derive(Debug)]
pub struct Connected {
    _place: OwnedSemaphorePermit,
    _client: Arc<Client>,
}

/// Its client, or all clients together, have as many connections as they may have: it is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surplus(Refused);

impl Surplus {
    /// There are `most` connections already, whoever's they are.
    pub fn of_all(most: usize) -> Self {
        Self(Refused::AllConnections(most))
    }
}

impl From<Surplus> for Refusal {
    /// Of a request that came on it.
    fn from(surplus: Surplus) -> Self {
        refused(surplus.0, SOON)
    }
}

impl Clients {
    /// No limits and no proxies, as for operators.
    pub fn unlimited() -> Self {
        Self::of(
            Limits {
                requests: None,
                in_flight: None,
                bytes: None,
                connections: None,
                max_delay: Duration::ZERO,
                exempt: Vec::new(),
            },
            config::Proxies {
                trusted: Vec::new(),
                proxy_protocol: false,
                pass_tls: false,
                header: config::ForwardedHeader::XForwardedFor,
            },
        )
    }

    /// As configured.
    pub fn new(config: &config::Config) -> Self {
        Self::of(Limits::of(config), config.server.proxies.clone())
    }

    fn of(limits: Limits, proxies: config::Proxies) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(Terms {
            limits,
            proxies,
            table: Arc::default(),
        }))))
    }

    /// Goes by others from now on. What runs keeps to what it began with.
    pub fn go_by(&self, terms: Arc<Terms>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = terms;
    }

    /// Those of now.
    pub fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a connection from `peer` begins with a PROXY protocol header. It is the peer that decides, never what it
    /// sends: who could choose could name any address.
    pub fn sends_proxy_header(&self, peer: ClientAddr) -> bool {
        let proxies = &self.terms().proxies;
        proxies.proxy_protocol && peer.is_in(&proxies.trusted)
    }

    /// Counts a connection from `peer`, or says that there are too many from there. Those of a trusted proxy are of many
    /// clients, and are not counted.
    pub fn connect(&self, peer: ClientAddr) -> Result<Option<Connected>, Surplus> {
        self.terms().connect(peer)
    }
}

impl Terms {
    /// Those of another configuration. Where what clients may take is another, all of them begin anew.
    #[must_use]
    pub fn reconfigured(&self, config: &config::Config) -> Arc<Self> {
        let limits = Limits::of(config);
        let table = if limits == self.limits {
            Arc::clone(&self.table)
        } else {
            Arc::default()
        };
        Arc::new(Self {
            limits,
            proxies: config.server.proxies.clone(),
            table,
        })
    }

    /// Whether what `peer` has proven by TLS is its own word, and it is no proxy's that asks for others.
    pub(super) fn proves_itself(&self, peer: &Peer) -> bool {
        let proxies = &self.proxies;
        let speaks_tls = !peer.is_introduced() || proxies.pass_tls;
        speaks_tls && !peer.address.is_in(&proxies.trusted)
    }

    /// Who asks, on a connection from `peer`.
    pub(super) fn caller(&self, peer: Peer, headers: &HeaderMap) -> Caller {
        let caller = Caller::find(peer, headers, &self.proxies);
        if caller.key.is_none() {
            metrics::client_unnamed();
        }
        caller
    }

    fn connect(&self, peer: ClientAddr) -> Result<Option<Connected>, Surplus> {
        let Some(most) = self.limits.connections else {
            return Ok(None);
        };
        let caller = Caller::find(peer.into(), &HeaderMap::new(), &self.proxies);
        let Some(client) = self.limited(&caller) else {
            return Ok(None);
        };
        let Some(connections) = &client.connections else {
            return Ok(None);
        };
        match Arc::clone(connections).try_acquire_owned() {
            Ok(place) => Ok(Some(Connected {
                _place: place,
                _client: client,
            })),
            Err(_) => Err(Surplus(Refused::Connections(most))),
        }
    }

    /// Whether nothing bounds the caller.
    pub(super) fn are_unbounded(&self, caller: &Caller) -> bool {
        !self.limits.any() || caller.key.is_none() || caller.address.is_in(&self.limits.exempt)
    }

    /// Lets a request in as soon as its client's limits allow it, in the order of its client's requests.
    pub(super) async fn admit(&self, caller: &Caller) -> Result<Admitted, Refusal> {
        let Some(client) = self.limited(caller) else {
            return Ok(Admitted::default());
        };
        let deadline = Instant::now() + self.limits.max_delay;
        let place = self.place(&client, deadline).await?;
        self.turn(&client, deadline).await?;
        Ok(Admitted {
            _place: place,
            pace: client
                .bytes
                .is_some()
                .then(|| Pace::new(Arc::clone(&client))),
            _client: Some(client),
        })
    }

    /// The caller's entry, where there are limits and it is not exempt from them.
    fn limited(&self, caller: &Caller) -> Option<Arc<Client>> {
        let Self { limits, table, .. } = self;
        let key = caller.key.filter(|_| !self.are_unbounded(caller))?;
        Some(table.get(key, Instant::now(), limits))
    }

    /// One of its client's places. It comes before the turn, so that a request that waits for its turn counts as one of
    /// those in flight, and one without a place takes nobody's turn.
    async fn place(
        &self,
        client: &Client,
        deadline: Instant,
    ) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        let (Some(places), Some(most)) = (&client.places, self.limits.in_flight) else {
            return Ok(None);
        };
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            return Ok(Some(place));
        }
        let refusal = || refused(Refused::InFlight(most), SOON);
        let _held = self
            .hold(client, ClientLimit::InFlight)
            .ok_or_else(refusal)?;
        match timeout_at(deadline, Arc::clone(places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(Some(place)),
            _ => Err(refusal()),
        }
    }

    /// Its client's next turn.
    async fn turn(&self, client: &Client, deadline: Instant) -> Result<(), Refusal> {
        let (Some(requests), Some(rate)) = (&client.requests, self.limits.requests) else {
            return Ok(());
        };
        if requests.try_take(NonZeroU32::MIN) {
            return Ok(());
        }
        let refusal = || {
            let held = MOST_HELD - client.waiting.available_permits();
            let before = u32::try_from(held).unwrap_or(u32::MAX).max(1);
            let until_then = (rate.per / rate.count.get()).saturating_mul(before);
            refused(Refused::Requests(rate), until_then)
        };
        let _held = self
            .hold(client, ClientLimit::Requests)
            .ok_or_else(refusal)?;
        timeout_at(deadline, requests.take(NonZeroU32::MIN))
            .await
            .map_err(|_| refusal())
    }

    /// Has a request wait, unless none is to or too many do already.
    fn hold(&self, client: &Client, limit: ClientLimit) -> Option<Held> {
        if self.limits.max_delay.is_zero() {
            return None;
        }
        let permit = Arc::clone(&client.waiting).try_acquire_owned().ok()?;
        metrics::client_delayed(limit);
        Some(Held {
            _permit: permit,
            _up: metrics::request_held(),
        })
    }
}

fn refused(limit: Refused, retry_after: Duration) -> Refusal {
    if let Some(label) = limit.label() {
        metrics::client_refused(label);
    }
    Refusal { limit, retry_after }
}

/// One request that is held, for as long as this lives.
struct Held {
    _permit: OwnedSemaphorePermit,
    _up: metrics::Up,
}

#[cfg(test)]
mod tests;
