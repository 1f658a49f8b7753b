//! What holds a response back until a test lets it go, and what slows it down.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Holds responses until it is released. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    released: bool,
    waiting: usize,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A gate that is shut.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }

    /// Lets everything through, now and later.
    pub fn release(&self) {
        self.0.send_modify(|state| state.released = true);
    }

    /// Returns once `responses` wait at the gate at the same time.
    pub async fn reached(&self, responses: usize) {
        // The sender is in `self`, so it can't be gone.
        let _ = self
            .0
            .subscribe()
            .wait_for(|state| state.waiting >= responses)
            .await;
    }

    /// How many responses wait now.
    pub fn waiting(&self) -> usize {
        self.0.borrow().waiting
    }

    pub(crate) async fn pass(&self) {
        if self.0.borrow().released {
            return;
        }
        let _waiting = Waiting::at(self);
        let _ = self.0.subscribe().wait_for(|state| state.released).await;
    }
}

/// Counts a response as waiting, until it passes or its client leaves.
struct Waiting<'a>(&'a Gate);

impl<'a> Waiting<'a> {
    fn at(gate: &'a Gate) -> Self {
        gate.0.send_modify(|state| state.waiting += 1);
        Self(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.waiting -= 1);
    }
}

/// How far behind its pace a sender may fall and still catch up. Timers wake late, by a millisecond and more, and a pace that
/// forgave that each time would be slower than it says, the faster the more.
const CATCH_UP: Duration = Duration::from_millis(20);

/// Bytes a second, shared by everything that holds a clone.
#[derive(Clone, Debug)]
pub struct Pace {
    bytes_per_second: u64,
    next: Arc<Mutex<Instant>>,
}

impl Pace {
    /// A pace of `bytes_per_second`, at least 1.
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            next: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// How much to send at a time, so that it flows rather than bursts.
    pub(crate) fn step(&self) -> usize {
        usize::try_from(self.bytes_per_second / 50)
            .unwrap_or(usize::MAX)
            .max(1)
    }

    /// Returns when `bytes` may go out.
    pub(crate) async fn turn(&self, bytes: usize) {
        let cost = Duration::from_nanos(
            u64::try_from(
                u128::from(bytes as u64) * 1_000_000_000 / u128::from(self.bytes_per_second),
            )
            .unwrap_or(u64::MAX),
        );
        let at = {
            let mut next = self.next.lock().expect("nobody panics with the lock");
            let now = Instant::now();
            let at = (*next).max(now.checked_sub(CATCH_UP).unwrap_or(now));
            *next = at + cost;
            (at > now).then_some(at)
        };
        if let Some(at) = at {
            sleep_until(at).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gate_holds_until_released_and_says_who_waits() {
        let gate = Gate::new();
        let held = tokio::spawn({
            let gate = gate.clone();
            async move { gate.pass().await }
        });
        gate.reached(1).await;
        assert!(!held.is_finished());
        gate.release();
        held.await.unwrap();
        assert_eq!(gate.waiting(), 0);
        gate.pass().await;
    }

    #[tokio::test]
    async fn who_leaves_a_gate_waits_no_longer() {
        let gate = Gate::new();
        let held = tokio::spawn({
            let gate = gate.clone();
            async move { gate.pass().await }
        });
        gate.reached(1).await;
        held.abort();
        assert!(held.await.unwrap_err().is_cancelled());
        assert_eq!(gate.waiting(), 0);
    }

    #[tokio::test]
    async fn pace_spreads_bytes_over_time() {
        tokio::time::pause();
        let pace = Pace::new(1000);
        let start = Instant::now();
        for _ in 0..5 {
            pace.turn(500).await;
        }
        assert_eq!(start.elapsed().as_secs(), 2);
    }

    /// A timer has milliseconds alone, so that a pace of many small turns in each was far slower than it said.
    #[tokio::test]
    async fn pace_is_kept_where_its_turns_are_shorter_than_a_timer_can_tell() {
        tokio::time::pause();
        let pace = Pace::new(1_000_000);
        let start = Instant::now();
        for _ in 0..10_000 {
            pace.turn(100).await;
        }
        let took = start.elapsed().as_millis();
        assert!((970..=1_001).contains(&took), "{took}");
    }

    #[tokio::test]
    async fn who_was_long_away_sends_no_burst() {
        tokio::time::pause();
        let pace = Pace::new(1000);
        tokio::time::sleep(Duration::from_mins(1)).await;
        let start = Instant::now();
        for _ in 0..3 {
            pace.turn(1000).await;
        }
        let took = start.elapsed().as_millis();
        assert!((1_970..=2_001).contains(&took), "{took}");
    }
}
