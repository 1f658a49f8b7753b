//! The ledger by table: what it makes of each kind of answer. What holds whatever happens is in [`super::model`].

mod configured;
mod unknown;

use super::super::ceiling::Ceiling;
use super::super::report::Allowance;
use super::*;
use crate::config::Quota;

const WINDOW: Duration = Duration::from_hours(6);
const SECOND: Duration = Duration::from_secs(1);
const SPENT: Refusal = Refusal::Spent(SpentBy::Reported);

fn report(remaining: i64) -> QuotaReport {
    let allowance = |count| Allowance {
        count,
        window: Some(WINDOW),
    };
    QuotaReport {
        limit: Some(allowance(100)),
        remaining: Some(allowance(remaining)),
        source: None,
    }
}

/// A ledger on a clock of its own. Everything that is asked of the upstream takes a second.
struct Bench {
    ledger: Ledger,
    now: Instant,
    next: PullId,
}

impl Bench {
    fn new() -> Self {
        Self::with(Ledger::new())
    }

    fn with(ledger: Ledger) -> Self {
        let (now, next) = (Instant::now(), 0);
        Self { ledger, now, next }
    }

    fn configured(pulls: u64) -> Self {
        let quota = Quota {
            pulls,
            window: WINDOW,
        };
        let mut ledger = Ledger::new();
        let owner = pulls.to_string();
        ledger.limit(Owned::new(&owner.into(), Ceiling::new(quota)));
        Self::with(ledger)
    }

    /// One to which the upstream has just reported.
    fn told(remaining: i64) -> Self {
        let mut bench = Self::new();
        bench.head(remaining);
        bench
    }

    fn head(&mut self, remaining: i64) {
        let sent = self.now;
        self.now += SECOND;
        self.ledger.heard(sent, self.now, Some(&report(remaining)));
    }

    fn client(&mut self) -> Result<PullId, Refusal> {
        self.next += 1;
        self.ledger.admit(self.next, self.now, Priority::Client)?;
        Ok(self.next)
    }

    fn settle(&mut self, id: PullId, outcome: Outcome<'_>) {
        self.now += SECOND;
        self.ledger.settle(id, self.now, outcome);
    }

    fn answer(&mut self, id: PullId, remaining: i64) {
        self.settle(id, Outcome::Answered(Some(&report(remaining))));
    }

    fn left(&self) -> Option<i64> {
        self.ledger.standing(self.now).left
    }

    fn close(&mut self, wait: Option<Duration>) {
        let sent = self.now;
        self.now += SECOND;
        let closing = Closing { report: None, wait };
        self.ledger.close(sent, self.now, closing);
    }

    fn closed_for(&self) -> Duration {
        let until = self.ledger.closed_until.unwrap_or(self.now);
        until.saturating_duration_since(self.now)
    }

    fn renews_at(&self) -> Instant {
        self.ledger.renews_at(self.now, SpentBy::Reported).unwrap()
    }
}

#[test]
fn what_is_under_way_is_spent() {
    let mut bench = Bench::told(2);
    let first = bench.client().unwrap();
    bench.client().unwrap();
    assert_eq!(bench.client(), Err(Refusal::Taken));
    bench.answer(first, 1);
    let refused = bench.client();
    assert_eq!(refused, Err(Refusal::Taken), "the other may not be counted");
}

#[test]
fn answers_out_of_order_never_raise_what_is_left() {
    let mut bench = Bench::told(10);
    let ids: Vec<_> = (0..5).map(|_| bench.client().unwrap()).collect();
    for (id, remaining) in ids.into_iter().zip([5, 9, 7, 8, 6]) {
        bench.answer(id, remaining);
    }
    assert_eq!(bench.left(), Some(5));
}

#[test]
fn a_pull_without_an_answer_stays_charged_until_a_later_question_is_reported_on() {
    let mut bench = Bench::told(5);
    let lost = bench.client().unwrap();
    let slow = bench.client().unwrap();
    bench.settle(lost, Outcome::Lost(None));
    assert_eq!(bench.left(), Some(3));
    bench.answer(slow, 4);
    assert_eq!(
        bench.left(),
        Some(3),
        "this was sent before the other's end"
    );
    bench.head(4);
    assert_eq!(bench.left(), Some(4));
    let lost = bench.client().unwrap();
    bench.settle(lost, Outcome::Lost(None));
    assert_eq!(bench.left(), Some(3));
    bench.now += WINDOW;
    assert_eq!(
        bench.left(),
        Some(4),
        "its window has ended, whichever it was"
    );
}

