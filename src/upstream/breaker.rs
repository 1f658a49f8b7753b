//! A circuit breaker for each host that is dialled: a registry, its token service and the store that it
//! redirects to fail apart.
//!
//! A host that keeps failing is left alone for a while: whoever wants something of it gets an error at
//! once, and with it what is stale, instead of one more timeout. Then one request is let through to
//! look. As its answers come, the number of requests at once doubles; so a host that comes back meets
//! a trickle that grows, and not everyone who has waited.
//!
//! Owns what is known of each host. When it opens and closes is [`state`]'s to decide.

mod state;

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Notify;

pub use self::state::HostState;
use self::state::{Admission, Breaker, Ticket};
use super::address::Origin;
use super::error::{ErrorKind, Trouble, UpstreamError};
use crate::metrics::{self, Up, UpstreamName};
use crate::sync::lock;

/// Hosts that are remembered for an upstream: its own, its token service, and those that it redirects to.
const MAX_HOSTS: u64 = 64;

/// The breakers of an upstream's hosts.
#[derive(Debug)]
pub(crate) struct Breakers {
    hosts: Cache<Origin, Arc<Host>>,
    label: UpstreamName,
    /// When a request that is given up counts as failed.
    slow: Duration,
}

/// A request that is given up after this long has failed, or after the time that its host has by the configuration; within
/// these bounds.
const SLOW: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(20);
/// How long a request waits for the first that looks whether a host is back.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// What is known of a host.
#[derive(Debug)]
struct Host {
    breaker: Mutex<Guarded>,
    /// Told of each change that may let another request through.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Guarded {
    state: Breaker,
    /// What those are told who are not let through.
    failure: Option<UpstreamError>,
    /// Counts the host among those that are left alone.
    open: Option<Up>,
}

impl Breakers {
    /// For hosts of which each has `first_byte` for the head of its answer, and a question `share` for each host that it may
    /// go to. Of that a login may take a part.
    pub(crate) fn new(label: UpstreamName, first_byte: Duration, share: Duration) -> Breakers {
        Breakers {
            slow: first_byte
                .clamp(*SLOW.start(), *SLOW.end())
                .min(share * 3 / 4),
            hosts: Cache::builder()
                .max_capacity(MAX_HOSTS)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            label,
        }
    }

    /// The right to send a request to `origin`. Waits while others try whether it is back; fails at once while it is left
    /// alone.
    pub(crate) async fn admit(&self, origin: &Origin) -> Result<Passage<'_>, UpstreamError> {
        let host = self.hosts.get_with_by_ref(origin, || {
            Arc::new(Host {
                breaker: Mutex::default(),
                changed: Notify::new(),
            })
        });
        let ticket = host.admit().await.map_err(|wait| {
            let failure = lock(&host.breaker).failure.clone();
            failure
                .unwrap_or_else(|| kept_failing(origin))
                .not_asked(wait)
        })?;
        Ok(Passage {
            host,
            of: self,
            ticket: Some(ticket),
            since: Instant::now(),
        })
    }

    /// Every host that is known, and how it failed last where it is not simply asked.
    pub(crate) fn hosts(&self) -> Vec<(Origin, HostState, Option<String>)> {
        let now = Instant::now();
        let hosts = self.hosts.iter().map(|(origin, host)| {
            let guarded = lock(&host.breaker);
            let state = guarded.state.standing(now);
            let failure = guarded.failure.as_ref();
            let failure = failure.filter(|_| state != HostState::Closed);
            (
                origin.as_ref().clone(),
                state,
                failure.map(ToString::to_string),
            )
        });
        hosts.collect()
    }

    /// Whether a request to `origin` would not be sent now.
    pub(crate) fn keeps_from(&self, origin: &Origin) -> bool {
        let host = self.hosts.get(origin);
        host.is_some_and(|host| !lock(&host.breaker).state.admits(Instant::now()))
    }
}

impl Host {
    /// A ticket, or how long nobody gets one.
    async fn admit(&self) -> Result<Ticket, Duration> {
        let mut patience = std::pin::pin!(None);
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before the state is looked at, so that no change after it is missed.
            changed.as_mut().enable();
            let admission = lock(&self.breaker).state.admit(Instant::now());
            match admission {
                Admission::Go(ticket) => return Ok(ticket),
                Admission::LeftAlone(wait) => return Err(wait),
                Admission::Wait { is_back: true } => changed.await,
                // One that hangs is no reason for all others to wait for its end: they may have something stale.
                Admission::Wait { is_back: false } => {
                    if patience.is_none() {
                        patience.set(Some(tokio::time::sleep(FIRST_LOOK)));
                    }
                    let patience = patience.as_mut().as_pin_mut().expect("it was set");
                    tokio::select! {
                        () = changed => {}
                        () = patience => return Err(FIRST_LOOK),
                    }
                }
            }
        }
    }
}

