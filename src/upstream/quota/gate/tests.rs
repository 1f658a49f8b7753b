//! Waiting, on a paused clock: who is served when, and who is told that there is nothing.

mod moves;

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::advance;

use super::super::book::{Book, Charge, Slot};
use super::super::ledger::Closing;
use super::super::report::{Allowance, QuotaReport};
use super::*;
use crate::config::Quota;
use crate::metrics::UpstreamName;

const SECOND: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(10);

fn report(limit: i64, remaining: i64, source: Option<&str>) -> QuotaReport {
    let allowance = |count| Allowance {
        count,
        window: Some(WINDOW),
    };
    QuotaReport {
        limit: Some(allowance(limit)),
        remaining: Some(allowance(remaining)),
        source: source.map(str::to_owned),
    }
}

fn slot_of(book: &Arc<Book>, key: &str, quota: Option<Quota>) -> Arc<Slot> {
    slot_at(book, "site", key, quota)
}

fn slot_at(book: &Arc<Book>, site: &str, key: &str, quota: Option<Quota>) -> Arc<Slot> {
    let label = UpstreamName::configured(key);
    book.slot(key.to_owned(), site.to_owned(), &label, quota)
}

fn slot() -> Arc<Slot> {
    slot_of(&Arc::default(), "a.io", None)
}

/// Told how much is left.
fn tell(slot: &Slot, limit: i64, remaining: i64) {
    slot.heard(Instant::now(), Some(&report(limit, remaining, None)));
}

fn client(number: u8, patience: Duration) -> Caller {
    let address = std::net::IpAddr::from([192, 0, 2, number]);
    Caller::client(Some(address.into()), Instant::now() + patience)
}

/// Waits for a pull; asked to look, it finds nothing out.
async fn admitted(slot: &Arc<Slot>, caller: &Caller) -> Result<Charge, Spent> {
    let mut visit = slot.visit(caller);
    loop {
        match visit.turn().await {
            Turn::Go(charge) => return Ok(charge),
            Turn::Refused(spent) => return Err(spent),
            Turn::Look(_) => {}
        }
    }
}

fn waits(slot: &Arc<Slot>, caller: Caller) -> JoinHandle<Result<Charge, Spent>> {
    let slot = Arc::clone(slot);
    tokio::spawn(async move { admitted(&slot, &caller).await })
}

