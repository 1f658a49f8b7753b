//! How many blob connections are open at a time: per upstream and in all. Waiting is first come,
//! first served. A quarter of each bound is for those who have none yet: what only makes a blob come
//! sooner never has a blob wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::{self, UpstreamName};

/// A number of connections, some of them for first ones alone.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    /// What further connections may take of them.
    further: Arc<Semaphore>,
}

impl Places {
    pub(crate) fn new(most: usize) -> Places {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Places {
            all: Arc::new(Semaphore::new(most)),
            further: Arc::new(Semaphore::new(most - most.div_ceil(4))),
        }
    }

    /// A place for a first connection, in order of arrival.
    async fn acquire(&self) -> Place {
        Place {
            _further: None,
            _any: acquire(&self.all).await,
        }
    }

    /// A place for a further connection, if there is one at once and nobody waits for it.
    fn try_acquire(&self) -> Option<Place> {
        Some(Place {
            _further: Some(self.further.clone().try_acquire_owned().ok()?),
            _any: self.all.clone().try_acquire_owned().ok()?,
        })
    }
}

#[derive(Debug)]
struct Place {
    _further: Option<OwnedSemaphorePermit>,
    _any: OwnedSemaphorePermit,
}

/// The bounds that one upstream's blob connections are under.
#[derive(Debug)]
pub(crate) struct Bounds {
    upstream: Places,
    /// Half of the upstream's, for those who hold a connection for as long as their client reads: the other half is
    /// always left to those who are as fast as the upstream.
    passing: Arc<Semaphore>,
    total: Places,
    unproven: Arc<Semaphore>,
    /// Bytes that have come for fills.
    received: AtomicU64,
    label: UpstreamName,
}

/// Logins of clients that an upstream is asked about at a time, where nothing is known of them.
const UNPROVEN: usize = 16;

/// The right to one blob connection; it ends when this is dropped.
#[derive(Debug)]
pub struct BlobPermit {
    _passing: Option<OwnedSemaphorePermit>,
    _counted: metrics::Up,
    _upstream: Place,
    _total: Place,
}

impl Bounds {
    pub(crate) fn new(max_connections: usize, total: Places, label: UpstreamName) -> Bounds {
        let half = max_connections.div_ceil(2).clamp(1, Semaphore::MAX_PERMITS);
        Bounds {
            upstream: Places::new(max_connections),
            passing: Arc::new(Semaphore::new(half)),
            total,
            unproven: Arc::new(Semaphore::new(UNPROVEN)),
            received: AtomicU64::new(0),
            label,
        }
    }

    /// Waits for the upstream's bound first, so that nobody holds a share of the total while another
    /// upstream's waiters could use it.
    pub(crate) async fn acquire(&self) -> BlobPermit {
        let upstream = self.upstream.acquire().await;
        self.permit(upstream, self.total.acquire().await)
    }

    /// As [`Bounds::acquire`], for one whose pace is a client's.
    pub(crate) async fn acquire_passing(&self) -> BlobPermit {
        let passing = acquire(&self.passing).await;
        BlobPermit {
            _passing: Some(passing),
            ..self.acquire().await
        }
    }

    /// A permit for a fill that has one already, if it is to be had at once.
    pub(crate) fn try_acquire(&self) -> Option<BlobPermit> {
        let upstream = self.upstream.try_acquire()?;
        Some(self.permit(upstream, self.total.try_acquire()?))
    }

    /// Notes what has come for a fill; says what has come for all of them so far.
    pub(crate) fn note_received(&self, bytes: u64) -> u64 {
        self.received.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// Waits for the right to ask whether a client's login is good.
    pub(crate) async fn unproven(&self) -> OwnedSemaphorePermit {
        acquire(&self.unproven).await
    }

    fn permit(&self, upstream: Place, total: Place) -> BlobPermit {
        BlobPermit {
            _passing: None,
            _counted: metrics::upstream_connection(&self.label),
            _upstream: upstream,
            _total: total,
        }
    }
}

async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let permit = semaphore.clone().acquire_owned().await;
    permit.expect("these semaphores are never closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> UpstreamName {
        UpstreamName::configured("test")
    }

    #[tokio::test]
    async fn those_at_a_clients_pace_leave_half_of_the_connections_to_others() {
        let bounds = Bounds::new(4, Places::new(10), label());
        let _slow = (
            bounds.acquire_passing().await,
            bounds.acquire_passing().await,
        );
        let third = futures_util::FutureExt::now_or_never(bounds.acquire_passing());
        assert!(third.is_none());
        assert!(bounds.try_acquire().is_some());
    }

    #[tokio::test]
    async fn both_bounds_hold_and_waiters_come_in_order() {
        let total = Places::new(3);
        let a = Arc::new(Bounds::new(2, total.clone(), label()));
        let b = Bounds::new(2, total.clone(), label());
        let first = a.acquire().await;
        let _second = a.acquire().await;
        assert!(a.try_acquire().is_none(), "the upstream's bound");
        let _third = b.try_acquire().unwrap();
        assert!(b.try_acquire().is_none(), "the bound in all");
        assert_eq!(total.all.available_permits(), 0);

        let mut waiting = Box::pin(a.acquire());
        assert!(futures_util::FutureExt::now_or_never(&mut waiting).is_none());
        drop(first);
        assert!(a.try_acquire().is_none(), "a newcomer does not overtake");
        waiting.await;
    }

    /// Blobs with many connections took them all, and the next blob waited for one of theirs to end: for a piece of
    /// 16 MiB on a twenty-fourth of the line.
    #[tokio::test]
    async fn further_connections_leave_a_quarter_to_first_ones() {
        for (upstream, total) in [(8, 100), (100, 8)] {
            let bounds = Bounds::new(upstream, Places::new(total), label());
            let further: Vec<_> = std::iter::from_fn(|| bounds.try_acquire()).collect();
            assert_eq!(further.len(), 6);
            let firsts = [bounds.acquire(), bounds.acquire()];
            let firsts =
                futures_util::FutureExt::now_or_never(futures_util::future::join_all(firsts));
            assert!(firsts.is_some(), "first connections wait for nobody");
        }
        let alone = Bounds::new(1, Places::new(1), label());
        assert!(alone.try_acquire().is_none(), "the only one is a first one");
        alone.acquire().await;
    }
}
