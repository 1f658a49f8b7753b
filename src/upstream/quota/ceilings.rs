//! The configured quotas that hold at one gate: one for each slot there that has one. Each counts every pull that goes
//! through the gate, so that the strictest rules, and each goes along with its slot, so that nothing that it has counted is
//! forgotten when an upstream counts for another source.
//!
//! Takes `now`.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::caller::Priority;
use super::ceiling::{Ceiling, Counted, by_share};
use crate::sync::lock;

/// Whose a configured quota is: its slot's key, which begins with the registry.
pub(crate) type Owner = Arc<str>;

pub(crate) fn registry_of(owner: &Owner) -> &str {
    owner.split(' ').next().unwrap_or_default()
}

/// A slot's configured quota, wherever the slot is.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    owner: Owner,
    ceiling: Arc<Mutex<Ceiling>>,
}

impl Owned {
    pub(crate) fn new(owner: &Owner, ceiling: Ceiling) -> Self {
        Self {
            owner: Arc::clone(owner),
            ceiling: Arc::new(Mutex::new(ceiling)),
        }
    }

    fn left(&self, now: Instant) -> i64 {
        lock(&self.ceiling).left(now)
    }

    fn share(&self, now: Instant) -> (i64, u64) {
        lock(&self.ceiling).share(now)
    }

    fn may_take(&self, now: Instant, priority: Priority) -> bool {
        let ceiling = lock(&self.ceiling);
        priority.may_take(ceiling.left(now), ceiling.quota().pulls)
    }

    fn back_at(&self, now: Instant) -> Option<Instant> {
        lock(&self.ceiling).back_at(now)
    }
}

/// Where a pull was counted, so that it can be taken back there.
#[derive(Debug, Default)]
pub(crate) struct Counts(Vec<(Owned, Counted)>);

impl Counts {
    /// Takes back a pull that was none.
    pub(crate) fn refund(self) {
        for (owned, counted) in self.0 {
            lock(&owned.ceiling).refund(counted);
        }
    }
}

/// The configured quotas of all slots at a gate.
#[derive(Debug, Default)]
pub(crate) struct Ceilings(Vec<Owned>);

impl Ceilings {
    /// What is counted of one of them, whoever's it is.
    pub(crate) fn of(&self, owner: &str) -> Option<Ceiling> {
        let own = self.0.iter().find(|owned| *owned.owner == *owner)?;
        Some(lock(&own.ceiling).clone())
    }

    /// Adds what a slot brings along.
    pub(crate) fn add(&mut self, owned: Owned) {
        self.0.retain(|other| other.owner != owned.owner);
        self.0.push(owned);
    }

    /// What a slot takes along.
    pub(crate) fn take(&mut self, owner: &str) -> Option<Owned> {
        let at = self.0.iter().position(|owned| *owned.owner == *owner)?;
        Some(self.0.swap_remove(at))
    }

    pub(crate) fn extend(&mut self, others: Ceilings) {
        others.0.into_iter().for_each(|owned| self.add(owned));
    }

    pub(crate) fn may_take(&self, now: Instant, priority: Priority) -> bool {
        self.0.iter().all(|owned| owned.may_take(now, priority))
    }

    /// Counts a pull.
    pub(crate) fn spend(&mut self, now: Instant) -> Counts {
        let all = self.0.iter();
        let counts = all.map(|owned| (owned.clone(), lock(&owned.ceiling).spend(now)));
        Counts(counts.collect())
    }

    /// The one with the smallest share left.
    pub(crate) fn least(&self, now: Instant) -> Option<(Owner, Ceiling)> {
        let shares = self.0.iter().map(|owned| (owned, owned.share(now)));
        let (least, _) = shares.min_by(|one, other| by_share(one.1, other.1))?;
        let ceiling = lock(&least.ceiling).clone();
        Some((Arc::clone(&least.owner), ceiling))
    }

    /// When each of them has a pull again; where each has one, when the one with the smallest share has another.
    pub(crate) fn back_at(&self, now: Instant) -> Option<Instant> {
        let spent = self.0.iter().filter(|owned| owned.left(now) < 1);
        let back = spent.filter_map(|owned| owned.back_at(now)).max();
        back.or_else(|| self.least(now)?.1.back_at(now))
    }
}
