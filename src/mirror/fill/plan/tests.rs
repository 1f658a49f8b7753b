//! The plan's transitions, explored exhaustively to a bound.

mod cases;
mod guesses;
mod turns;

use std::collections::HashSet;

use super::*;

const SIZE: u64 = 6;
const BYTES: usize = 6;

const BOUNDS: Bounds = Bounds {
    piece: 2,
    connections: 2,
    ahead: 4,
    failures: 2,
    progress: 1,
};

/// More of all that there can be more of, for fewer steps.
const WIDE: Bounds = Bounds {
    piece: 1,
    connections: 3,
    ahead: 2,
    ..BOUNDS
};

fn depth() -> usize {
    let wanted = std::env::var("FOREBAY_EXPLORE_DEPTH").ok();
    wanted.map_or(10, |depth| {
        depth.parse().expect("FOREBAY_EXPLORE_DEPTH is a number")
    })
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
    Allow {
        connections: usize,
    },
    ChangeSource {
        hint: Option<u64>,
    },
}

impl World {
    fn new(bounds: Bounds, hint: Option<u64>, have: u64) -> Self {
        let mut written = [0; BYTES];
        written[..usize::try_from(have).unwrap()].fill(1);
        Self {
            plan: Plan::new(bounds, hint, have),
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
        events.extend([1, 3].map(|connections| Event::Allow { connections }));
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
            Event::Allow { connections } => self.plan.allow(connections),
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
    explore_all(BOUNDS, depth());
}

#[test]
fn nor_does_one_over_more_connections() {
    explore_all(WIDE, depth() - 2);
}

fn explore_all(bounds: Bounds, depth: usize) {
    for (hint, have) in [
        (None, 0),
        (Some(SIZE), 0),
        (Some(SIZE), 3),
        (None, 2),
        (None, SIZE),
        (Some(2), 3),
    ] {
        let mut seen = HashSet::new();
        let world = World::new(bounds, hint, have);
        explore(&world, depth, &mut Vec::new(), &mut seen);
        println!(
            "hint {hint:?}, {have} bytes at the start: {} states",
            seen.len()
        );
        assert!(!seen.is_empty());
    }
}
