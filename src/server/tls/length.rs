//! How long a handshake may be: what a client has sent of one is held in memory.
//!
//! Almost all are short. Only so many at a time may be long, so that it does not matter how many connections begin one; a long
//! one that finds no place fails, and short ones never need any.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a client's that every handshake may have: a hello, a chain of certificates, and the beginning of a request.
const SHORT: usize = 12 << 10;
/// Bytes of a long one: as many as a message of a handshake can have, and a little.
const LONG: usize = 80 << 10;
/// Long ones at the same time.
pub(super) const LONG_AT_ONCE: usize = 64;

/// What is left of it for one handshake.
#[derive(Debug)]
pub(in crate::server) struct Length {
    left: usize,
    places: Arc<Semaphore>,
    place: Option<OwnedSemaphorePermit>,
}

impl Length {
    pub(super) fn new(places: &Arc<Semaphore>) -> Self {
        Self {
            left: SHORT,
            places: Arc::clone(places),
            place: None,
        }
    }

    /// Takes what has come; false if it is too much.
    pub(in crate::server) fn take(&mut self, bytes: usize) -> bool {
        if bytes > self.left && self.place.is_none() {
            self.place = Arc::clone(&self.places).try_acquire_owned().ok();
            if self.place.is_some() {
                self.left += LONG - SHORT;
            }
        }
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or_default();
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_handshakes_at_a_time_are_long_and_short_ones_do_not_mind() {
        let places = Arc::new(Semaphore::new(1));
        let mut short = Length::new(&places);
        let [mut first, mut second] = [Length::new(&places), Length::new(&places)];
        assert!(first.take(SHORT) && first.take(1) && first.take(LONG - SHORT - 1));
        assert!(second.take(SHORT) && !second.take(1));
        assert!(short.take(SHORT));
        assert!(!first.take(1), "it may not be longer than that");
        drop(first);
        let mut third = Length::new(&places);
        assert!(third.take(SHORT + 1));
    }
}
