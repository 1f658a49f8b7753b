//! What is done while little is known: scouts, windows without a length, what is from before a restart.

use proptest::prelude::*;

use super::super::scouts::{ALONE, MOST};
use super::*;

/// After two seconds without an answer all of those who waited were sent at once, with nothing known.
#[test]
fn a_scout_that_takes_long_is_followed_by_another_and_no_more() {
    let mut bench = Bench::new();
    let first = bench.client().unwrap();
    for _ in 0..5 {
        bench.now += ALONE;
        bench.client().unwrap();
        assert!(matches!(bench.client(), Err(Refusal::Alone { .. })));
    }
    bench.answer(first, 50);
    for _ in 0..40 {
        bench.client().unwrap();
    }
}

/// A 401 of an image that does not exist let everyone go. Then it let one go, and no signature that is not there could be
/// asked for before the last one's answer.
#[test]
fn what_costs_nothing_and_tells_nothing_lets_no_more_than_one_more_go_at_a_time() {
    let mut bench = Bench::new();
    let round = |bench: &mut Bench| {
        let scouts: Vec<_> = std::iter::from_fn(|| bench.client().ok()).collect();
        bench.ledger.heard(bench.now, bench.now, None);
        assert!(matches!(bench.client(), Err(Refusal::Alone { .. })));
        for scout in &scouts {
            let outcome = Outcome::Uncounted(None);
            bench.ledger.settle(*scout, bench.now, outcome);
        }
        scouts.len()
    };
    let rounds: Vec<_> = (0..7).map(|_| round(&mut bench)).collect();
    assert_eq!(rounds, [1, 2, 4, 8, 16, 32, 32]);
    // A refusal for load says more.
    bench.close(Some(SECOND));
    bench.now += SECOND;
    assert_eq!(round(&mut bench), 1);
    // What is reported with it tells all.
    let mut bench = Bench::new();
    let scout = bench.client().unwrap();
    let told = report(50);
    bench.settle(scout, Outcome::Uncounted(Some(&told)));
    bench.client().unwrap();
    bench.client().unwrap();
}

/// A registry that had died with the machine that both ran on took connections and answered nobody. When its breaker knew,
/// those who waited for the last scout were kept until they were told that there was no pull for them.
#[test]
fn a_failure_of_the_host_sends_the_next_whoever_else_is_out() {
    for failure in [Outcome::Lost(None), Outcome::Unsent] {
        let mut bench = Bench::new();
        let first = bench.client().unwrap();
        bench.now += ALONE;
        let second = bench.client().unwrap();
        bench.now += ALONE;
        let _third = bench.client().unwrap();
        assert!(bench.client().is_err());
        bench.settle(first, failure);
        let _fourth = bench.client().unwrap();
        assert!(bench.client().is_err());
        bench.settle(second, failure);
        // By the breaker, at once.
        for _ in 0..1_000 {
            let next = bench.client().unwrap();
            assert!(bench.client().is_err(), "and one at a time");
            bench.ledger.settle(next, bench.now, Outcome::Unsent);
        }
    }
    let mut bench = Bench::new();
    let first = bench.client().unwrap();
    bench.now += ALONE;
    let _second = bench.client().unwrap();
    bench.settle(first, Outcome::Withdrawn);
    assert!(bench.client().is_err(), "nothing has failed");
}

#[test]
fn after_a_refusal_only_a_pull_shows_that_there_are_more() {
    let mut bench = Bench::told(50);
    bench.close(Some(SECOND));
    bench.now += SECOND;
    bench.head(50);
    let scout = bench.client().unwrap();
    assert!(matches!(bench.client(), Err(Refusal::Alone { .. })));
    bench.answer(scout, 49);
    bench.client().unwrap();
    bench.client().unwrap();
}

/// A quota that is told without a window, or without its limit, was spent for ever where it was seen spent.
#[test]
fn whatever_is_reported_a_pull_finds_out_some_time() {
    let told = |limit: Option<i64>, window| {
        let allowance = |count| Allowance { count, window };
        QuotaReport {
            limit: limit.map(allowance),
            remaining: Some(allowance(0)),
            source: None,
        }
    };
    let minute = Some(Duration::from_mins(1));
    for report in [
        told(Some(10), None),
        told(None, None),
        told(Some(0), None),
        told(None, minute),
        told(Some(0), minute),
    ] {
        let mut bench = Bench::new();
        bench.ledger.heard(bench.now, bench.now, Some(&report));
        assert_eq!(bench.client(), Err(SPENT), "{report:?}");
        // And so after a restart.
        let restart = |bench: &Bench| {
            let wall = std::time::SystemTime::now();
            let written =
                super::super::super::snapshot::Snapshot::of(&bench.ledger, "", bench.now, wall);
            Bench {
                ledger: written.restore(bench.now, wall),
                now: bench.now,
                next: 0,
            }
        };
        for mut bench in [restart(&bench), bench] {
            let end = bench.now + WINDOW + Duration::from_mins(2);
            let mut looks = 0;
            while bench.client().is_err() {
                assert!(bench.now < end, "{report:?}");
                if bench.ledger.wants_look(bench.now) {
                    looks += 1;
                    bench.ledger.looked_in_vain(bench.now, true);
                } else {
                    bench.now += Duration::from_millis(125);
                }
            }
            assert!(looks < 500, "{looks}");
        }
    }
}