/// Lets every task get as far as it can.
async fn settle_down() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Two endpoints of one upstream wrote the same gauges by turns, and an alert came and went.
#[tokio::test(start_paused = true)]
async fn of_several_quotas_under_one_label_the_one_nearest_to_its_end_is_shown() {
    let book: Arc<Book> = Arc::default();
    let label = UpstreamName::configured("a.io");
    let slot = |key: &str| book.slot(key.to_owned(), key.to_owned(), &label, None);
    let (one, other, _silent) = (slot("one"), slot("other"), slot("silent"));
    let other_label = slot_of(&book, "b.io", None);
    tell(&other_label, 100, 0);
    let shown = || book.least_of(&label).map(|of| (of.limit, of.left));
    assert_eq!(shown(), None);
    tell(&one, 1_000, 90);
    tell(&other, 100, 20);
    assert_eq!(shown(), Some((Some(1_000), Some(90))));
    tell(&other, 100, 5);
    tell(&one, 1_000, 89);
    assert_eq!(shown(), Some((Some(100), Some(5))));
    // Nobody asks the other any more: what it had is of no day that comes.
    advance(WINDOW / 2).await;
    tell(&one, 1_000, 950);
    assert_eq!(shown(), Some((Some(100), Some(5))));
    advance(WINDOW / 2).await;
    assert_eq!(shown(), Some((Some(1_000), Some(950))));
    advance(WINDOW).await;
    assert_eq!(shown().map(|(_, left)| left), Some(None));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_when_the_window_renews() {
    let slot = slot();
    tell(&slot, 100, 0);
    let waiting = waits(&slot, client(1, 2 * WINDOW));
    settle_down().await;
    assert_eq!(slot.standing().waiting, 1);
    // Nobody can be asked, so the window's end is waited for.
    advance(WINDOW).await;
    let charge = waiting.await.unwrap().expect("one finds out");
    charge.settle(Outcome::Answered(Some(&report(100, 99, None))));
    assert_eq!(slot.standing().left, Some(99));
}

#[tokio::test(start_paused = true)]
async fn who_could_only_wait_in_vain_is_refused_at_once_and_told_when() {
    let slot = slot();
    tell(&slot, 100, 0);
    let spent = admitted(&slot, &client(1, WINDOW / 2)).await.unwrap_err();
    assert_eq!(spent.by, SpentBy::Reported);
    assert_eq!(spent.limit, Some(100));
    assert_eq!(spent.wait, WINDOW);
    let impatient = Caller::impatient(Priority::Client);
    assert!(admitted(&slot, &impatient).await.is_err());
    assert_eq!(slot.standing().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_what_is_under_way_is_refused_when_its_time_is_over() {
    let slot = slot();
    tell(&slot, 100, 1);
    let _under_way = admitted(&slot, &client(1, WINDOW)).await.unwrap();
    let caller = client(2, SECOND);
    let refused = admitted(&slot, &caller);
    let spent = tokio::time::timeout(2 * SECOND, refused).await;
    let spent = spent.expect("no later than its deadline").unwrap_err();
    // It was told that the quota was used up, and renewed within a minute.
    assert_eq!((spent.by, spent.limit), (SpentBy::Busy, None));
    assert!(spent.wait < WINDOW);
}

/// They waited until their own deadlines for a pull that could not come.
#[tokio::test(start_paused = true)]
async fn who_waits_for_what_is_under_way_is_told_when_that_was_the_last() {
    let slot = slot();
    tell(&slot, 100, 1);
    let under_way = admitted(&slot, &client(1, SECOND)).await.unwrap();
    let waiting: Vec<_> = (2..9)
        .map(|n| waits(&slot, client(n, WINDOW / 2)))
        .collect();
    settle_down().await;
    assert_eq!(slot.standing().waiting, 7);
    let now = Instant::now();
    under_way.settle(Outcome::Answered(Some(&report(100, 0, None))));
    for waiting in waiting {
        assert!(waiting.await.unwrap().is_err());
    }
    assert_eq!(Instant::now(), now);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_200_waiting_misses_does_not_starve_one_with_1() {
    let allowed = Quota {
        pulls: 1,
        window: WINDOW,
    };
    let slot = slot_of(&Arc::default(), "b.io", Some(allowed));
    let first = admitted(&slot, &client(1, WINDOW)).await.unwrap();
    first.settle(Outcome::Answered(None));
    let greedy: Vec<_> = (0..200)
        .map(|_| waits(&slot, client(1, 100 * WINDOW)))
        .collect();
    settle_down().await;
    let modest = waits(&slot, client(2, 100 * WINDOW));
    settle_down().await;
    let mut served_greedy = 0;
    for _ in 0..2 {
        advance(WINDOW + WINDOW / 30).await;
        settle_down().await;
        served_greedy = greedy
            .iter()
            .filter(|waiting| waiting.is_finished())
            .count();
    }
    assert!(
        modest.is_finished(),
        "it had its turn after one of the other's"
    );
    assert_eq!(served_greedy, 1);
}

#[tokio::test(start_paused = true)]
async fn a_pull_handed_to_one_who_has_left_goes_to_the_next() {
    let slot = slot();
    tell(&slot, 100, 1);
    let under_way = admitted(&slot, &client(1, WINDOW)).await.unwrap();
    let leaves = waits(&slot, client(2, 10 * WINDOW));
    let stays = waits(&slot, client(3, 10 * WINDOW));
    settle_down().await;
    assert_eq!(slot.standing().waiting, 2);
    leaves.abort();
    under_way.settle(Outcome::Uncounted(None));
    let charge = stays.await.unwrap().unwrap();
    assert_eq!(slot.standing().under_way, 1);
    drop(charge);
    assert_eq!(
        slot.standing().under_way,
        0,
        "one that is dropped has ended"
    );
    assert_eq!(slot.standing().left, Some(0), "and may have been counted");
}

#[tokio::test(start_paused = true)]
async fn one_asks_for_free_while_the_others_wait_for_what_it_finds() {
    let slot = slot();
    tell(&slot, 100, 0);
    advance(WINDOW / 2).await;
    let caller = client(1, 2 * SECOND);
    let mut asks = slot.visit(&caller);
    let Turn::Look(looking) = asks.turn().await else {
        panic!("a look is due");
    };
    let others: Vec<_> = (2..50)
        .map(|n| waits(&slot, client(n, 2 * SECOND)))
        .collect();
    settle_down().await;
    assert_eq!(slot.standing().waiting, 48);
    tell(&slot, 100, 100);
    drop(looking);
    assert!(matches!(asks.turn().await, Turn::Go(_)));
    for other in others {
        assert!(other.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_upstream_is_waited_for_and_one_goes_first() {
    let slot = slot();
    let closing = Closing {
        report: None,
        wait: Some(3 * SECOND),
    };
    slot.refused(Instant::now(), closing);
    assert_eq!(slot.closed().unwrap().wait, 3 * SECOND);
    let waiting: Vec<_> = (1..10).map(|n| waits(&slot, client(n, WINDOW))).collect();
    settle_down().await;
    assert_eq!(slot.standing().under_way, 0);
    advance(3 * SECOND).await;
    settle_down().await;
    assert_eq!(slot.standing().under_way, 1);
    for waiting in &waiting {
        waiting.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn slots_that_report_one_source_and_limit_are_one_quota() {
    let book = Arc::default();
    let (one, two, three) = (
        slot_of(&book, "a.io", None),
        slot_of(&book, "b.io", None),
        slot_of(&book, "c.io", None),
    );
    let charge = admitted(&two, &client(1, SECOND)).await.unwrap();
    one.heard(Instant::now(), Some(&report(100, 1, Some("192.0.2.7"))));
    three.heard(Instant::now(), Some(&report(200, 90, Some("192.0.2.7"))));
    charge.settle(Outcome::Answered(Some(&report(100, 0, Some("192.0.2.7")))));
    assert_eq!(
        (one.standing().left, two.standing().left),
        (Some(0), Some(0))
    );
    assert_eq!(
        three.standing().left,
        Some(90),
        "another registry, with its own limit"
    );
    // Who waits at one of them is served by what the other hears.
    let waiting = waits(&one, client(1, 2 * WINDOW));
    settle_down().await;
    advance(SECOND).await;
    two.heard(Instant::now(), Some(&report(100, 100, Some("192.0.2.7"))));
    waiting.await.unwrap().unwrap();
}

/// The advice was to raise the `quota` of the upstream that was asked, which had none.
#[tokio::test(start_paused = true)]
async fn a_configured_quota_is_told_with_the_table_that_it_stands_in() {
    let book = Arc::default();
    let allowed = Quota {
        pulls: 1,
        window: WINDOW,
    };
    let (one, two) = (
        slot_of(&book, "a.io 1234", Some(allowed)),
        slot_of(&book, "b.io 5678", None),
    );
    for slot in [&one, &two] {
        slot.heard(Instant::now(), Some(&report(100, 50, Some("192.0.2.7"))));
    }
    let _charge = admitted(&two, &client(1, SECOND)).await.unwrap();
    let spent = admitted(&two, &client(1, SECOND)).await.unwrap_err();
    assert_eq!(spent.by, SpentBy::Configured);
    assert_eq!(spent.configured_for.as_deref(), Some("a.io"));
}

/// A registry that named Docker Hub's source, and its limit, could raise what was left of its quota, or spend it.
#[tokio::test(start_paused = true)]
async fn nobody_tells_of_the_quota_of_another_site() {
    let book = Arc::default();
    let (hub, other) = (
        slot_at(&book, "docker.io", "docker.io", None),
        slot_at(&book, "evil.example", "evil.example", None),
    );
    hub.heard(Instant::now(), Some(&report(100, 5, Some("192.0.2.7"))));
    for left in [0, 100] {
        advance(SECOND).await;
        other.heard(Instant::now(), Some(&report(100, left, Some("192.0.2.7"))));
        assert_eq!(hub.standing().left, Some(5));
        assert_eq!(other.standing().left, Some(left));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_whose_source_changes_leaves_the_others_quota() {
    let book = Arc::default();
    let (one, two) = (slot_of(&book, "a.io", None), slot_of(&book, "b.io", None));
    for slot in [&one, &two] {
        slot.heard(Instant::now(), Some(&report(100, 50, Some("192.0.2.7"))));
    }
    advance(SECOND).await;
    let charge = admitted(&two, &client(1, SECOND)).await.unwrap();
    charge.settle(Outcome::Answered(Some(&report(100, 10, Some("192.0.2.8")))));
    assert_eq!(
        (one.standing().left, two.standing().left),
        (Some(50), Some(10))
    );
    assert_eq!(two.standing().source.as_deref(), Some("192.0.2.8"));
}

#[tokio::test(start_paused = true)]
async fn what_one_process_knew_the_next_one_asks_about() {
    let quota = Quota {
        pulls: 5,
        window: Duration::from_hours(1),
    };
    let before: Arc<Book> = Arc::default();
    let (one, two) = (
        slot_of(&before, "a.io", Some(quota)),
        slot_of(&before, "b.io", None),
    );
    for slot in [&one, &two] {
        slot.heard(Instant::now(), Some(&report(100, 99, Some("alice"))));
    }
    let charge = admitted(&one, &client(1, SECOND)).await.unwrap();
    charge.settle(Outcome::Answered(Some(&report(100, 98, Some("alice")))));
    let written: Vec<_> = before
        .snapshots()
        .into_iter()
        .map(|(key, snapshot)| (key, serde_json::to_vec(&snapshot).unwrap()))
        .collect();

    let after: Arc<Book> = Arc::default();
    let read = |(key, row): (String, Vec<u8>)| (key, serde_json::from_slice(&row).unwrap());
    after.restore(written.into_iter().map(read));
    let (two, one) = (
        slot_of(&after, "b.io", None),
        slot_of(&after, "a.io", Some(quota)),
    );
    let caller = client(1, SECOND);
    let mut visit = one.visit(&caller);
    let Turn::Look(mut look) = visit.turn().await else {
        panic!("it is asked for first");
    };
    look.answered();
    drop(look);
    assert!(matches!(visit.turn().await, Turn::Go(_)));
    // The pull of before, this one, and both of them at the one quota.
    assert_eq!(one.standing(), two.standing());
    assert_eq!(one.standing().left, Some(3));
}