#[test]
fn what_was_not_sent_or_not_counted_is_given_back() {
    for outcome in [Outcome::Unsent, Outcome::Uncounted(None)] {
        for (mut bench, left) in [(Bench::told(5), 5), (Bench::configured(9), 9)] {
            let id = bench.client().unwrap();
            assert_eq!(bench.left(), Some(left - 1));
            bench.settle(id, outcome);
            assert_eq!(bench.left(), Some(left), "{outcome:?}");
        }
    }
}

#[test]
fn a_new_window_is_seen_by_a_question_that_was_sent_after_the_last_answer() {
    let mut bench = Bench::told(10);
    let early = bench.client().unwrap();
    bench.head(0);
    bench.answer(early, 99);
    assert_eq!(bench.left(), Some(0), "it may be a late answer");
    bench.now += SECOND;
    bench.head(99);
    assert_eq!(bench.left(), Some(99));
}

#[test]
fn a_pull_that_shows_no_less_than_before_is_of_a_new_window() {
    let mut bench = Bench::told(99);
    let first_end = bench.renews_at();
    bench.now += WINDOW / 2;
    let id = bench.client().unwrap();
    bench.answer(id, 99);
    assert!(bench.renews_at() > first_end);
}

#[test]
fn lesser_priorities_stop_at_their_reserves() {
    let all = [
        Priority::Client,
        Priority::Moved,
        Priority::Refresh,
        Priority::Prefetch,
    ];
    for (left, admitted) in [
        (51, 4),
        (50, 3),
        (26, 3),
        (25, 2),
        (11, 2),
        (10, 1),
        (1, 1),
        (0, 0),
    ] {
        let bench = Bench::told(left);
        let may = |priority: &&Priority| bench.ledger.may(bench.now, **priority).is_ok();
        assert_eq!(all.iter().filter(may).count(), admitted, "{left}");
    }
}

#[test]
fn the_smaller_of_the_reported_and_the_configured_quota_counts() {
    let mut bench = Bench::configured(2);
    bench.head(100);
    bench.client().unwrap();
    bench.client().unwrap();
    let refused = bench.client();
    assert_eq!(refused, Err(Refusal::Spent(SpentBy::Configured)));
    let mut bench = Bench::configured(2);
    bench.head(0);
    assert_eq!(bench.client(), Err(SPENT));
    assert_eq!(bench.left(), Some(0));
}

/// With a burst of 50 a minute configured, 45 of them stood for the 50 of 1,000 that the registry had left for the day.
#[test]
fn how_it_stands_is_told_by_the_smallest_share() {
    let mut bench = Bench::configured(50);
    let of = |limit, remaining| QuotaReport {
        limit: report(limit).remaining,
        ..report(remaining)
    };
    bench
        .ledger
        .heard(bench.now, bench.now, Some(&of(1_000, 90)));
    let standing = bench.ledger.standing(bench.now);
    assert_eq!((standing.left, standing.limit), (Some(90), Some(1_000)));
    assert_eq!(standing.least, Some(SpentBy::Reported));
    bench.now += SECOND;
    bench.ledger.heard(bench.now, bench.now, Some(&of(60, 60)));
    let standing = bench.ledger.standing(bench.now);
    assert_eq!((standing.left, standing.limit), (Some(50), Some(50)));
}

#[test]
fn where_nothing_is_known_one_pull_finds_out_and_a_silent_upstream_holds_nobody_up() {
    let mut bench = Bench::new();
    let scout = bench.client().unwrap();
    assert!(matches!(bench.client(), Err(Refusal::Alone { .. })));
    bench.settle(scout, Outcome::Answered(None));
    for _ in 0..10_000 {
        bench.client().unwrap();
    }
    let mut bench = Bench::new();
    let lost = bench.client().unwrap();
    bench.settle(lost, Outcome::Lost(None));
    bench.client().unwrap();
    assert!(bench.client().is_err(), "the next one goes alone, too");
}

#[test]
fn a_refusal_with_a_time_closes_until_then() {
    let mut bench = Bench::told(50);
    bench.close(Some(30 * SECOND));
    assert_eq!(bench.client(), Err(Refusal::Spent(SpentBy::Closed)));
    assert_eq!(bench.closed_for(), 30 * SECOND);
    bench.now += 30 * SECOND;
    bench.client().unwrap();
    let second = bench.client();
    assert!(
        matches!(second, Err(Refusal::Alone { .. })),
        "not all at once"
    );
}

