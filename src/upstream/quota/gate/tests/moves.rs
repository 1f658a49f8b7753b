//! Whom a slot is counted for changes while pulls are under way and others wait: the mirror's address, its plan.

use super::*;

const HERE: &str = "192.0.2.7";
const THERE: &str = "192.0.2.8";

fn told(slot: &Slot, remaining: i64, source: &str) {
    slot.heard(Instant::now(), Some(&report(100, remaining, Some(source))));
}

/// Two slots of one source, with this many pulls left.
async fn two_here(remaining: i64) -> (Arc<Slot>, Arc<Slot>) {
    let book = Arc::default();
    let (one, two) = (slot_of(&book, "a.io", None), slot_of(&book, "b.io", None));
    told(&one, remaining, HERE);
    told(&two, remaining, HERE);
    advance(SECOND).await;
    (one, two)
}

async fn pull(slot: &Arc<Slot>) -> Charge {
    admitted(slot, &client(1, WINDOW)).await.unwrap()
}

/// A waiter that was handed a pull of the gate where it waited, and ran when its slot was elsewhere, took it for a pull of
/// the new gate: it was settled there, where nobody knew it, and stayed charged where it was made.
#[tokio::test(start_paused = true)]
async fn a_pull_that_was_handed_out_before_a_move_is_given_back() {
    let (one, two) = two_here(1).await;
    let last = pull(&one).await;
    let waiting = waits(&one, client(2, WINDOW));
    settle_down().await;
    // It is handed a pull here, and finds itself there.
    told(&two, 50, HERE);
    assert_eq!(two.standing().under_way, 2);
    told(&one, 10, THERE);
    let charge = waiting.await.unwrap().unwrap();
    assert_eq!(two.standing().under_way, 1, "the one that was sent");
    assert_eq!(one.standing().under_way, 2);
    let counted = |left| report(100, left, Some(THERE));
    charge.settle(Outcome::Answered(Some(&counted(9))));
    last.settle(Outcome::Answered(Some(&counted(8))));
    for slot in [&one, &two] {
        assert_eq!(slot.standing().under_way, 0);
        assert_eq!(slot.standing().waiting, 0);
    }
    assert_eq!(one.standing().left, Some(8));
    assert_eq!(two.standing().left, Some(50));
}

/// It kept its place in the queue where its slot was no more, was told nothing there, and was refused at its deadline
/// while there were pulls where its slot was.
#[tokio::test(start_paused = true)]
async fn who_waits_at_the_time_of_a_move_is_served_where_its_slot_goes() {
    let book = Arc::default();
    let (one, two, three) = (
        slot_of(&book, "a.io", None),
        slot_of(&book, "b.io", None),
        slot_of(&book, "c.io", None),
    );
    for (slot, source) in [(&one, HERE), (&two, HERE), (&three, THERE)] {
        told(slot, 1, source);
    }
    advance(SECOND).await;
    let (last, busy) = (pull(&two).await, pull(&three).await);
    let waiting = waits(&one, client(2, WINDOW));
    settle_down().await;
    told(&one, 1, THERE);
    settle_down().await;
    assert_eq!((one.standing().waiting, two.standing().waiting), (1, 0));
    let now = Instant::now();
    busy.settle(Outcome::Uncounted(None));
    waiting.await.unwrap().unwrap();
    assert_eq!(Instant::now(), now);
    drop(last);
}

/// Those under way were known to the old source's ledger only, and overdrew the new one's.
#[tokio::test(start_paused = true)]
async fn what_is_under_way_at_a_move_is_charged_where_it_may_be_counted() {
    let (one, two) = two_here(50).await;
    let (first, second) = (pull(&one).await, pull(&one).await);
    first.settle(Outcome::Answered(Some(&report(100, 1, Some(THERE)))));
    assert_eq!(
        (one.standing().under_way, two.standing().under_way),
        (1, 1),
        "the other may be counted at both"
    );
    let waiting = waits(&one, client(2, WINDOW));
    settle_down().await;
    assert!(!waiting.is_finished());
    second.settle(Outcome::Answered(Some(&report(100, 0, Some(THERE)))));
    settle_down().await;
    assert_eq!(
        (one.standing().left, two.standing().left),
        (Some(0), Some(50))
    );
    assert_eq!((one.standing().under_way, two.standing().under_way), (0, 0));
}

