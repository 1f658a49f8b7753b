//! Whose turn it is, over how many connections, and how far ahead.

use super::*;

const LARGE: u64 = 100;

fn part() -> Answer {
    Answer {
        whole: false,
        total: Some(LARGE),
    }
}

/// A plan of a large blob whose first connection is being read.
fn running(bounds: Bounds) -> (Plan, Request) {
    let mut plan = Plan::new(bounds, Some(LARGE), 0);
    let first = plan.next_request().unwrap();
    assert_eq!(plan.opened(first.id, part()), Ok(Opened::Read));
    (plan, first)
}

fn starts(plan: &mut Plan) -> Vec<u64> {
    std::iter::from_fn(|| plan.next_request())
        .map(|request| request.start)
        .collect()
}

#[test]
fn there_are_as_many_connections_as_are_allowed_and_those_that_run_go_on() {
    let bounds = Bounds {
        connections: 4,
        ahead: LARGE,
        ..BOUNDS
    };
    let (mut plan, first) = running(bounds);
    assert_eq!(plan.next_request(), None, "one, until more are allowed");
    plan.allow(3);
    assert_eq!(starts(&mut plan), [2, 4]);
    plan.allow(9);
    assert_eq!(starts(&mut plan), [6], "never beyond the bound");
    plan.allow(2);
    plan.received(first.id, 2).unwrap();
    assert_eq!(plan.ended(first.id), Ok(None));
    assert_eq!(plan.next_request(), None, "three still run");
}

#[test]
fn what_a_client_waits_for_takes_any_connection_of_the_bound() {
    let bounds = Bounds {
        connections: 4,
        ..BOUNDS
    };
    let (mut plan, _) = running(bounds);
    for wanted in [50..51, 70..71] {
        plan.promote(wanted);
    }
    assert_eq!(starts(&mut plan), [50, 70]);
}

/// The first of several clients that each read a part of one blob had all connections to itself until its part was
/// there; the last got nothing until then.
#[test]
fn clients_that_wait_for_long_ranges_get_them_in_turns() {
    let bounds = Bounds {
        connections: 7,
        ..BOUNDS
    };
    let (mut plan, _) = running(bounds);
    for wanted in [10..40, 40..70, 70..100] {
        plan.promote(wanted);
    }
    assert_eq!(starts(&mut plan), [10, 40, 70, 12, 42, 72]);
}

#[test]
fn a_range_comes_first_again_when_the_connection_that_was_to_bring_it_fails() {
    let (mut plan, first) = running(BOUNDS);
    plan.promote(50..52);
    let far = plan.next_request().unwrap();
    assert_eq!(far.start, 50);
    assert_eq!(plan.opened(far.id, part()), Ok(Opened::Read));
    plan.received(far.id, 1).unwrap();
    plan.received(first.id, 1).unwrap();
    plan.failed(far.id);
    assert_eq!(plan.next_request().unwrap().start, 51);
}

#[test]
fn what_nobody_waits_for_stays_near_the_frontier() {
    let bounds = Bounds {
        connections: 9,
        ahead: 6,
        ..BOUNDS
    };
    let (mut plan, first) = running(bounds);
    plan.allow(9);
    assert_eq!(starts(&mut plan), [2, 4]);
    plan.promote(90..91);
    assert_eq!(starts(&mut plan), [90], "but for what a client waits for");
    plan.received(first.id, 1).unwrap();
    assert_eq!(starts(&mut plan), [6]);
}
