//! Where a slot is, and its pulls under way, which go along when it goes to another gate.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::super::ceilings::Owner;
use super::super::gate::Gate;
use super::super::ledger::{Outcome, PullId};
use super::Slot;
use crate::sync::lock;

/// Where a slot is.
#[derive(Debug)]
pub(super) struct Seat {
    gate: Arc<Gate>,
    /// When the question was sent whose answer told so, where one has.
    told: Option<Instant>,
    /// Its pulls that were sent, and all gates where it has been since: each knows them, since any of these quotas may
    /// count them.
    under_way: HashMap<PullId, Vec<Arc<Gate>>>,
}

/// A pull that is charged. Where it goes unsettled, it counts as lost.
#[derive(Debug)]
pub(crate) struct Charge {
    slot: Arc<Slot>,
    id: PullId,
    sent: Instant,
    is_settled: bool,
}

impl Slot {
    /// A pull that was admitted at `gate`, unless the slot has left it.
    pub(in crate::upstream::quota) fn charge(
        self: &Arc<Self>,
        gate: &Arc<Gate>,
        id: PullId,
    ) -> Option<Charge> {
        let mut seat = lock(&self.seat);
        let root = seat.root();
        if !Arc::ptr_eq(&root, &gate.root()) {
            return None;
        }
        seat.under_way.insert(id, vec![root]);
        Some(Charge {
            slot: Arc::clone(self),
            id,
            sent: Instant::now(),
            is_settled: false,
        })
    }
}

impl Seat {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self {
            gate,
            told: None,
            under_way: HashMap::new(),
        }
    }

    pub(super) fn root(&mut self) -> Arc<Gate> {
        let root = self.gate.root();
        self.gate = Arc::clone(&root);
        root
    }

    /// Goes to the gate that the answer to a question has named, unless a later question has told better. Returns the gate
    /// that it has left.
    pub(super) fn hear(
        &mut self,
        owner: &Owner,
        gate: &Arc<Gate>,
        asked: Instant,
    ) -> Option<Arc<Gate>> {
        if self.told.is_some_and(|told| asked < told) {
            return None;
        }
        self.told = Some(asked);
        let left = self.root();
        if Arc::ptr_eq(&left, gate) {
            return None;
        }
        // Known there before anyone finds it there.
        let luggage = left.with(|state| {
            let pulls = self.under_way.keys().copied();
            state.ledger.leave(owner, pulls)
        });
        gate.with(|state| state.ledger.arrive(luggage));
        for been in self.under_way.values_mut() {
            if !been.iter().any(|been| Arc::ptr_eq(been, gate)) {
                been.push(Arc::clone(gate));
            }
        }
        self.gate = Arc::clone(gate);
        Some(left)
    }
}

impl Charge {
    /// The pull has ended.
    pub(crate) fn settle(mut self, outcome: Outcome<'_>) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: Outcome<'_>) {
        self.is_settled = true;
        let (id, sent) = (self.id, self.sent.into_std());
        let (gate, is_told) = self.slot.at(self.sent, outcome.report(), |state| {
            state.ledger.meet(id, sent);
            let now = Instant::now().into_std();
            state.ledger.settle(id, now, outcome);
        });
        let been = lock(&self.slot.seat).under_way.remove(&id);
        let others = been.unwrap_or_default().into_iter().map(|been| been.root());
        for other in others.filter(|other| !Arc::ptr_eq(other, &gate)) {
            other.change(|state| {
                let now = Instant::now().into_std();
                state.ledger.settle(id, now, outcome.to_others(is_told));
            });
        }
        self.slot.note();
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !self.is_settled {
            self.end(Outcome::Lost(None));
        }
    }
}