/// The second of two answers that named the new source was taken for the old one's.
#[tokio::test(start_paused = true)]
async fn a_report_counts_where_it_names_the_source() {
    let (one, two) = two_here(50).await;
    let (first, second) = (pull(&one).await, pull(&one).await);
    first.settle(Outcome::Answered(Some(&report(100, 10, Some(THERE)))));
    second.settle(Outcome::Answered(Some(&report(100, 9, Some(THERE)))));
    assert_eq!(
        (one.standing().left, two.standing().left),
        (Some(9), Some(50))
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_takes_no_slot_back_to_where_it_was() {
    let (one, two) = two_here(50).await;
    let early = pull(&one).await;
    advance(SECOND).await;
    told(&one, 10, THERE);
    early.settle(Outcome::Answered(Some(&report(100, 49, Some(HERE)))));
    assert_eq!(one.standing().source.as_deref(), Some(THERE));
    assert_eq!(
        (one.standing().left, two.standing().left),
        (Some(10), Some(49))
    );
    assert_eq!((one.standing().under_way, two.standing().under_way), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lost_pull_is_doubtful_at_each_quota_that_may_have_counted_it() {
    let (one, two) = two_here(50).await;
    let lost = pull(&one).await;
    told(&one, 10, THERE);
    drop(lost);
    assert_eq!(
        (one.standing().left, two.standing().left),
        (Some(9), Some(49))
    );
}

/// A mirror with two addresses pulled as much as was configured from each of them, and again at each change.
#[tokio::test(start_paused = true)]
async fn a_configured_quota_is_kept_over_changes_of_the_source() {
    let allowed = Quota {
        pulls: 5,
        window: WINDOW,
    };
    let book = Arc::default();
    let one = slot_of(&book, "a.io", Some(allowed));
    for (pulls, source) in [HERE, THERE, HERE, THERE, HERE].into_iter().enumerate() {
        let left = 5 - i64::try_from(pulls).unwrap();
        let charge = pull(&one).await;
        charge.settle(Outcome::Answered(Some(&report(100, 99, Some(source)))));
        assert_eq!(one.standing().left, Some(left - 1));
        advance(SECOND / 10).await;
    }
    let refused = admitted(&one, &client(1, SECOND)).await.unwrap_err();
    assert_eq!(refused.by, SpentBy::Configured);
    // The next process knows, too.
    let after: Arc<Book> = Arc::default();
    after.restore(book.snapshots());
    let one = slot_of(&after, "a.io", Some(allowed));
    let refused = admitted(&one, &client(1, SECOND)).await.unwrap_err();
    assert_eq!(refused.by, SpentBy::Configured);
}

/// What was not counted is given back, wherever the slot has gone meanwhile.
#[tokio::test(start_paused = true)]
async fn a_configured_pull_that_was_none_comes_back_after_a_move() {
    let allowed = Quota {
        pulls: 5,
        window: WINDOW,
    };
    let one = slot_of(&Arc::default(), "a.io", Some(allowed));
    told(&one, 100, HERE);
    let charge = pull(&one).await;
    advance(SECOND).await;
    told(&one, 100, THERE);
    assert_eq!(one.standing().left, Some(4));
    charge.settle(Outcome::Uncounted(None));
    assert_eq!(one.standing().left, Some(5));
}

/// The time that it told was dropped, so that the upstream was asked again at once.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_names_another_source_closes_that_one() {
    let (one, two) = two_here(50).await;
    let charge = pull(&one).await;
    let there = report(100, 40, Some(THERE));
    charge.settle(Outcome::Refused(Closing {
        report: Some(&there),
        wait: Some(3 * SECOND),
    }));
    assert_eq!(one.closed().unwrap().wait, 3 * SECOND);
    assert!(two.closed().is_none());
    assert_eq!((one.standing().under_way, two.standing().under_way), (0, 0));
}
