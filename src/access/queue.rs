//! Turns at the cores, for checks of passwords: no more run at once than there are cores, and none begins to wait that would
//! do so for long. What waits is counted by the time that it will take, since one check may cost as much as two thousand others.
//!
//! Half of it is kept from strangers, those that come from where no login was right lately: whoever has addresses without
//! number and no password is not to keep out those that have one.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::sync::lock;

/// Most checks that run or wait.
const MOST: usize = 256;
/// No check waits for longer, as far as that can be told.
const LONGEST: Duration = Duration::from_secs(8);
/// What a check is taken to need for each of its rounds until one was measured: a slow core's.
const ROUND: Duration = Duration::from_micros(70);
/// How many times as long as the ones before it a check may seem to take. Beyond that it was held up, which says nothing of the
/// next one.
const HELD_UP: u32 = 4;
/// When to come back at the earliest where too many wait.
pub(super) const SOON: Duration = Duration::from_secs(2);

/// See the file's own words.
#[derive(Debug)]
pub(super) struct Queue {
    cores: Arc<Semaphore>,
    state: Mutex<State>,
}

/// A turn that was given, for one check.
#[derive(Debug)]
pub(super) struct Turn {
    queue: Arc<Queue>,
    of: Standing,
    rounds: u32,
}

/// Who wants a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Comes from where a login was right lately.
    Known,
    Stranger,
}

#[derive(Debug)]
struct State {
    cores: u32,
    /// What a round takes, as measured.
    round: Duration,
    all: Load,
    strangers: Load,
}

/// What runs or waits.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    checks: usize,
    rounds: u32,
}

impl Queue {
    /// For so many cores.
    pub(super) fn new(cores: usize) -> Self {
        let cores = u32::try_from(cores).unwrap_or(u32::MAX).max(1);
        Self {
            cores: Arc::new(Semaphore::new(cores as usize)),
            state: Mutex::new(State::new(cores)),
        }
    }

    /// A turn for a check of `cost`, or when to come back.
    pub(super) fn enter(self: &Arc<Self>, cost: u32, of: Standing) -> Result<Turn, Duration> {
        let rounds = 1 << cost;
        lock(&self.state).enter(rounds, of)?;
        Ok(Turn {
            queue: Arc::clone(self),
            of,
            rounds,
        })
    }
}

impl Turn {
    /// Runs `check` off the async threads when it is its turn. `None` where it came to no end.
    pub(super) async fn run<T: Send + 'static>(
        self,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let _core = Arc::clone(&self.queue.cores).acquire_owned().await;
        let timed = move || {
            let begun = Instant::now();
            (check(), begun.elapsed())
        };
        let (checked, took) = tokio::task::spawn_blocking(timed).await.ok()?;
        lock(&self.queue.state).measured(self.rounds, took);
        Some(checked)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.queue.state).leave(self.rounds, self.of);
    }
}

impl State {
    fn new(cores: u32) -> Self {
        Self {
            cores,
            round: ROUND,
            all: Load::default(),
            strangers: Load::default(),
        }
    }

    fn enter(&mut self, rounds: u32, of: Standing) -> Result<(), Duration> {
        let mut full = self.wait_of(self.all, 1);
        if of == Standing::Stranger {
            full = full.or(self.wait_of(self.strangers, 2));
        }
        if let Some(wait) = full {
            return Err(wait.max(SOON));
        }
        self.all.add(rounds);
        if of == Standing::Stranger {
            self.strangers.add(rounds);
        }
        Ok(())
    }

    /// How long a load keeps all cores busy, where that is more than one part of `parts`.
    fn wait_of(&self, load: Load, parts: u32) -> Option<Duration> {
        let wait = self.round.saturating_mul(load.rounds) / self.cores;
        let is_full = load.checks >= MOST / parts as usize || wait > LONGEST / parts;
        // However long one takes, where none is before it it waits for none.
        (is_full && load.checks > 0).then_some(wait)
    }

    fn leave(&mut self, rounds: u32, of: Standing) {
        self.all.remove(rounds);
        if of == Standing::Stranger {
            self.strangers.remove(rounds);
        }
    }

    /// One measure counts for an eighth, and one that is far beyond those before it as if it were four times as long as they: a
    /// cheap check that stood still for a second would have made minutes of each costly one, and all who came next were refused.
    fn measured(&mut self, rounds: u32, took: Duration) {
        let took = (took / rounds).min(self.round.max(ROUND) * HELD_UP);
        self.round = (self.round * 7 + took) / 8;
    }
}

impl Load {
    fn add(&mut self, rounds: u32) {
        self.checks += 1;
        self.rounds += rounds;
    }

    fn remove(&mut self, rounds: u32) {
        self.checks -= 1;
        self.rounds -= rounds;
    }
}

#[cfg(test)]
mod tests;
