//! Facts that hold while a fill runs and that nothing has proven yet.
//!
//! Owns the table of those that live.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Fact;
use crate::sync::lock;

/// What an upstream's answer says about a right, before its bytes are known to be what they claim. Readers of the fill
/// may rely on it; it is never written down. Dropping it withdraws it; [`super::Rights::confirm`] makes it good.
#[derive(Debug)]
pub struct Provisional {
    fact: Fact,
    table: Arc<Table>,
}

impl Provisional {
    pub(super) fn new(table: &Arc<Table>, fact: Fact) -> Self {
        *table.lock().entry(fact.clone()).or_default() += 1;
        Self {
            fact,
            table: Arc::clone(table),
        }
    }

    pub(super) fn fact(&self) -> &Fact {
        &self.fact
    }
}

impl Drop for Provisional {
    fn drop(&mut self) {
        let mut facts = self.table.lock();
        if let Some(holders) = facts.get_mut(&self.fact) {
            *holders -= 1;
            if *holders == 0 {
                facts.remove(&self.fact);
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
