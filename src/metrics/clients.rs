//! What clients were held to since the start of the process, beside the metrics: for whoever asks the process itself.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::label::ClientLimit;
use super::upstream::Count;

/// Counts for each limit.
type ByLimit = [Count; ClientLimit::ALL.len()];

static HELD: ByLimit = [const { Count::new() }; ClientLimit::ALL.len()];
static REFUSED: ByLimit = [const { Count::new() }; ClientLimit::ALL.len()];
static LIMITED: AtomicUsize = AtomicUsize::new(0);

/// How many requests, and for bytes bodies, were held for a limit.
pub fn clients_held(limit: ClientLimit) -> u64 {
    HELD[limit as usize].get()
}

/// How many requests and connections were refused for a limit.
pub fn clients_refused(limit: ClientLimit) -> u64 {
    REFUSED[limit as usize].get()
}

/// How many clients are remembered for their limits now.
pub fn clients_limited() -> usize {
    LIMITED.load(Ordering::Relaxed)
}

pub(super) fn held(limit: ClientLimit) {
    HELD[limit as usize].add(1);
}

pub(super) fn refused(limit: ClientLimit) {
    REFUSED[limit as usize].add(1);
}

pub(super) fn limited(clients: usize) {
    LIMITED.store(clients, Ordering::Relaxed);
}
