//! What is asked for of a blob of unknown size.

use super::*;

/// A plan that knows nothing but that a client waits for `wanted`, and its first request.
fn wanting(bounds: Bounds, wanted: Range<u64>) -> (Plan, Request) {
    let mut plan = Plan::new(bounds, None, 0);
    plan.promote(wanted);
    let request = plan.next_request().unwrap();
    assert_eq!(plan.next_request(), None, "nothing is known of the blob");
    (plan, request)
}

/// A pull through a mirror that had restarted, or of an image whose manifest came from elsewhere, was one connection's.
#[test]
fn the_answer_to_the_first_part_tells_the_size_to_the_others() {
    let bounds = Bounds { ahead: 6, ..BOUNDS };
    let mut plan = Plan::new(bounds, None, 0);
    plan.allow(2);
    let first = plan.next_request().unwrap();
    assert_eq!((first.start, first.end), (0, Some(4)));
    assert_eq!(plan.next_request(), None, "nothing is known of the blob");
    assert_eq!(plan.opened(first.id, partial()), Ok(Opened::Read));
    let second = plan.next_request().unwrap();
    assert_eq!((second.start, second.end), (4, None));
}

#[test]
fn a_small_blob_is_one_request() {
    let mut plan = Plan::new(BOUNDS, None, 0);
    plan.allow(2);
    let first = plan.next_request().unwrap();
    let small = Answer {
        whole: false,
        total: Some(4),
    };
    assert_eq!(plan.opened(first.id, small), Ok(Opened::Read));
    assert_eq!(plan.next_request(), None);
    plan.received(first.id, 4).unwrap();
    assert!(plan.is_complete());
}

#[test]
fn a_far_range_comes_first_and_its_answer_tells_the_size_to_the_others() {
    let (mut plan, far) = wanting(BOUNDS, 3..4);
    plan.allow(2);
    assert_eq!((far.start, far.end), (3, Some(5)));
    assert_eq!(plan.opened(far.id, partial()), Ok(Opened::Read));
    let first = plan.next_request().unwrap();
    assert_eq!((first.start, first.end), (0, Some(2)));
}

#[test]
fn a_near_range_begins_at_the_start_and_a_small_blob_comes_with_it() {
    let (mut plan, first) = wanting(BOUNDS, 1..2);
    assert_eq!((first.start, first.end), (0, Some(4)));
    let small = Answer {
        whole: false,
        total: Some(3),
    };
    assert_eq!(plan.opened(first.id, small), Ok(Opened::Read));
    assert_eq!(plan.next_request(), None);
    plan.received(first.id, 3).unwrap();
    assert!(plan.is_complete());
}

#[test]
fn what_lies_behind_a_partial_file_is_far_from_where_that_ends() {
    let mut plan = Plan::new(BOUNDS, None, 3);
    plan.promote(0..1);
    plan.promote(4..5);
    let request = plan.next_request().unwrap();
    assert_eq!((request.start, request.end), (3, Some(7)));
}

#[test]
fn an_upstream_that_ignores_the_range_is_read_from_the_start() {
    let (mut plan, far) = wanting(BOUNDS, 4..5);
    assert_eq!(plan.opened(far.id, whole()), Ok(Opened::Read));
    assert_eq!(plan.position(far.id), Some(0));
    assert_eq!(plan.next_request(), None, "ranges don't work there");
}

#[test]
fn a_range_beyond_the_end_tells_the_size_and_costs_no_failure() {
    let (mut plan, far) = wanting(BOUNDS, 9..10);
    assert_eq!(plan.out_of_range(far.id, Some(SIZE)), OutOfRange::GoOn);
    assert_eq!(plan.total(), Some(SIZE));
    let first = plan.next_request().unwrap();
    assert_eq!((first.start, first.end), (0, Some(2)));
    assert_eq!(plan.failed(first.id), AfterFailure::Retry { failures: 1 });
}

#[test]
fn a_refusal_that_tells_no_size_leads_to_one_plain_get() {
    let (mut plan, far) = wanting(BOUNDS, 9..10);
    assert_eq!(plan.out_of_range(far.id, None), OutOfRange::GoOn);
    let first = plan.next_request().unwrap();
    assert_eq!((first.start, first.end), (0, None));
}

#[test]
fn an_empty_blob_is_complete_when_its_range_is_refused() {
    let (mut plan, first) = wanting(BOUNDS, 0..1);
    assert_eq!(plan.out_of_range(first.id, Some(0)), OutOfRange::GoOn);
    assert!(plan.is_complete());
}

#[test]
fn a_part_of_an_untold_whole_is_not_taken_for_the_whole() {
    let (mut plan, first) = wanting(BOUNDS, 0..1);
    let untold = Answer {
        whole: false,
        total: None,
    };
    assert_eq!(plan.opened(first.id, untold), Ok(Opened::Drop));
    let again = plan.next_request().unwrap();
    assert_eq!((again.start, again.end), (0, None));
}

#[test]
fn a_range_that_no_blob_reaches_is_not_tried_on_the_upstream() {
    for first in [FARTHEST, u64::MAX - 1] {
        let (_, request) = wanting(BOUNDS, first..u64::MAX);
        assert_eq!((request.start, request.end), (0, Some(4)));
    }
}

#[test]
fn one_connection_brings_everything_in_order() {
    let alone = Bounds {
        connections: 1,
        ..BOUNDS
    };
    let (_, request) = wanting(alone, 4..5);
    assert_eq!((request.start, request.end), (0, None));
}