/// A window of a second was looked at once a minute.
#[test]
fn a_window_of_unknown_length_is_looked_at_soon_and_less_and_less() {
    let mut bench = Bench::new();
    let report = |count| QuotaReport {
        limit: None,
        remaining: Some(Allowance {
            count,
            window: None,
        }),
        source: None,
    };
    bench.ledger.heard(bench.now, bench.now, Some(&report(0)));
    let mut waits = Vec::new();
    for _ in 0..10 {
        let again = bench.ledger.look_again_at(bench.now, SPENT).unwrap();
        waits.push((again - bench.now).as_millis());
        bench.now = again;
        bench.ledger.heard(bench.now, bench.now, Some(&report(0)));
    }
    assert_eq!(waits[..4], [250, 500, 1000, 2000]);
    assert_eq!(waits[9], 60_000);
    bench.now += SECOND;
    bench.ledger.heard(bench.now, bench.now, Some(&report(5)));
    bench.client().unwrap();
}

/// One question that timed out, and what was known an hour ago was relied on.
#[test]
fn what_an_earlier_process_knew_is_asked_for_twice_where_there_is_no_answer() {
    let now = Instant::now();
    let old = Reported::restored(100, Some(WINDOW), 40, Some(now + WINDOW / 2), now);
    let mut bench = Bench::with(Ledger::restored(Some(old), None, now));
    bench.now = now;
    bench.ledger.looked_in_vain(bench.now, false);
    assert_eq!(bench.client(), Err(Refusal::Unknown));
    assert!(!bench.ledger.wants_look(bench.now), "not at once");
    let again = bench.ledger.look_again_at(bench.now, Refusal::Unknown);
    bench.now = again.unwrap();
    assert!(bench.ledger.wants_look(bench.now));
    bench.ledger.looked_in_vain(bench.now, false);
    bench.client().unwrap();
}

/// Where an upstream reports on pulls alone, and 7 of 100 were left when a window ended in which nobody missed anything,
/// no moved tag was followed for days: 7 of 100 was what was known.
#[test]
fn where_only_pulls_are_reported_on_one_of_any_kind_sees_that_a_window_has_ended() {
    for priority in [Priority::Moved, Priority::Refresh, Priority::Prefetch] {
        let mut bench = Bench::told(7);
        let may = |bench: &Bench| bench.ledger.may(bench.now, priority);
        let heard_nothing = |bench: &mut Bench| {
            let sent = bench.now;
            bench.now += SECOND;
            bench.ledger.heard(sent, bench.now, None);
        };
        let end = bench.renews_at();
        bench.now = end.checked_sub(SECOND).unwrap();
        assert_eq!(bench.left(), Some(7));
        heard_nothing(&mut bench);
        assert_eq!(bench.left(), Some(7), "it was sent before the end");
        assert_eq!(may(&bench), Err(SPENT));
        heard_nothing(&mut bench);
        assert_eq!(bench.left(), None, "that was of another window");
        let standing = bench.ledger.standing(bench.now);
        assert_eq!((standing.limit, standing.window), (Some(100), Some(WINDOW)));
        bench.next += 1;
        let scout = bench.next;
        bench.ledger.admit(scout, bench.now, priority).unwrap();
        assert_eq!(may(&bench), Err(Refusal::Taken), "and one alone");
        bench.client().unwrap();
        bench.answer(scout, 98);
        assert_eq!(bench.left(), Some(97));
        assert_eq!(may(&bench), Ok(()));
    }
}

proptest! {
    /// 0 asks, 1 is an answer that tells nothing and is not counted, 2 and 3 are failures, 4 withdraws, 5 is something else
    /// that tells nothing, 6 waits.
    #[test]
    fn with_nothing_known_no_more_are_out_than_were_answered_and_one(
        steps in prop::collection::vec((0u8..7, any::<prop::sample::Index>()), 1..200),
        closed in any::<bool>(),
    ) {
        let mut now = Instant::now();
        let mut ledger = Ledger::new();
        if closed {
            let wait = Some(Duration::from_secs(1));
            ledger.close(now, now, Closing { report: None, wait });
            now += Duration::from_secs(1);
        }
        let mut sent: Vec<(PullId, Instant)> = Vec::new();
        let (mut most, mut failed_at) = (1, None);
        for (id, (step, which)) in (0..).zip(steps) {
            now += Duration::from_millis(10);
            match step {
                0 => {
                    let is_recent = |at: Instant| at + ALONE > now && failed_at < Some(at);
                    let recent = sent.iter().filter(|(_, at)| is_recent(*at)).count();
                    let admitted = ledger.admit(id, now, Priority::Client).is_ok();
                    prop_assert_eq!(admitted, recent < most);
                    if admitted {
                        sent.push((id, now));
                    }
                }
                1..5 if !sent.is_empty() => {
                    let (id, _) = sent.remove(which.index(sent.len()));
                    let outcome = [
                        Outcome::Uncounted(None),
                        Outcome::Unsent,
                        Outcome::Lost(None),
                        Outcome::Withdrawn,
                    ];
                    ledger.settle(id, now, outcome[usize::from(step) - 1]);
                    match step {
                        1 => most = MOST.min(most + 1),
                        2 | 3 => failed_at = Some(now),
                        _ => {}
                    }
                }
                5 => ledger.heard(now, now, None),
                _ => now += Duration::from_millis(700),
            }
        }
    }
}
