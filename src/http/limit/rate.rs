//! One client's rate, and the queue before it.
//!
//! governor decides when there is room for more (its generic cell rate algorithm is one number in memory), and has no
//! queue: of those who wait, whoever wakes first would be next. So they wait in a line, and the first of it alone asks.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// So many cells in so long.
#[derive(Debug)]
pub(super) struct Pacer {
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock>,
    burst: NonZeroU32,
    /// How long it takes until a burst is there again.
    per: Duration,
    /// When cells were last taken. The first of the line has the lock, the others get it in the order in which they came.
    turn: Mutex<Instant>,
}

impl Pacer {
    /// `count` cells in `per`, all of which may be taken at once.
    pub(super) fn new(count: NonZeroU32, per: Duration) -> Self {
        let each = (per / count.get()).max(Duration::from_nanos(1));
        // Only a period of zero is none.
        let quota = Quota::with_period(each).unwrap_or_else(|| Quota::per_second(count));
        Self {
            limiter: RateLimiter::direct_with_clock(quota.allow_burst(count), TokioClock),
            burst: count,
            per,
            turn: Mutex::new(Instant::now()),
        }
    }

    /// Most cells that can be taken at once.
    pub(super) fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    /// Takes cells if there are any, and nobody waits for them. At most a burst.
    pub(super) fn try_take(&self, cells: NonZeroU32) -> bool {
        match self.turn.try_lock() {
            Ok(mut turn) => self.ask(cells, &mut turn).is_ok(),
            Err(_) => false,
        }
    }

    /// Takes cells as soon as there are as many, and those before this one have theirs. At most a burst.
    pub(super) async fn take(&self, cells: NonZeroU32) {
        let mut turn = self.turn.lock().await;
        while let Err(wait) = self.ask(cells, &mut turn) {
            sleep(wait).await;
        }
    }

    /// Whether nothing was taken for so long that all is there again.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        let taken = self.turn.try_lock();
        taken.is_ok_and(|taken| now.saturating_duration_since(*taken) >= self.per)
    }

    /// Takes cells, or says how long there are too few.
    fn ask(&self, cells: NonZeroU32, taken: &mut Instant) -> Result<(), Duration> {
        match self.limiter.check_n(cells) {
            // More than a burst would never be had.
            Err(_) | Ok(Ok(())) => {
                *taken = Instant::now();
                Ok(())
            }
            Ok(Err(not_until)) => Err(not_until.wait_time_from(TokioClock.now())),
        }
    }
}

/// Tokio's clock for governor, so that a test's paused clock is the limiter's as well.
#[derive(Clone, Copy, Debug)]
struct TokioClock;

impl Clock for TokioClock {
    type Instant = std::time::Instant;

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn cells(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let pacer = Pacer::new(cells(100), Duration::from_secs(1));
        let start = Instant::now();
        for _ in 0..100 {
            assert!(pacer.try_take(NonZeroU32::MIN));
        }
        assert!(!pacer.try_take(NonZeroU32::MIN));
        for _ in 0..250 {
            pacer.take(NonZeroU32::MIN).await;
        }
        assert_eq!(start.elapsed(), Duration::from_millis(2500));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_served_as_they_came_whatever_they_want() {
        let pacer = Arc::new(Pacer::new(cells(10), Duration::from_secs(1)));
        assert!(pacer.try_take(cells(10)));
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for (at, wanted) in [10, 1, 5, 1].into_iter().enumerate() {
            let (pacer, served) = (Arc::clone(&pacer), Arc::clone(&served));
            waiting.push(tokio::spawn(async move {
                pacer.take(cells(wanted)).await;
                served.lock().await.push(at);
            }));
            tokio::task::yield_now().await;
        }
        // One that comes later gets nothing, though there may be enough for it.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!pacer.try_take(NonZeroU32::MIN));
        for each in waiting {
            each.await.unwrap();
        }
        assert_eq!(*served.lock().await, [0, 1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_stops_waiting_takes_nothing() {
        let pacer = Pacer::new(cells(1), Duration::from_secs(1));
        pacer.take(NonZeroU32::MIN).await;
        let start = Instant::now();
        let impatient =
            tokio::time::timeout(Duration::from_millis(500), pacer.take(NonZeroU32::MIN));
        assert!(impatient.await.is_err());
        pacer.take(NonZeroU32::MIN).await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
}
