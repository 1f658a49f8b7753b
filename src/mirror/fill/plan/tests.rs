//! The plan's transitions, explored exhaustively to a bound, and a table of the cases that matter by name.

use std::collections::HashSet;

use super::*;

mod guesses;

const SIZE: u64 = 6;
const BYTES: usize = 6;

const BOUNDS: Bounds = Bounds {
    piece: 2,
    connections: 2,
    failures: 2,
    progress: 1,
};

fn depth() -> usize {
    let wanted = std::env::var("FOREBAY_EXPLORE_DEPTH").ok();
    wanted.map_or(10, |depth| {
        depth.parse().expect("FOREBAY_EXPLORE_DEPTH is a number")
    })
}

/// A connection as the upstream sees it: it knows what it was asked and where it is, and nothing of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Peer {
    id: ConnectionId,
    next: u64,
    end: u64,
    opened: bool,
    whole: bool,
}

/// The world: the plan and the peers that it has asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    plan: Plan,
    peers: Vec<Peer>,
    /// How often each byte was written to disk.
    written: [u8; BYTES],
    gave_up: bool,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Ask,
    Open {
        peer: usize,
        whole: bool,
        tells_total: bool,
    },
    Deliver {
        peer: usize,
        length: u64,
    },
    End {
        peer: usize,
    },
    Fail {
        peer: usize,
    },
    /// 416, where what was asked for begins at the end or beyond it.
    Refuse {
        peer: usize,
        tells_total: bool,
    },
    Promote {
        first: u64,
    },
    ChangeSource {
        hint: Option<u64>,
    },
}

impl World {
    fn new(hint: Option<u64>, have: u64) -> Self {
        let mut written = [0; BYTES];
        written[..usize::try_from(have).unwrap()].fill(1);
        Self {
            plan: Plan::new(BOUNDS, hint, have),
            peers: Vec::new(),
            written,
            gave_up: false,
        }
    }

