//! Places for confirmations that nobody waits for.
//!
//! An upstream that hangs keeps each for as long as a request may take, so that none has more than a share of them: tags of
//! others are refreshed meanwhile. Owns the places and knows nothing of tags.

use std::sync::Arc;

use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::oci::Registry;
use crate::upstream::Priority;

/// Confirmations at once that nobody waits for, at most.
const ALL: usize = 256;
/// Of one upstream.
const EACH: usize = 32;
/// Upstreams that are remembered.
const UPSTREAMS: u64 = 1_000;

/// Places, of all upstreams and of each.
#[derive(Debug)]
pub(super) struct Refreshes {
    all: Arc<Semaphore>,
    each: Cache<Registry, Arc<Semaphore>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_each: OwnedSemaphorePermit,
}

impl Default for Refreshes {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(ALL)),
            each: Cache::new(UPSTREAMS),
        }
    }
}

impl Refreshes {
    /// A place, where there is one. What is asked for ahead of its time leaves half of them to what is due.
    pub(super) fn place(&self, registry: &Registry, priority: Priority) -> Option<Place> {
        let of_upstream = || Arc::new(Semaphore::new(EACH));
        let each = self.each.get_with_by_ref(registry, of_upstream);
        let is_ahead = priority != Priority::Moved;
        let is_left = |places: &Semaphore, most| places.available_permits() > most / 2;
        if is_ahead && !(is_left(&each, EACH) && is_left(&self.all, ALL)) {
            return None;
        }
        Some(Place {
            _of_each: each.try_acquire_owned().ok()?,
            _of_all: Arc::clone(&self.all).try_acquire_owned().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(refreshes: &Refreshes, registry: &str, priority: Priority) -> Vec<Place> {
        let registry = registry.parse().unwrap();
        std::iter::from_fn(|| refreshes.place(&registry, priority)).collect()
    }

    /// One that hung took all places there were, for 22 s each.
    #[test]
    fn an_upstream_that_hangs_leaves_places_to_others() {
        let refreshes = Refreshes::default();
        let hung = taken(&refreshes, "hung.io", Priority::Moved);
        assert_eq!(hung.len(), EACH);
        assert_eq!(taken(&refreshes, "well.io", Priority::Moved).len(), EACH);
        drop(hung);
        assert_eq!(taken(&refreshes, "hung.io", Priority::Moved).len(), EACH);
    }

    #[test]
    fn what_is_asked_for_ahead_of_its_time_leaves_half_to_what_is_due() {
        let refreshes = Refreshes::default();
        let ahead = taken(&refreshes, "a.io", Priority::Refresh);
        assert_eq!(ahead.len(), EACH / 2);
        let due = taken(&refreshes, "a.io", Priority::Moved);
        assert_eq!(due.len(), EACH / 2);
        assert!(taken(&refreshes, "a.io", Priority::Refresh).is_empty());
    }
}