fn kept_failing(origin: &Origin) -> UpstreamError {
    let message = "has kept failing";
    UpstreamError::new(
        ErrorKind::Unavailable(Trouble::Connect),
        origin.authority(),
        message,
    )
}

/// A request on its way to a host. One that is given up early says nothing of the host.
#[derive(Debug)]
pub(crate) struct Passage<'a> {
    host: Arc<Host>,
    of: &'a Breakers,
    ticket: Option<Ticket>,
    since: Instant,
}

impl Passage<'_> {
    /// The host has answered, whatever it said.
    pub(crate) fn answered(mut self) {
        self.end(Breaker::answered);
    }

    /// The host can't be reached, is too slow, or says that it fails.
    pub(crate) fn failed(mut self, error: &UpstreamError) {
        lock(&self.host.breaker).failure = Some(error.clone());
        self.fail();
    }

    fn fail(&mut self) {
        let (now, roll) = (Instant::now(), rand::random());
        self.end(|state, ticket| state.failed(ticket, now, roll));
    }

    fn end(&mut self, verdict: impl FnOnce(&mut Breaker, Ticket)) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let mut guarded = lock(&self.host.breaker);
        verdict(&mut guarded.state, ticket);
        match (guarded.state.is_closed(), guarded.open.is_some()) {
            (false, false) => guarded.open = Some(metrics::breaker_open(&self.of.label)),
            (true, true) => guarded.open = None,
            _ => {}
        }
        drop(guarded);
        self.host.changed.notify_waiters();
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        // Whoever asked may have less patience than the host is given: then nobody would ever see it fail.
        if self.since.elapsed() >= self.of.slow {
            self.fail();
        } else {
            self.end(Breaker::abandoned);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn breakers() -> Breakers {
        Breakers::new(
            UpstreamName::configured("test"),
            Duration::ZERO,
            Duration::from_mins(1),
        )
    }

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().unwrap()).unwrap()
    }

    fn refused() -> UpstreamError {
        UpstreamError::new(ErrorKind::Unavailable(Trouble::Connect), "a.io", "refused")
    }

    async fn fail(breakers: &Breakers, origin: &Origin, times: u32) {
        for _ in 0..times {
            breakers.admit(origin).await.unwrap().failed(&refused());
        }
    }

    /// A host that has kept failing, and has been left alone for long enough.
    async fn rested() -> (Breakers, Origin) {
        let breakers = breakers();
        let host = origin("https://a.io");
        fail(&breakers, &host, state::FAILURES).await;
        let known = breakers.hosts.get(&host).unwrap();
        lock(&known.breaker).state.rested();
        (breakers, host)
    }

    #[tokio::test]
    async fn a_host_that_keeps_failing_is_left_alone_and_others_are_not() {
        let breakers = breakers();
        let (bad, good) = (origin("https://a.io"), origin("https://b.io"));
        fail(&breakers, &bad, state::FAILURES).await;
        let error = breakers.admit(&bad).await.unwrap_err();
        assert_eq!(error.to_string(), refused().to_string(), "why it is");
        assert!(error.is_not_asked() && error.retry_after().is_some());
        assert!(breakers.keeps_from(&bad));
        breakers.admit(&good).await.unwrap().answered();
        assert!(!breakers.keeps_from(&good));
    }

    #[tokio::test]
    async fn those_who_wait_follow_the_first_that_is_answered() {
        let (breakers, host) = rested().await;
        let first = breakers.admit(&host).await.unwrap();
        let mut second = Box::pin(breakers.admit(&host));
        let third = Box::pin(breakers.admit(&host));
        assert!((&mut second).now_or_never().is_none(), "one at first");
        first.answered();
        let (second, third) = (second.await.unwrap(), third.await.unwrap());
        // One that nobody waits for any more gives its place to the next.
        let mut fourth = Box::pin(breakers.admit(&host));
        assert!((&mut fourth).now_or_never().is_none(), "then two");
        drop(second);
        fourth.await.unwrap().answered();
        third.answered();
    }

    /// Everyone waited until it had timed out, those with something stale to serve as well.
    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_the_end_of_a_look_that_hangs() {
        let (breakers, host) = rested().await;
        assert!(!breakers.keeps_from(&host), "it is time to look");
        let hanging = breakers.admit(&host).await.unwrap();
        assert!(
            breakers.keeps_from(&host),
            "others had better ask elsewhere"
        );
        let began = tokio::time::Instant::now();
        let error = breakers.admit(&host).await.unwrap_err();
        assert!(error.is_not_asked());
        assert_eq!(began.elapsed(), FIRST_LOOK);
        hanging.answered();
        assert!(breakers.admit(&host).await.is_ok());
    }

    #[tokio::test]
    async fn those_who_wait_are_refused_where_the_first_fails() {
        let (breakers, host) = rested().await;
        let first = breakers.admit(&host).await.unwrap();
        let mut second = Box::pin(breakers.admit(&host));
        assert!((&mut second).now_or_never().is_none());
        first.failed(&refused());
        assert!(second.await.is_err());
    }
}
