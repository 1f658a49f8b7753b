//! The cases that matter, by name.

use super::*;

#[test]
fn a_blob_whose_ranges_its_upstream_ignores_is_one_request() {
    let mut plan = Plan::new(BOUNDS, None, 0);
    plan.allow(2);
    let request = plan.next_request().unwrap();
    assert_eq!(plan.opened(request.id, whole()), Ok(Opened::Read));
    assert_eq!(plan.next_request(), None);
    assert_eq!(
        plan.received(request.id, SIZE),
        Ok(std::iter::once(0..SIZE).collect())
    );
    assert_eq!(plan.ended(request.id), Ok(None));
    assert!(plan.is_complete());
}

#[test]
fn a_large_blob_gets_more_connections_once_ranges_are_seen_to_work() {
    let mut plan = Plan::new(BOUNDS, Some(SIZE), 0);
    plan.allow(3);
    let first = plan.next_request().unwrap();
    assert_eq!((first.start, first.end), (0, Some(2)));
    assert_eq!(plan.next_request(), None);
    assert_eq!(plan.opened(first.id, partial()), Ok(Opened::Read));
    let second = plan.next_request().unwrap();
    assert_eq!((second.start, second.end), (2, Some(4)));
    assert_eq!(plan.next_request(), None, "two connections are the bound");
}

#[test]
fn a_range_that_a_client_waits_for_is_asked_for_before_the_frontier() {
    let mut plan = Plan::new(BOUNDS, Some(SIZE), 0);
    let first = plan.next_request().unwrap();
    assert_eq!(plan.opened(first.id, partial()), Ok(Opened::Read));
    plan.promote(5..6);
    assert_eq!(plan.next_request().unwrap().start, 5);
}

#[test]
fn a_cut_body_is_continued_where_it_stopped() {
    let mut plan = Plan::new(BOUNDS, None, 0);
    let first = plan.next_request().unwrap();
    plan.opened(first.id, whole()).unwrap();
    plan.received(first.id, 4).unwrap();
    assert_eq!(plan.failed(first.id), AfterFailure::Retry { failures: 0 });
    let second = plan.next_request().unwrap();
    assert_eq!((second.start, second.end), (4, None));
}

#[test]
fn an_upstream_that_ignores_the_range_of_a_resume_is_read_from_the_start_and_written_once() {
    let mut plan = Plan::new(BOUNDS, None, 4);
    let request = plan.next_request().unwrap();
    assert_eq!(request.start, 4);
    assert_eq!(plan.opened(request.id, whole()), Ok(Opened::Read));
    assert_eq!(plan.received(request.id, 3), Ok(vec![]));
    assert_eq!(
        plan.received(request.id, 3),
        Ok(std::iter::once(4..6).collect())
    );
    assert!(plan.is_complete());
}

#[test]
fn failures_without_progress_are_counted_and_end_in_giving_up() {
    let mut plan = Plan::new(BOUNDS, None, 0);
    let first = plan.next_request().unwrap();
    assert_eq!(plan.failed(first.id), AfterFailure::Retry { failures: 1 });
    let second = plan.next_request().unwrap();
    assert_eq!(plan.failed(second.id), AfterFailure::GiveUp);
}

#[test]
fn a_size_that_disagrees_is_refused() {
    let mut plan = Plan::new(BOUNDS, Some(SIZE + 1), 0);
    let request = plan.next_request().unwrap();
    let refused = Dishonest::Size {
        said: SIZE,
        expected: SIZE + 1,
    };
    assert_eq!(plan.opened(request.id, partial()), Err(refused));
}

#[test]
fn a_byte_too_many_is_refused() {
    let mut plan = Plan::new(BOUNDS, None, 0);
    let request = plan.next_request().unwrap();
    plan.opened(request.id, whole()).unwrap();
    let refused = Dishonest::TooLong { expected: SIZE };
    assert_eq!(plan.received(request.id, SIZE + 1), Err(refused));
}

#[test]
fn a_body_that_ends_early_counts_as_cut() {
    let mut plan = Plan::new(BOUNDS, None, 0);
    let request = plan.next_request().unwrap();
    plan.opened(request.id, whole()).unwrap();
    plan.received(request.id, SIZE - 1).unwrap();
    let after = AfterFailure::Retry { failures: 0 };
    assert_eq!(plan.ended(request.id), Ok(Some(after)));
    assert_eq!(plan.next_request().unwrap().start, SIZE - 1);
}

#[test]
fn a_body_of_unknown_length_tells_the_size_by_its_end() {
    let mut plan = Plan::new(BOUNDS, None, 0);
    let request = plan.next_request().unwrap();
    let answer = Answer {
        whole: true,
        total: None,
    };
    plan.opened(request.id, answer).unwrap();
    plan.received(request.id, SIZE).unwrap();
    assert!(!plan.is_complete());
    assert_eq!(plan.ended(request.id), Ok(None));
    assert!(plan.is_complete());
}

#[test]
fn a_partial_file_that_holds_the_whole_blob_leaves_nothing_to_ask_for() {
    let mut plan = Plan::new(BOUNDS, Some(SIZE), SIZE);
    assert!(plan.is_complete());
    assert_eq!(plan.next_request(), None);
    let mut plan = Plan::new(BOUNDS, None, SIZE);
    let request = plan.next_request().unwrap();
    let refused = plan.out_of_range(request.id, Some(SIZE));
    assert_eq!(
        refused,
        OutOfRange::GoOn,
        "416 with the size says that this is all"
    );
    assert!(plan.is_complete());
}

#[test]
fn a_hint_that_what_is_here_has_outgrown_is_not_believed() {
    let mut plan = Plan::new(BOUNDS, Some(2), 4);
    let request = plan.next_request().unwrap();
    assert_eq!((request.start, request.end), (4, Some(8)));
    assert_eq!(plan.opened(request.id, partial()), Ok(Opened::Read));
}

#[test]
fn a_report_of_a_connection_that_was_let_go_of_changes_nothing() {
    let mut plan = Plan::new(BOUNDS, None, 0);
    let old = plan.next_request().unwrap();
    plan.change_source(None);
    let before = plan.clone();
    let lie = Answer {
        whole: true,
        total: Some(SIZE + 1),
    };
    assert_eq!(plan.opened(old.id, lie), Ok(Opened::Drop));
    assert_eq!(plan.received(old.id, 1), Ok(Vec::new()));
    assert_eq!(plan, before);
}

#[test]
fn a_size_told_by_an_earlier_source_is_known_to_be_inherited() {
    let mut plan = Plan::new(BOUNDS, None, 0);
    let first = plan.next_request().unwrap();
    plan.opened(first.id, whole()).unwrap();
    assert!(!plan.size_is_inherited());
    plan.change_source(None);
    assert!(plan.size_is_inherited());
}
