//! How many blob connections are open at a time: per upstream and in all. Waiting is first come,
//! first served.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bounds that one upstream's blob connections are under.
#[derive(Debug)]
pub(crate) struct Bounds {
    upstream: Arc<Semaphore>,
    total: Arc<Semaphore>,
}

/// The right to one blob connection; it ends when this is dropped.
#[derive(Debug)]
pub struct BlobPermit {
    _upstream: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

impl Bounds {
    pub(crate) fn new(max_connections: usize, total: Arc<Semaphore>) -> Bounds {
        Bounds {
            upstream: Arc::new(Semaphore::new(
                max_connections.clamp(1, Semaphore::MAX_PERMITS),
            )),
            total,
        }
    }

    /// Waits for the upstream's bound first, so that nobody holds a share of the total while another
    /// upstream's waiters could use it.
    pub(crate) async fn acquire(&self) -> BlobPermit {
        let acquire = async |semaphore: &Arc<Semaphore>| {
            semaphore
                .clone()
                .acquire_owned()
                .await
                .expect("these semaphores are never closed")
        };
        BlobPermit {
            _upstream: acquire(&self.upstream).await,
            _total: acquire(&self.total).await,
        }
    }

    /// A permit if there is one to be had at once and nobody is waiting for it.
    pub(crate) fn try_acquire(&self) -> Option<BlobPermit> {
        Some(BlobPermit {
            _upstream: self.upstream.clone().try_acquire_owned().ok()?,
            _total: self.total.clone().try_acquire_owned().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_bounds_hold_and_waiters_come_in_order() {
        let total = Arc::new(Semaphore::new(3));
        let a = Arc::new(Bounds::new(2, total.clone()));
        let b = Bounds::new(2, total.clone());
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
