//! Whose turn it is on a connection: the client's, or a request's that runs.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::lent::Lent;

/// What a connection's socket and its requests tell one another.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Counts request heads and responses' ends, so odd while a request runs.
    passed: AtomicU32,
    is_full: AtomicBool,
    /// What the response leaves for the socket to send from files.
    pub(super) lent: Lent,
}

impl Turn {
    /// A request's head, or a response's end, was passed.
    pub(super) fn pass(&self) {
        self.passed.fetch_add(1, Ordering::Release);
    }

    /// Whether the socket has refused what was written last, and takes nothing yet, or the disk is waited for on its behalf.
    /// Once that is over, hyper writes what it has, and then asks for more.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// How many were passed.
    pub(super) fn now(&self) -> u32 {
        self.passed.load(Ordering::Acquire)
    }

    pub(super) fn fill(&self, is_full: bool) {
        // One task reads and writes it.
        if self.is_full() != is_full {
            self.is_full.store(is_full, Ordering::Release);
        }
    }
}