    fn events(&self) -> Vec<Event> {
        let mut events = vec![Event::Ask];
        // At the frontier, far from it, and beyond the end.
        events.extend([0, 4, SIZE + 1].map(|first| Event::Promote { first }));
        events.extend([None, Some(SIZE)].map(|hint| Event::ChangeSource { hint }));
        for (peer, state) in self.peers.iter().enumerate() {
            events.push(Event::Fail { peer });
            if !state.opened && state.next < SIZE {
                for (whole, tells_total) in
                    [(false, true), (false, false), (true, true), (true, false)]
                {
                    events.push(Event::Open {
                        peer,
                        whole,
                        tells_total,
                    });
                }
                continue;
            }
            if !state.opened {
                events.extend([true, false].map(|tells_total| Event::Refuse { peer, tells_total }));
                continue;
            }
            let left = state.end - state.next;
            events.extend((1..=left.min(2)).map(|length| Event::Deliver { peer, length }));
            if left == 0 {
                events.push(Event::End { peer });
            }
        }
        events
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Ask => {
                if let Some(request) = self.plan.next_request() {
                    self.peers.push(Peer {
                        id: request.id,
                        next: request.start,
                        end: request.end.unwrap_or(SIZE).min(SIZE),
                        opened: false,
                        whole: false,
                    });
                }
            }
            Event::Open {
                peer,
                whole,
                tells_total,
            } => self.open(peer, whole, tells_total),
            Event::Deliver { peer, length } => {
                let Peer { id, next, .. } = self.peers[peer];
                assert_eq!(
                    self.plan.position(id),
                    Some(next),
                    "the plan knows where bytes belong"
                );
                for range in self.plan.received(id, length).expect("an honest peer") {
                    for byte in range {
                        self.written[usize::try_from(byte).unwrap()] += 1;
                    }
                }
                self.peers[peer].next += length;
            }
            Event::End { peer } => {
                let ended = self.plan.ended(self.peers.remove(peer).id);
                assert_eq!(ended, Ok(None), "an honest end is no failure");
            }
            Event::Fail { peer } => {
                let after = self.plan.failed(self.peers.remove(peer).id);
                self.gave_up |= after == AfterFailure::GiveUp;
            }
            Event::Refuse { peer, tells_total } => self.refuse(peer, tells_total),
            Event::Promote { first } => self.plan.promote(first..first + 1),
            Event::ChangeSource { hint } => {
                self.plan.change_source(hint);
                self.peers.clear();
            }
        }
    }

    fn open(&mut self, peer: usize, whole: bool, tells_total: bool) {
        let answer = Answer {
            whole,
            total: tells_total.then_some(SIZE),
        };
        let state = &mut self.peers[peer];
        state.opened = true;
        state.whole = whole;
        if whole {
            (state.next, state.end) = (0, SIZE);
        }
        match self.plan.opened(state.id, answer).expect("an honest peer") {
            Opened::Read => {}
            Opened::Drop => drop(self.peers.remove(peer)),
        }
    }

    fn refuse(&mut self, peer: usize, tells_total: bool) {
        let peer = self.peers.remove(peer);
        match self.plan.out_of_range(peer.id, tells_total.then_some(SIZE)) {
            OutOfRange::GoOn => {}
            // What is here ends where the blob does, and nobody says so: it may be longer.
            OutOfRange::NotTheBlob => {
                assert!(!tells_total && peer.next == SIZE, "all of it is the blob's");
                self.gave_up = true;
            }
            OutOfRange::Failed(after) => self.gave_up |= after == AfterFailure::GiveUp,
        }
    }

    fn check(&self, trail: &[Event]) {
        for count in self.written {
            assert!(count <= 1, "a byte was written twice after {trail:?}");
        }
        let ranged = || self.peers.iter().filter(|peer| !peer.whole);
        for byte in 0..SIZE {
            let asked = ranged()
                .filter(|peer| (peer.next..peer.end).contains(&byte))
                .count();
            assert!(asked <= 1, "byte {byte} is asked for twice after {trail:?}");
            let have = self.written[usize::try_from(byte).unwrap()] == 1;
            let wholes = self.peers.iter().any(|peer| peer.whole);
            assert!(
                !(have && asked == 1) || wholes,
                "byte {byte} is asked for although it has come, after {trail:?}"
            );
        }
        let all = self.written.iter().all(|count| *count == 1);
        let knows = self.plan.total().is_some();
        assert_eq!(
            self.plan.is_complete(),
            all && knows,
            "completeness after {trail:?}"
        );
        let moves = !self.peers.is_empty() || self.plan.clone().next_request().is_some();
        assert!(self.plan.is_complete() || moves, "stuck after {trail:?}");
        assert_eq!(self.plan.is_idle(), self.peers.is_empty());
    }
}

fn explore(world: &World, left: usize, trail: &mut Vec<Event>, seen: &mut HashSet<(World, usize)>) {
    world.check(trail);
    if left == 0 || world.gave_up || !seen.insert((world.clone(), left)) {
        return;
    }
    for event in world.events() {
        let mut next = world.clone();
        trail.push(event);
        next.apply(event);
        explore(&next, left - 1, trail, seen);
        trail.pop();
    }
}

#[test]
fn no_sequence_of_events_asks_twice_gets_stuck_or_completes_early() {
    for (hint, have) in [
        (None, 0),
        (Some(SIZE), 0),
        (Some(SIZE), 3),
        (None, 2),
        (None, SIZE),
        (Some(2), 3),
    ] {
        let mut seen = HashSet::new();
        explore(&World::new(hint, have), depth(), &mut Vec::new(), &mut seen);
        println!(
            "hint {hint:?}, {have} bytes at the start: {} states",
            seen.len()
        );
        assert!(!seen.is_empty());
    }
}

fn partial() -> Answer {
    Answer {
        whole: false,
        total: Some(SIZE),
    }
}

fn whole() -> Answer {
    Answer {
        whole: true,
        total: Some(SIZE),
    }
}

#[test]
fn a_blob_of_unknown_size_is_one_plain_get() {
    let mut plan = Plan::new(BOUNDS, None, 0);
    let request = plan.next_request().unwrap();
    assert_eq!((request.start, request.end), (0, None));
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
    assert_eq!((request.start, request.end), (4, None));
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
