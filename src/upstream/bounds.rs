//! How many blob connections are open at a time: per upstream and in all. Waiting is first come,
//! first served.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::{self, UpstreamName};

/// The bounds that one upstream's blob connections are under.
#[derive(Debug)]
pub(crate) struct Bounds {
    upstream: Arc<Semaphore>,
    /// Half of the upstream's, for those who hold a connection for as long as their client reads: the other half is
    /// always left to those who are as fast as the upstream.
    passing: Arc<Semaphore>,
    total: Arc<Semaphore>,
    unproven: Arc<Semaphore>,
    label: UpstreamName,
}

/// Logins of clients that an upstream is asked about at a time, where nothing is known of them.
const UNPROVEN: usize = 16;

/// The right to one blob connection; it ends when this is dropped.
#[derive(Debug)]
pub struct BlobPermit {
    _passing: Option<OwnedSemaphorePermit>,
    _counted: metrics::Up,
    _upstream: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

impl Bounds {
    pub(crate) fn new(
        max_connections: usize,
        total: Arc<Semaphore>,
        label: UpstreamName,
    ) -> Bounds {
        let most = max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Bounds {
            upstream: Arc::new(Semaphore::new(most)),
            passing: Arc::new(Semaphore::new(most.div_ceil(2))),
            total,
            unproven: Arc::new(Semaphore::new(UNPROVEN)),
            label,
        }
    }

    /// Waits for the upstream's bound first, so that nobody holds a share of the total while another
    /// upstream's waiters could use it.
    pub(crate) async fn acquire(&self) -> BlobPermit {
        let upstream = acquire(&self.upstream).await;
        self.permit(upstream, acquire(&self.total).await)
    }

    /// As [`Bounds::acquire`], for one whose pace is a client's.
    pub(crate) async fn acquire_passing(&self) -> BlobPermit {
        let passing = acquire(&self.passing).await;
        BlobPermit {
            _passing: Some(passing),
            ..self.acquire().await
        }
    }

    /// A permit if there is one to be had at once and nobody is waiting for it.
    pub(crate) fn try_acquire(&self) -> Option<BlobPermit> {
        let upstream = self.upstream.clone().try_acquire_owned().ok()?;
        Some(self.permit(upstream, self.total.clone().try_acquire_owned().ok()?))
    }

    /// Waits for the right to ask whether a client's login is good.
    pub(crate) async fn unproven(&self) -> OwnedSemaphorePermit {
        acquire(&self.unproven).await
    }

    fn permit(&self, upstream: OwnedSemaphorePermit, total: OwnedSemaphorePermit) -> BlobPermit {
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
        let bounds = Bounds::new(4, Arc::new(Semaphore::new(10)), label());
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
        let total = Arc::new(Semaphore::new(3));
        let a = Arc::new(Bounds::new(2, total.clone(), label()));
        let b = Bounds::new(2, total.clone(), label());
        let first = a.acquire().await;
        let _second = a.acquire().await;
        assert!(a.try_acquire().is_none(), "the upstream's bound");
        let _third = b.try_acquire().unwrap();
        assert!(b.try_acquire().is_none(), "the bound in all");
        assert_eq!(total.available_permits(), 0);

        let mut waiting = Box::pin(a.acquire());
        assert!(futures_util::FutureExt::now_or_never(&mut waiting).is_none());
        drop(first);
        assert!(a.try_acquire().is_none(), "a newcomer does not overtake");
        waiting.await;
    }
}
