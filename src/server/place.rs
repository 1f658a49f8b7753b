//! Places: each connection has one, and there are only so many.
//!
//! Where all are taken, a connection that can be spared ends for each newcomer, which waits for its place outside of them.
//! Who gets none in time, or finds too many waiting, is told so where there is a place to be told in, and closed without a
//! word otherwise. So nobody is left in the kernel's backlog, and the descriptors beyond the cap are bounded.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::spare::{SILENCE, Spares, Wanted};
use crate::http::Surplus;
use crate::metrics;

/// Connections that wait for a place: one for so many places, and no more than the second value.
const WAITING: (usize, usize) = (16, 256);
/// Connections that are told at the same time that they are too many.
const TOLD_AT_ONCE: usize = 64;

/// The places of one server.
pub(super) struct Places {
    most: usize,
    /// How long a connection waits for one.
    patience: Duration,
    all: Arc<Semaphore>,
    /// One permit a connection that waits.
    waiting: Arc<Semaphore>,
    /// One permit a connection that is told that it is too many.
    telling: Arc<Semaphore>,
    /// Whose places can be had.
    pub(super) spares: Arc<Spares>,
}

/// What a connection has, for as long as it lasts.
pub(super) enum Place {
    /// One of those that there are.
    Taken { _permit: OwnedSemaphorePermit },
    /// None yet.
    Awaited(Waiting),
    /// One in which it is told that it is too many.
    Telling { _permit: OwnedSemaphorePermit },
}

/// A connection that waits for its place.
pub(super) struct Waiting {
    _permit: OwnedSemaphorePermit,
    wanted: Wanted,
}

/// Connections beyond the `most` that have a place: those that wait for one, and those that are told that they get none.
pub(super) fn beyond(most: usize) -> usize {
    waiting(most) + TOLD_AT_ONCE
}

fn waiting(most: usize) -> usize {
    most.div_ceil(WAITING.0).min(WAITING.1)
}

impl Places {
    pub(super) fn new(most: usize, patience: Duration) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits));
        Self {
            most,
            patience,
            all: semaphore(most),
            waiting: semaphore(waiting(most)),
            telling: semaphore(TOLD_AT_ONCE),
            spares: Arc::default(),
        }
    }

    /// That of a connection that has just come, if anything can be done for it.
    pub(super) fn of_newcomer(&self) -> Option<Place> {
        if let Ok(permit) = Arc::clone(&self.all).try_acquire_owned() {
            return Some(Place::Taken { _permit: permit });
        }
        match Arc::clone(&self.waiting).try_acquire_owned() {
            Ok(permit) => Some(Place::Awaited(Waiting {
                _permit: permit,
                wanted: self.spares.want(),
            })),
            Err(_) => self.refusing(),
        }
    }

    /// The place of one that has waited: one in which it is told so, if it has waited in vain.
    pub(super) async fn awaited(&self, waiting: Waiting) -> Option<Place> {
        let end = Instant::now() + self.patience;
        let mut permit = pin!(Arc::clone(&self.all).acquire_owned());
        loop {
            let look = end.min(Instant::now() + SILENCE);
            match timeout_at(look, permit.as_mut()).await {
                Ok(permit) => {
                    return Some(Place::Taken {
                        _permit: permit.ok()?,
                    });
                }
                Err(_) if look == end => return self.refusing(),
                Err(_) => waiting.wanted.again(),
            }
        }
    }

    /// A place in which to tell a connection that it is too many, if there is one left.
    pub(super) fn telling(&self) -> Option<Place> {
        let permit = Arc::clone(&self.telling).try_acquire_owned().ok()?;
        Some(Place::Telling { _permit: permit })
    }

    fn refusing(&self) -> Option<Place> {
        metrics::connection_closed(metrics::Closed::Full);
        self.telling()
    }

    /// Those that a connection in this place can be spared with: its end has to make room where room is wanted.
    pub(super) fn spares_with(&self, place: &Place) -> Arc<Spares> {
        match place {
            Place::Taken { .. } | Place::Awaited(_) => Arc::clone(&self.spares),
            // Nobody waits for its place, and its time is short.
            Place::Telling { .. } => Arc::default(),
        }
    }

    /// What is told to a connection in such a place, where nothing else is to be told.
    pub(super) fn surplus(&self, place: &Place) -> Option<Surplus> {
        matches!(place, Place::Telling { .. }).then(|| Surplus::of_all(self.most))
    }
}
