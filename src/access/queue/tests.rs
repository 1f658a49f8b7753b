//! How much is let in, and for whom.

use super::*;

impl Queue {
    /// Holds all cores, so that what is let in waits.
    pub(in crate::access) async fn hold(&self) -> tokio::sync::OwnedSemaphorePermit {
        let cores = lock(&self.state).cores;
        let all = Arc::clone(&self.cores).acquire_many_owned(cores);
        all.await.unwrap()
    }

    /// How many checks run or wait.
    pub(in crate::access) fn len(&self) -> usize {
        lock(&self.state).all.checks
    }
}

/// How many get in.
fn fill(state: &mut State, cost: u32, of: Standing) -> usize {
    let entered = (0..10_000).take_while(|_| state.enter(1 << cost, of).is_ok());
    entered.count()
}

#[test]
fn as_many_wait_as_are_served_soon_and_half_of_them_may_be_strangers() {
    // Of which each is taken for 72 ms.
    let mut state = State::new(2);
    let strangers = fill(&mut state, 10, Standing::Stranger);
    assert_eq!(strangers, 112, "in 4 s");
    let known = fill(&mut state, 10, Standing::Known);
    assert_eq!(strangers + known, 224);
    assert!(state.enter(1 << 4, Standing::Known).is_err());
    for _ in 0..known {
        state.leave(1 << 10, Standing::Known);
    }
    for _ in 0..strangers {
        state.leave(1 << 10, Standing::Stranger);
    }
    assert_eq!((state.all.rounds, state.strangers.rounds), (0, 0));
    assert_eq!(fill(&mut state, 4, Standing::Known), MOST, "cheap ones");
}

#[test]
fn costly_ones_are_few_and_whoever_finds_nobody_waits_for_nobody() {
    let mut state = State::new(2);
    state.round = Duration::from_secs(1);
    assert_eq!(state.enter(1 << 15, Standing::Stranger), Ok(()));
    let refused = state.enter(1 << 15, Standing::Known);
    assert_eq!(
        refused,
        Err(Duration::from_secs(1 << 14)),
        "it is told when"
    );
    state.leave(1 << 15, Standing::Stranger);
    assert_eq!(state.enter(1 << 15, Standing::Known), Ok(()));
}

#[test]
fn what_checks_take_is_learned() {
    let mut state = State::new(1);
    for _ in 0..100 {
        state.measured(1 << 10, Duration::from_millis(1024));
    }
    assert!(state.round > Duration::from_micros(999) && state.round <= Duration::from_millis(1));
    assert_eq!(fill(&mut state, 10, Standing::Known), 8);
}

/// A test that waited for 128 strangers to be let in waited for ever, where the one before them had been held up.
#[test]
fn a_check_that_was_held_up_keeps_nobody_out() {
    let mut state = State::new(2);
    state.measured(1 << 4, Duration::from_mins(1));
    assert_eq!(fill(&mut state, 4, Standing::Stranger), MOST / 2);
    for _ in 0..100 {
        state.measured(1 << 10, Duration::from_millis(1024));
    }
    assert!(
        state.round > Duration::from_micros(999),
        "many are believed"
    );
}
