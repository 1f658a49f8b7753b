//! Bearer tokens: keeping them until shortly before they expire, and one request at a time for each.
//!
//! Owns the token cache. Every waiter of a request for a token gets its result, whichever client began
//! it and whether or not that client is still there. A failure is not kept, but a service that refuses
//! for load is left alone for as long as it asks for.

mod answer;
mod pause;

pub(crate) use answer::{MAX_TOKEN_BYTES, Token};
use pause::Pauses;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::watch;

use super::credentials::Identity;
use super::error::{ErrorKind, Trouble, UpstreamError};
use crate::metrics::UpstreamName;
use crate::sync::lock;

/// The cache's bound, in bytes of tokens and keys.
const MAX_CACHED_BYTES: u64 = 16 << 20;

/// What a token is for. Nothing of it comes from a client but the repository's name in `scope`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    /// The upstream's table in the configuration: two may have one host and one user's name, and passwords that allow
    /// different things.
    pub(crate) upstream: UpstreamName,
    /// The registry that the token is for, as scheme, host and port.
    pub(crate) registry: String,
    pub(crate) identity: Identity,
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    pub(crate) scope: String,
}

impl TokenKey {
    /// What it takes in memory, about. The upstream has a say in most of it.
    fn weight(&self) -> usize {
        let service = self.service.as_ref().map_or(0, String::len);
        self.registry.len() + self.realm.len() + service + self.scope.len() + 512
    }
}

/// A token, and whether it came with this very request rather than from the cache: if it is refused,
/// another one would be too.
pub(crate) type Obtained = (Arc<Token>, bool);

type Outcome = Option<Result<Arc<Token>, UpstreamError>>;

/// The tokens of all upstreams.
#[derive(Debug, Clone)]
pub(crate) struct Tokens(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cache: Cache<TokenKey, Arc<Token>>,
    /// The requests under way. As bounded as the requests of clients that wait for them.
    flights: Mutex<HashMap<Flight, watch::Receiver<Outcome>>>,
    pauses: Pauses,
}

/// A request for a token. Who has a login that was issued later does not join it: this one may be refused for its age.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Flight {
    key: TokenKey,
    issue: Option<Instant>,
    whose: Whose,
}

/// Whose login a token is asked for with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Whose {
    /// The mirror's.
    #[default]
    Own,
    /// A client's, which has been good before.
    Proven,
    /// A client's, of which nothing is known.
    Unproven,
}

/// What else matters of a login beside its identity.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terms {
    /// When it came, where it is replaced from time to time.
    pub(crate) issue: Option<Instant>,
    pub(crate) whose: Whose,
}

impl From<Option<Instant>> for Terms {
    fn from(issue: Option<Instant>) -> Self {
        Self {
            issue,
            ..Self::default()
        }
    }
}

impl Tokens {
    pub(crate) fn new() -> Tokens {
        let cache = Cache::builder()
            .max_capacity(MAX_CACHED_BYTES)
            // The default policy may turn a new token away.
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|key: &TokenKey, token: &Arc<Token>| {
                u32::try_from(key.weight() + token.header.len()).unwrap_or(u32::MAX)
            })
            .build();
        Tokens(Arc::new(Shared {
            cache,
            flights: Mutex::default(),
            pauses: Pauses::new(),
        }))
    }

    /// The token for `key`: from the cache, from a request that is under way with the login of the same `terms`, or by
    /// `fetch`.
    pub(crate) async fn get<F>(
        &self,
        key: &TokenKey,
        terms: impl Into<Terms>,
        now: Instant,
        fetch: impl FnOnce() -> F,
    ) -> Result<Obtained, UpstreamError>
    where
        F: Future<Output = Result<Token, UpstreamError>> + Send + 'static,
    {
        let Terms { issue, whose } = terms.into();
        let flight = Flight {
            key: key.clone(),
            issue,
            whose,
        };
        let mut outcome = match self.board(flight, now, fetch) {
            Boarded::Cached(token) => return Ok((token, false)),
            Boarded::Flight(outcome) => outcome,
            Boarded::Paused(error) => return Err(error),
        };
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome
                .clone()
                .expect("waited until it was there")
                .map(|token| (token, true)),
            // The task is gone without a word: a panic, or the end of the process.
            Err(_) => Err(UpstreamError::new(
                ErrorKind::Unavailable(Trouble::Connect),
                &key.registry,
                "the request for a token was abandoned",
            )),
        }
    }

    /// Forgets a token that was refused, unless another request has replaced it already.
    pub(crate) fn reject(&self, key: &TokenKey, refused: &Arc<Token>) {
        if self
            .0
            .cache
            .get(key)
            .is_some_and(|cached| Arc::ptr_eq(&cached, refused))
        {
            self.0.cache.invalidate(key);
        }
    }

    fn board<F>(&self, flight: Flight, now: Instant, fetch: impl FnOnce() -> F) -> Boarded
    where
        F: Future<Output = Result<Token, UpstreamError>> + Send + 'static,
    {
        // The lock covers the look into the cache, so that a flight that lands in between is seen as
        // one or the other.
        let mut flights = lock(&self.0.flights);
        let cached = self.0.cache.get(&flight.key);
        if let Some(token) = cached.filter(|token| token.is_good(now)) {
            return Boarded::Cached(token);
        }
        if let Some(outcome) = flights.get(&flight) {
            return Boarded::Flight(outcome.clone());
        }
        if let Some(error) = self.0.pauses.get(&flight, now) {
            return Boarded::Paused(error);
        }
        let (publish, outcome) = watch::channel(None);
        flights.insert(flight.clone(), outcome.clone());
        drop(flights);
        let landing = Landing {
            shared: self.0.clone(),
            flight,
        };
        let fetch = fetch();
        // Detached: it belongs to no client, and is bounded by the transport's timeouts.
        tokio::spawn(async move {
            let outcome = fetch.await.map(Arc::new);
            landing.land(outcome.as_ref());
            // Nobody may be waiting any more.
            let _ = publish.send(Some(outcome));
        });
        Boarded::Flight(outcome)
    }
}

enum Boarded {
    Cached(Arc<Token>),
    Flight(watch::Receiver<Outcome>),
    /// The service is not to be asked now.
    Paused(UpstreamError),
}

/// Takes a flight off the board, even if its task panics.
struct Landing {
    shared: Arc<Shared>,
    flight: Flight,
}

impl Landing {
    fn land(self, outcome: Result<&Arc<Token>, &UpstreamError>) {
        match outcome {
            Ok(token) => {
                let key = self.flight.key.clone();
                self.shared.cache.insert(key, token.clone());
            }
            Err(error) => self.shared.pauses.note(&self.flight, error, Instant::now()),
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        lock(&self.shared.flights).remove(&self.flight);
    }
}

#[cfg(test)]
mod tests;
