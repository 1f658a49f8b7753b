//! Facts that hold while a fill runs and that nothing has proven yet.
//!
//! Owns the table of those that live.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::facts::{Fact, Learned};
use crate::sync::lock;

/// What an upstream's answer says about a right, before its bytes are known to be what they claim. Readers of the fill
/// may rely on it; it is never written down. Dropping it withdraws it; [`super::Rights::confirm`] makes it good.
#[derive(Debug)]
pub struct Provisional {
    learned: Learned,
    table: Arc<Table>,
}

impl Provisional {
    pub(super) fn new(table: &Arc<Table>, learned: Learned) -> Self {
        *table.lock().entry(learned.fact.clone()).or_default() += 1;
        Self {
            learned,
            table: Arc::clone(table),
        }
    }

    pub(super) fn learned(&self) -> &Learned {
        &self.learned
    }
}

impl Drop for Provisional {
    fn drop(&mut self) {
        let mut facts = self.table.lock();
        if let Some(holders) = facts.get_mut(&self.learned.fact) {
            *holders -= 1;
            if *holders == 0 {
                facts.remove(&self.learned.fact);
            }
        }
    }
}

/// The provisional facts, each with how many hold it: a fill that starts over learns what the one before it learned.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<HashMap<Fact, usize>>);

impl Table {
    pub(super) fn holds(&self, fact: &Fact) -> bool {
        self.lock().contains_key(fact)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Fact, usize>> {
        lock(&self.0)
    }
}
