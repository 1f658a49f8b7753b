//! What is done while little is known: scouts, windows without a length, what is from before a restart.

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

/// A 401 of an image that does not exist let everyone go.
#[test]
fn what_costs_nothing_and_tells_nothing_is_no_scout() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        let scout = bench.client().unwrap();
        bench.ledger.heard(bench.now, bench.now, None);
        assert!(bench.client().is_err());
        bench.settle(scout, Outcome::Uncounted(None));
    }
    // What is reported with it tells all.
    let scout = bench.client().unwrap();
    let told = report(50);
    bench.settle(scout, Outcome::Uncounted(Some(&told)));
    bench.client().unwrap();
    bench.client().unwrap();
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
        bench.now = end - SECOND;
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
