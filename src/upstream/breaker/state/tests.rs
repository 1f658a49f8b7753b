//! When a host is left alone, and when it is closed again.

use super::*;

fn go(breaker: &mut Breaker, now: Instant) -> Ticket {
    match breaker.admit(now) {
        Admission::Go(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn fail(breaker: &mut Breaker, now: Instant) {
    let ticket = go(breaker, now);
    breaker.failed(ticket, now, 1.0);
}

fn opened(now: Instant) -> Breaker {
    let mut breaker = Breaker::default();
    for _ in 0..FAILURES {
        fail(&mut breaker, now);
    }
    breaker
}

#[test]
fn only_failures_in_a_row_open_it() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    for _ in 0..3 {
        for _ in 1..FAILURES {
            fail(&mut breaker, now);
        }
        let ticket = go(&mut breaker, now);
        breaker.answered(ticket);
    }
    assert!(breaker.is_closed());
    for _ in 0..FAILURES {
        fail(&mut breaker, now);
    }
    assert_eq!(breaker.admit(now), Admission::LeftAlone(FIRST));
}

#[test]
fn it_is_left_alone_for_longer_each_time_up_to_a_bound() {
    let mut now = Instant::now();
    let mut breaker = opened(now);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let Admission::LeftAlone(wait) = breaker.admit(now) else {
            panic!("{breaker:?}");
        };
        waits.push(wait.as_millis());
        now += wait;
        fail(&mut breaker, now);
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
}

#[test]
fn requests_at_once_double_as_answers_come() {
    let now = Instant::now();
    let mut breaker = opened(now);
    let now = now + FIRST;
    let mut rounds = Vec::new();
    while !breaker.is_closed() {
        let mut tickets = Vec::new();
        while let Admission::Go(ticket) = breaker.admit(now) {
            tickets.push(ticket);
        }
        rounds.push(tickets.len());
        for ticket in tickets {
            breaker.answered(ticket);
        }
    }
    assert_eq!(rounds, [1, 2, 4, 8, 16, 32]);
}

#[test]
fn what_was_sent_before_it_opened_decides_nothing_after() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    let (late_answer, late_failure) = (go(&mut breaker, now), go(&mut breaker, now));
    for _ in 0..FAILURES {
        fail(&mut breaker, now);
    }
    breaker.answered(late_answer);
    assert!(!breaker.admits(now));
    let trial = go(&mut breaker, now + FIRST);
    breaker.failed(late_failure, now + FIRST, 1.0);
    assert_eq!(
        breaker.admit(now + FIRST),
        Admission::Wait { is_back: false }
    );
    breaker.answered(trial);
    assert!(matches!(breaker.admit(now + FIRST), Admission::Go(_)));
}

#[test]
fn one_that_nobody_waits_for_gives_its_place_to_the_next() {
    let now = Instant::now();
    let mut breaker = opened(now);
    let now = now + FIRST;
    let ticket = go(&mut breaker, now);
    assert_eq!(breaker.admit(now), Admission::Wait { is_back: false });
    breaker.abandoned(ticket);
    assert!(matches!(breaker.admit(now), Admission::Go(_)));
}

/// A token service that was asked once in minutes stayed "failing" for hours after it had answered: it takes more
/// requests at once to close than it ever meets.
#[test]
fn a_quiet_host_closes_with_its_first_answer() {
    let now = Instant::now();
    let mut breaker = opened(now);
    let now = now + FIRST;
    let look = go(&mut breaker, now);
    assert_eq!(breaker.standing(now), HostState::Trying);
    breaker.answered(look);
    assert!(breaker.is_closed());
}

#[test]
fn one_that_somebody_waits_for_closes_when_all_of_them_are_answered() {
    let now = Instant::now();
    let mut breaker = opened(now);
    let now = now + FIRST;
    let look = go(&mut breaker, now);
    for _ in 0..2 {
        assert_eq!(breaker.admit(now), Admission::Wait { is_back: false });
    }
    breaker.answered(look);
    assert_eq!(breaker.standing(now), HostState::Recovering);
    let (second, third) = (go(&mut breaker, now), go(&mut breaker, now));
    breaker.answered(second);
    assert!(!breaker.is_closed(), "one is still asking");
    breaker.answered(third);
    assert!(breaker.is_closed());
}

#[test]
fn a_host_that_nobody_looks_at_any_more_is_asked_with_the_next_request() {
    let now = Instant::now();
    let mut breaker = opened(now);
    let now = now + FIRST;
    let next_attempt = Duration::ZERO;
    assert_eq!(breaker.standing(now), HostState::Open { next_attempt });
    let look = go(&mut breaker, now);
    breaker.abandoned(look);
    assert_eq!(breaker.standing(now), HostState::Open { next_attempt });
}

proptest::proptest! {
    /// Whatever happens in whatever order: never more at once than allowed, nobody waits for nobody, and a host that
    /// answers while nobody else asks is closed again.
    #[test]
    fn it_neither_floods_nor_locks_up(steps in proptest::collection::vec((0u8..5, 0usize..8, 0u64..3_000), 0..200)) {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        let mut out: Vec<Ticket> = Vec::new();
        for (step, which, wait) in steps {
            now += Duration::from_millis(wait);
            match step {
                0 | 1 => match breaker.admit(now) {
                    Admission::Go(ticket) => out.push(ticket),
                    Admission::LeftAlone(wait) => proptest::prop_assert!(wait <= LAST),
                    Admission::Wait { .. } => {
                        let trying = out.iter().filter(|ticket| ticket.tries && ticket.era == breaker.era);
                        proptest::prop_assert!(trying.count() > 0, "someone to wait for");
                    }
                },
                _ if out.is_empty() => {}
                2 => { let ticket = out.swap_remove(which % out.len()); breaker.answered(ticket); }
                3 => { let ticket = out.swap_remove(which % out.len()); breaker.failed(ticket, now, 0.5); }
                _ => { let ticket = out.swap_remove(which % out.len()); breaker.abandoned(ticket); }
            }
            if let State::Trying { running, most, .. } = breaker.state {
                proptest::prop_assert!(running <= most && most <= ENOUGH);
            }
        }
        for ticket in out.drain(..) {
            breaker.abandoned(ticket);
        }
        now += LAST;
        let ticket = go(&mut breaker, now);
        breaker.answered(ticket);
        proptest::prop_assert!(breaker.is_closed());
    }
}