#[test]
fn a_refusal_without_a_time_closes_for_a_while_that_doubles() {
    let mut bench = Bench::new();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        bench.close(None);
        pauses.push(bench.closed_for().as_secs());
        bench.now += bench.closed_for();
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    // What is answered for free does not end the series, and a pull does.
    bench.now += SECOND;
    bench.head(50);
    bench.close(None);
    assert_eq!(bench.closed_for(), LONGEST_PAUSE);
    bench.now += LONGEST_PAUSE;
    let id = bench.client().unwrap();
    bench.settle(id, Outcome::Answered(None));
    bench.now += SECOND;
    bench.close(None);
    assert_eq!(bench.closed_for(), SECOND);
}

#[test]
fn those_refused_together_are_one_refusal() {
    let mut bench = Bench::new();
    let scout = bench.client().unwrap();
    bench.settle(scout, Outcome::Answered(None));
    let ids: Vec<_> = (0..50).map(|_| bench.client().unwrap()).collect();
    let closing = Closing {
        report: None,
        wait: None,
    };
    let now = bench.now + SECOND;
    for id in ids {
        bench.ledger.settle(id, now, Outcome::Refused(closing));
    }
    assert_eq!(bench.ledger.closed_until, Some(now + FIRST_PAUSE));
}

#[test]
fn a_spent_quota_is_looked_at_rather_than_paused_for() {
    let mut bench = Bench::told(3);
    let id = bench.client().unwrap();
    let report = report(0);
    let closing = Closing {
        report: Some(&report),
        wait: None,
    };
    bench.settle(id, Outcome::Refused(closing));
    assert!(!bench.ledger.is_closed(bench.now));
    assert_eq!(bench.client(), Err(SPENT));
    assert!(!bench.ledger.wants_look(bench.now), "it has just been told");
    bench.now += Duration::from_mins(1);
    assert!(bench.ledger.wants_look(bench.now));
    let spent = bench.ledger.spent(bench.now, SpentBy::Reported);
    assert!(spent.wait <= WINDOW && spent.wait + Duration::from_mins(2) > WINDOW);
}

#[test]
fn a_window_that_has_ended_unseen_costs_one_pull_to_see() {
    let mut bench = Bench::told(0);
    bench.now = bench.renews_at();
    assert!(bench.ledger.wants_look(bench.now), "free first");
    assert_eq!(bench.client(), Err(SPENT));
    bench.ledger.looked_in_vain(bench.now, true);
    let scout = bench.client().unwrap();
    assert!(bench.client().is_err());
    bench.answer(scout, 99);
    bench.client().unwrap();
}

/// An answer that was slower than the window took the place of a look in vain, so that a pull was sent which the upstream
/// refused: after a restart the window's end was not what it was taken for.
#[test]
fn an_answer_that_comes_after_the_windows_end_is_no_look_in_vain() {
    let mut bench = Bench::told(0);
    let end = bench.renews_at();
    let sent = bench.now;
    bench.now = end;
    bench.ledger.heard(sent, bench.now, Some(&report(0)));
    assert_eq!(bench.client(), Err(SPENT));
}

#[test]
fn what_an_earlier_process_knew_is_asked_for_before_it_is_relied_on() {
    let now = Instant::now();
    let old = Reported::restored(100, Some(WINDOW), 40, Some(now + WINDOW / 2), now);
    let mut bench = Bench::with(Ledger::restored(Some(old), None, now));
    bench.now = now;
    assert_eq!(bench.client(), Err(Refusal::Unknown));
    assert!(bench.ledger.wants_look(bench.now));
    bench.ledger.looked_in_vain(bench.now, true);
    assert_eq!(bench.left(), Some(40));
    bench.client().unwrap();
    assert!(bench.client().is_err(), "one finds out");
}

#[test]
fn two_ledgers_of_one_quota_become_one() {
    let mut one = Bench::configured(50);
    one.head(30);
    one.client().unwrap();
    let mut other = Bench::configured(20);
    (other.now, other.next) = (one.now, 100);
    other.head(40);
    let id = other.client().unwrap();
    one.ledger.absorb(other.ledger);
    assert_eq!(one.ledger.under_way(), 2);
    let (_, strictest) = one.ledger.ceilings.least(one.now).unwrap();
    assert_eq!((strictest.quota().pulls, strictest.left(one.now)), (20, 19));
    let reported = |bench: &Bench, under_way| {
        let reported = bench.ledger.reported.as_ref().unwrap();
        reported.left(bench.now, under_way)
    };
    assert_eq!(reported(&one, 2), 28);
    one.answer(id, 27);
    assert_eq!(reported(&one, 1), 26);
}
