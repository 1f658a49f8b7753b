//! Those who wait for a pull: round robin over clients, first come first served within each.
//!
//! Pure. A client with hundreds of misses gets one pull before another's first, not hundreds. The queue is bounded; when
//! it is full, whoever has the most waiting gives up their last place to a client with less.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Waiting items of type `T`, by client `C`.
#[derive(Debug)]
pub(crate) struct Queue<C, T> {
    lines: HashMap<C, VecDeque<(u64, T)>>,
    /// Clients in the order of their turns.
    turns: VecDeque<C>,
    len: usize,
    most: usize,
    next: u64,
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place<C> {
    pub(crate) client: C,
    number: u64,
}

/// What came of joining.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined<C, T> {
    /// There is a place.
    Place(Place<C>),
    /// There is a place, which another had to give up.
    Instead(Place<C>, T),
    /// There is none.
    Full,
}

impl<C: Hash + Eq + Copy, T> Queue<C, T> {
    /// An empty queue of at most `most` places.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            lines: HashMap::new(),
            turns: VecDeque::new(),
            len: 0,
            most,
            next: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the last place of the client's line.
    pub(crate) fn join(&mut self, client: C, item: T) -> Joined<C, T> {
        if self.len < self.most {
            return Joined::Place(self.push(client, item));
        }
        let own = self.lines.get(&client).map_or(0, VecDeque::len);
        let longest = self.lines.iter().max_by_key(|(_, line)| line.len());
        match longest.map(|(longest, line)| (*longest, line.len())) {
            Some((longest, length)) if length > own + 1 => {
                let dropped = self.lines.get_mut(&longest).and_then(VecDeque::pop_back);
                self.len -= 1;
                let place = self.push(client, item);
                match dropped {
                    Some((_, dropped)) => Joined::Instead(place, dropped),
                    None => Joined::Place(place),
                }
            }
            _ => Joined::Full,
        }
    }

    fn push(&mut self, client: C, item: T) -> Place<C> {
        let number = self.next;
        self.next += 1;
        self.len += 1;
        let line = self.lines.entry(client).or_default();
        if line.is_empty() {
            self.turns.push_back(client);
        }
        line.push_back((number, item));
        Place { client, number }
    }

    /// The next in turn.
    pub(crate) fn pop(&mut self) -> Option<T> {
        while let Some(client) = self.turns.pop_front() {
            let Some(line) = self.lines.get_mut(&client) else {
                continue;
            };
            let item = line.pop_front();
            if line.is_empty() {
                self.lines.remove(&client);
            } else {
                self.turns.push_back(client);
            }
            if let Some((_, item)) = item {
                self.len -= 1;
                return Some(item);
            }
        }
        None
    }

    /// Gives a place up; false if it was lost before.
    pub(crate) fn leave(&mut self, place: Place<C>) -> bool {
        let Some(line) = self.lines.get_mut(&place.client) else {
            return false;
        };
        let Ok(at) = line.binary_search_by_key(&place.number, |(number, _)| *number) else {
            return false;
        };
        line.remove(at);
        self.len -= 1;
        if line.is_empty() {
            self.lines.remove(&place.client);
            self.turns.retain(|client| *client != place.client);
        }
        true
    }

    /// All who wait, in turn.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.pop()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_client_with_many_waiting_takes_turns_with_one_that_has_one() {
        let mut queue = Queue::new(1000);
        for number in 0..200 {
            queue.join('a', ('a', number));
        }
        queue.join('b', ('b', 0));
        let served: Vec<_> = queue.drain();
        assert_eq!(&served[..4], [('a', 0), ('b', 0), ('a', 1), ('a', 2)]);
        assert_eq!(served.len(), 201);
    }

    #[test]
    fn a_full_queue_takes_from_who_has_the_most() {
        let mut queue = Queue::new(3);
        for number in 0..3 {
            queue.join('a', number);
        }
        assert_eq!(queue.join('a', 3), Joined::Full);
        assert!(matches!(queue.join('b', 4), Joined::Instead(_, 2)));
        assert_eq!(queue.join('b', 5), Joined::Full, "two and one are even");
        assert_eq!(queue.drain(), [0, 4, 1]);
    }

    proptest! {
        /// 0 joins, 1 serves, 2 leaves.
        #[test]
        fn everyone_is_served_once_in_their_own_order_and_nobody_is_passed_over(
            steps in prop::collection::vec((0u8..3, 0u8..4, any::<prop::sample::Index>()), 0..200),
        ) {
            let mut queue = Queue::new(20);
            let mut waiting: Vec<(Place<u8>, (u8, usize))> = Vec::new();
            // How often a client was served since another began to wait, or was served itself.
            let mut passed: HashMap<(u8, u8), u32> = HashMap::new();
            for (number, (step, client, which)) in steps.into_iter().enumerate() {
                match step {
                    0 => match queue.join(client, (client, number)) {
                        Joined::Place(place) => waiting.push((place, (client, number))),
                        Joined::Instead(place, lost) => {
                            waiting.retain(|(_, item)| *item != lost);
                            if !waiting.iter().any(|(_, other)| other.0 == lost.0) {
                                passed.retain(|(waits, _), _| *waits != lost.0);
                            }
                            waiting.push((place, (client, number)));
                        }
                        Joined::Full => prop_assert_eq!(queue.len(), 20),
                    },
                    1 => {
                        let served = queue.pop();
                        prop_assert_eq!(served.is_some(), !waiting.is_empty());
                        let Some((client, number)) = served else { continue };
                        let first = waiting.iter().position(|(_, item)| item.0 == client).unwrap();
                        prop_assert_eq!(waiting.remove(first).1, (client, number));
                        passed.retain(|(waits, _), _| *waits != client);
                        let others: HashSet<u8> = waiting.iter().map(|(_, item)| item.0).collect();
                        for other in others.into_iter().filter(|other| *other != client) {
                            let times = passed.entry((other, client)).or_default();
                            *times += 1;
                            prop_assert!(*times <= 1, "{other} waits, and {client} was served twice");
                        }
                    }
                    _ if waiting.is_empty() => {}
                    _ => {
                        let (place, item) = waiting.remove(which.index(waiting.len()));
                        prop_assert!(queue.leave(place));
                        prop_assert!(!queue.leave(place));
                        if !waiting.iter().any(|(_, other)| other.0 == item.0) {
                            passed.retain(|(waits, _), _| *waits != item.0);
                        }
                    }
                }
                prop_assert_eq!(queue.len(), waiting.len());
            }
        }
    }
}
