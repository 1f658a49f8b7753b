//! What clients asked for and what they got, added up while they do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::place::Role;

/// One request, and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// When it was sent, since the tally was begun.
    pub at: Duration,
    /// What was asked.
    pub role: Role,
    /// The answer's status, if there was one.
    pub status: Option<u16>,
    /// Whether the answer came to its end.
    pub whole: bool,
    /// Until the first byte of the body, or the end of a head without one.
    pub first_byte: Duration,
    /// Until the last byte.
    pub took: Duration,
}

/// Sums over requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// To the mirror.
    pub requests: u64,
    /// To the registry itself, around the mirror.
    pub around: u64,
    /// Refused for load by the mirror: 408 and 429.
    pub refusals: u64,
    /// The mirror's answers of 500 and above.
    pub errors: u64,
    /// The mirror's bodies that broke off.
    pub cut: u64,
    /// What the mirror did not answer.
    pub unanswered: u64,
    /// Bytes of bodies that came from the mirror.
    pub bytes: u64,
    /// Bytes of bodies that came from the registry itself.
    pub bytes_around: u64,
}

/// What is added up, by however many clients.
#[derive(Debug)]
pub struct Tally {
    began: Instant,
    kept: Mutex<Kept>,
    bytes: AtomicU64,
    bytes_around: AtomicU64,
}

#[derive(Debug, Default)]
struct Kept {
    sums: Sums,
    asked: Vec<Asked>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            kept: Mutex::default(),
            bytes: AtomicU64::new(0),
            bytes_around: AtomicU64::new(0),
        }
    }
}

impl Tally {
    /// How long ago it was begun.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The sums so far; bytes of bodies that have not ended among them.
    pub fn sums(&self) -> Sums {
        Sums {
            bytes: self.bytes.load(Ordering::Relaxed),
            bytes_around: self.bytes_around.load(Ordering::Relaxed),
            ..self.lock().sums
        }
    }

    /// Every request that has ended, from the one with this number on, in the order in which they did.
    pub fn asked(&self, from: usize) -> Vec<Asked> {
        self.lock().asked.get(from..).unwrap_or_default().to_vec()
    }

    /// How many requests have ended.
    pub fn ended(&self) -> usize {
        self.lock().asked.len()
    }

    pub(super) fn received(&self, role: Role, bytes: usize) {
        let sum = match role {
            Role::Mirror => &self.bytes,
            Role::Registry => &self.bytes_around,
        };
        sum.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn add(&self, asked: Asked) {
        let mut kept = self.lock();
        kept.asked.push(asked);
        let sums = &mut kept.sums;
        if asked.role == Role::Registry {
            sums.around += 1;
            return;
        }
        sums.requests += 1;
        sums.refusals += u64::from(matches!(asked.status, Some(408 | 429)));
        sums.errors += u64::from(asked.status.is_some_and(|status| status >= 500));
        sums.cut += u64::from(asked.status.is_some() && !asked.whole);
        sums.unanswered += u64::from(asked.status.is_none());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().expect("nobody panics with the lock")
    }
}
