//! The manifests that were served lately, and what each refers to: what clients are about to ask
//! for.
//!
//! Owns one bounded map under one lock, which each manifest that is served takes for a moment. It
//! says what was served and when; what follows from that for eviction is decided in `guard.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;

use super::references::References;
use super::touches::GRANULE;
use crate::oci::Digest;
use crate::sync::lock;

#[cfg(test)]
mod tests;

/// How long, in milliseconds, what a manifest refers to counts as about to be asked for.
const HOUR: u64 = 3_600_000;

/// How many digests all manifests together may hold here, so that this stays below some 10 MiB. A
/// manifest refers to 10,000 at most.
const DIGESTS: usize = 50_000;

/// What one manifest may hold of that at anyone else's cost. Where there are too many digests, those
/// that hold more are forgotten first, the heaviest of all before the others: a handful of them,
/// made for it, would push out all images. An image that is pulled holds some ten to a hundred.
const SHARE: usize = DIGESTS / 50;

/// The first turn since the start; manifests that were served before it have lower ones.
const FIRST_TURN: u64 = 1 << 32;

/// A manifest that was served lately.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) references: Arc<References>,
    /// Its place among all: the higher, the later it was served. Another one each time it is.
    pub(crate) turn: u64,
    /// When that was.
    pub(crate) at: u64,
}

impl Image {
    fn weight(&self) -> usize {
        // An entry takes as much as some digests.
        self.references.all().len() + 4
    }
}

#[derive(Debug)]
struct Entry {
    image: Image,
    /// The last serving that counted as a use of all that it refers to.
    used: Option<u64>,
}

impl Entry {
    fn is_use(&self) -> bool {
        self.used
            .is_none_or(|used| self.image.at.saturating_sub(used) >= GRANULE)
    }
}

/// The manifests that were served lately.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By turn.
    entries: BTreeMap<u64, Entry>,
    turns: HashMap<Digest, u64, RandomState>,
    /// Those that hold more than their share: weight and turn.
    heavy: BTreeSet<(usize, u64)>,
    served: u64,
    restored: u64,
    weight: usize,
}

impl Recent {
    /// A manifest is being served.
    pub(crate) fn note(&self, references: &Arc<References>, now: u64) {
        let mut state = lock(&self.0);
        if state.is_last_again(references.manifest(), now) {
            return;
        }
        let known = state.turns.get(references.manifest()).copied();
        let used = known.and_then(|turn| state.remove(turn)?.used);
        let turn = state.next_turn();
        state.insert(references, turn, now, used);
        state.shed();
    }

    /// A manifest that was served before the start, and not later than those that were restored
    /// before it; `false` when no more are kept.
    pub(crate) fn restore(&self, references: &Arc<References>, at: u64) -> bool {
        let mut state = lock(&self.0);
        if state.turns.contains_key(references.manifest()) {
            return true;
        }
        state.restored += 1;
        let turn = FIRST_TURN - state.restored;
        // Its uses are recorded.
        state.insert(references, turn, at, Some(at));
        state.shed();
        // What is forgotten for this one to stay was heavier; what is light and forgotten was the first.
        state.entries.contains_key(&turn) || state.weight < DIGESTS - SHARE
    }

    /// The image with this turn is not kept together any more. One that was served since has
    /// another.
    pub(crate) fn forget(&self, turn: u64) {
        lock(&self.0).remove(turn);
    }

    /// Takes those whose serving is to count as a use of what they refer to, in the order in which
    /// they were served.
    pub(crate) fn take_used(&self) -> Vec<Image> {
        let mut used = Vec::new();
        for entry in lock(&self.0).entries.values_mut() {
            if entry.is_use() {
                entry.used = Some(entry.image.at);
                used.push(entry.image.clone());
            }
        }
        used
    }

    /// Those of the last hour, in the order in which they were served. All others are forgotten.
    pub(crate) fn of_the_hour(&self, now: u64) -> Vec<Image> {
        let mut state = lock(&self.0);
        while let Some(first) = state.entries.first_entry()
            && now.saturating_sub(first.get().image.at) >= HOUR
        {
            state.remove_first();
        }
        let images = state.entries.values().map(|entry| entry.image.clone());
        images.collect()
    }
}

impl State {
    /// Whether the manifest is the one that was served last, as most are while a fleet pulls one image: then its time and
    /// its turn are all that changes.
    fn is_last_again(&mut self, manifest: &Digest, now: u64) -> bool {
        let Some(last) = self.entries.last_entry() else {
            return false;
        };
        let image = &last.get().image;
        if image.references.manifest() != manifest || image.weight() > SHARE {
            return false;
        }
        let mut entry = last.remove();
        let turn = self.next_turn();
        entry.image.at = now;
        entry.image.turn = turn;
        if let Some(known) = self.turns.get_mut(manifest) {
            *known = turn;
        }
        self.entries.insert(turn, entry);
        true
    }

    fn next_turn(&mut self) -> u64 {
        let turn = FIRST_TURN + self.served;
        self.served += 1;
        turn
    }

    fn insert(&mut self, references: &Arc<References>, turn: u64, at: u64, used: Option<u64>) {
        let references = Arc::clone(references);
        let manifest = *references.manifest();
        let image = Image {
            references,
            turn,
            at,
        };
        self.weight += image.weight();
        if image.weight() > SHARE {
            self.heavy.insert((image.weight(), turn));
        }
        self.turns.insert(manifest, turn);
        self.entries.insert(turn, Entry { image, used });
    }

    fn remove(&mut self, turn: u64) -> Option<Entry> {
        let entry = self.entries.remove(&turn)?;
        self.turns.remove(entry.image.references.manifest());
        self.weight -= entry.image.weight();
        self.heavy.remove(&(entry.image.weight(), turn));
        Some(entry)
    }

    /// Forgets what is too much.
    fn shed(&mut self) {
        while self.weight > DIGESTS && self.entries.len() > 1 {
            match self.heavy.last() {
                Some(&(_, turn)) => drop(self.remove(turn)),
                None => self.remove_first(),
            }
        }
    }

    fn remove_first(&mut self) {
        if let Some((&turn, _)) = self.entries.first_key_value() {
            self.remove(turn);
        }
    }
}
