//! Bearer tokens: keeping them until shortly before they expire, and one request at a time for each.
//!
//! Owns the token cache. Every waiter of a request for a token gets its result, whichever client began
//! it and whether or not that client is still there.

mod answer;

pub(crate) use answer::{MAX_TOKEN_BYTES, Token};

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::watch;

use super::credentials::Identity;
use super::error::{ErrorKind, Trouble, UpstreamError};
use crate::sync::lock;

/// The cache's bound, in bytes of tokens and keys.
const MAX_CACHED_BYTES: u64 = 16 << 20;

/// What a token is for. Nothing of it comes from a client but the repository's name in `scope`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    /// The registry that the token is for, as scheme, host and port.
    pub(crate) registry: String,
    pub(crate) identity: Identity,
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    pub(crate) scope: String,
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
    flights: Mutex<HashMap<TokenKey, watch::Receiver<Outcome>>>,
}

impl Tokens {
    pub(crate) fn new() -> Tokens {
        let cache = Cache::builder()
            .max_capacity(MAX_CACHED_BYTES)
            // The default policy may turn a new token away.
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|key: &TokenKey, token: &Arc<Token>| {
                let size = key.realm.len() + key.scope.len() + token.header.len() + 256;
                u32::try_from(size).unwrap_or(u32::MAX)
            })
            .build();
        Tokens(Arc::new(Shared {
            cache,
            flights: Mutex::default(),
        }))
    }

    /// The token for `key`: from the cache, from a request that is under way, or by `fetch`.
    pub(crate) async fn get<F>(
        &self,
        key: &TokenKey,
        now: Instant,
        fetch: impl FnOnce() -> F,
    ) -> Result<Obtained, UpstreamError>
    where
        F: Future<Output = Result<Token, UpstreamError>> + Send + 'static,
    {
        let mut flight = match self.board(key, now, fetch) {
            Boarded::Cached(token) => return Ok((token, false)),
            Boarded::Flight(flight) => flight,
        };
        match flight.wait_for(Option::is_some).await {
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

    fn board<F>(&self, key: &TokenKey, now: Instant, fetch: impl FnOnce() -> F) -> Boarded
    where
        F: Future<Output = Result<Token, UpstreamError>> + Send + 'static,
    {
        // The lock covers the look into the cache, so that a flight that lands in between is seen as
        // one or the other.
        let mut flights = lock(&self.0.flights);
        if let Some(token) = self.0.cache.get(key).filter(|token| token.is_good(now)) {
            return Boarded::Cached(token);
        }
        if let Some(flight) = flights.get(key) {
            return Boarded::Flight(flight.clone());
        }
        let (publish, flight) = watch::channel(None);
        flights.insert(key.clone(), flight.clone());
        drop(flights);
        let landing = Landing {
            shared: self.0.clone(),
            key: key.clone(),
        };
        let fetch = fetch();
        // Detached: it belongs to no client, and is bounded by the transport's timeouts.
        tokio::spawn(async move {
            let outcome = fetch.await.map(Arc::new);
            landing.land(outcome.as_ref().ok());
            // Nobody may be waiting any more.
            let _ = publish.send(Some(outcome));
        });
        Boarded::Flight(flight)
    }
}

enum Boarded {
    Cached(Arc<Token>),
    Flight(watch::Receiver<Outcome>),
}

/// Takes a flight off the board, even if its task panics.
struct Landing {
    shared: Arc<Shared>,
    key: TokenKey,
}

impl Landing {
    fn land(self, token: Option<&Arc<Token>>) {
        if let Some(token) = token {
            self.shared.cache.insert(self.key.clone(), token.clone());
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        lock(&self.shared.flights).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn key(scope: &str) -> TokenKey {
        TokenKey {
            registry: "https://a.io".to_owned(),
            identity: Identity::Anonymous,
            realm: "https://a.io/token".to_owned(),
            service: None,
            scope: scope.to_owned(),
        }
    }

    fn parse(body: &str) -> Result<Token, &'static str> {
        Token::parse(body.as_bytes(), Instant::now(), Duration::from_secs(7))
    }

    #[tokio::test]
    async fn fifty_waiters_share_one_request_and_its_result() {
        let tokens = Tokens::new();
        let requests = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let now = Instant::now();
        let waiters: Vec<_> = (0..50)
            .map(|_| {
                let (tokens, requests, gate) = (tokens.clone(), requests.clone(), gate.clone());
                tokio::spawn(async move {
                    let fetch = || async move {
                        requests.fetch_add(1, Ordering::Relaxed);
                        gate.acquire().await.unwrap().forget();
                        parse(r#"{"token":"t"}"#)
                            .map_err(|what| UpstreamError::invalid("a.io", what))
                    };
                    tokens.get(&key("x"), now, fetch).await.unwrap().0
                })
            })
            .collect();
        tokio::task::yield_now().await;
        gate.add_permits(1);
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap().header, "Bearer t");
        }
        assert_eq!(requests.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_failure_reaches_its_waiters_and_is_not_remembered() {
        let tokens = Tokens::new();
        let now = Instant::now();
        let failing = || async { Err(UpstreamError::timeout("a.io", "slow")) };
        assert!(tokens.get(&key("x"), now, failing).await.is_err());
        let working = || async { Ok(parse(r#"{"token":"t"}"#).unwrap()) };
        let (token, fresh) = tokens.get(&key("x"), now, working).await.unwrap();
        assert!(fresh);
        let cached = tokens.get(&key("x"), now, working).await.unwrap();
        assert_eq!(cached, (token, false));
    }

    #[tokio::test]
    async fn a_panicking_request_fails_its_waiters_and_leaves_no_trace() {
        let tokens = Tokens::new();
        let now = Instant::now();
        let panicking = || async { panic!("a bug") };
        assert!(tokens.get(&key("x"), now, panicking).await.is_err());
        let working = || async { Ok(parse(r#"{"token":"t"}"#).unwrap()) };
        assert!(tokens.get(&key("x"), now, working).await.is_ok());
    }

    #[tokio::test]
    async fn only_the_refused_token_is_forgotten() {
        let tokens = Tokens::new();
        let now = Instant::now();
        let working = || async { Ok(parse(r#"{"token":"t"}"#).unwrap()) };
        let (first, _) = tokens.get(&key("x"), now, working).await.unwrap();
        tokens.reject(&key("x"), &first);
        let (second, fresh) = tokens.get(&key("x"), now, working).await.unwrap();
        assert!(fresh);
        tokens.reject(&key("x"), &first);
        let third = tokens.get(&key("x"), now, working).await.unwrap();
        assert_eq!(third, (second, false));
    }

    #[tokio::test]
    async fn a_request_goes_on_when_its_client_leaves() {
        let tokens = Tokens::new();
        let now = Instant::now();
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let fetch = || async {
            gone.await.unwrap();
            Ok(parse(r#"{"token":"t"}"#).unwrap())
        };
        let leaving = tokio::spawn({
            let tokens = tokens.clone();
            let fetch = fetch();
            async move { tokens.get(&key("x"), now, || fetch).await.map(drop) }
        });
        while tokens.0.flights.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        leaving.abort();
        go.send(()).unwrap();
        let never = || async { Err(UpstreamError::invalid("a.io", "asked twice")) };
        assert!(tokens.get(&key("x"), now, never).await.is_ok());
    }
}
