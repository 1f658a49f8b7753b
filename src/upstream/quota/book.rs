//! All quotas: one for each upstream and account, until an upstream says that it counts several as one.
//!
//! Upstreams tell whom they count for (`docker-ratelimit-source`). What reports one source, and one limit, shares a gate,
//! across upstreams and logins of one site; two registries that happen to see the same address have limits of their own, and
//! none may tell of another's by naming its source. Whom a slot is
//! counted for may change under way: the mirror's address, its plan. Whatever a report is about is done to the gate that it
//! is about, before anyone can take a pull there on account of it. Owns the table of sources, and what was written down of
//! those that nobody has asked yet.
//!
//! Locks are taken in this order: the tables, a slot's seat, a gate.

#[cfg(test)]
mod model;
mod seat;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::caller::{Caller, Priority};
use super::ceiling::Ceiling;
use super::ceilings::{Owned, Owner};
use super::gate::{Gate, State, Visit};
use super::ledger::{Closing, Ledger, Spent, SpentBy, Standing};
use super::report::QuotaReport;
use super::snapshot::Snapshot;
use crate::config;
use crate::metrics::{self, UpstreamName};
use crate::sync::lock;

pub(crate) use seat::Charge;
use seat::Seat;

/// Snapshots that are kept: far more than anyone configures.
const SAVED: usize = 1_000;
/// Sources that are kept while no slot is there: a pool of addresses.
const SOURCES: usize = 64;

/// All quotas of a mirror.
#[derive(Debug, Default)]
pub(crate) struct Book {
    tables: Mutex<Tables>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Tables {
    sources: HashMap<Source, Arc<Gate>>,
    slots: HashMap<String, Weak<Slot>>,
    saved: HashMap<String, Snapshot>,
}

/// Whom an upstream counts for, and how many pulls it allows them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Source {
    /// Those who tell of one quota. Anyone else who names it has another.
    site: String,
    name: String,
    limit: u64,
}

/// The quota of one upstream for one account, as far as is known.
#[derive(Debug)]
pub(crate) struct Slot {
    key: Owner,
    site: String,
    label: UpstreamName,
    seat: Mutex<Seat>,
    book: Arc<Book>,
}

impl Book {
    /// The quota with this key, which is the same in every process, told by `site`.
    pub(crate) fn slot(
        self: &Arc<Self>,
        key: String,
        site: String,
        label: &UpstreamName,
        quota: Option<config::Quota>,
    ) -> Arc<Slot> {
        let mut tables = lock(&self.tables);
        if let Some(slot) = tables.slots.get(&key).and_then(Weak::upgrade) {
            drop(tables);
            slot.limit(quota);
            return slot;
        }
        let owner = Owner::from(key.as_str());
        let gate = tables.open(&owner, &site, quota);
        let slot = Arc::new(Slot {
            key: owner,
            site,
            label: label.clone(),
            seat: Mutex::new(Seat::new(gate)),
            book: Arc::clone(self),
        });
        tables.slots.retain(|_, slot| slot.strong_count() > 0);
        tables.slots.insert(key, Arc::downgrade(&slot));
        slot
    }

    /// Takes up what an earlier process has written down. Comes before the first slot.
    pub(crate) fn restore(&self, rows: impl IntoIterator<Item = (String, Snapshot)>) {
        lock(&self.tables)
            .saved
            .extend(rows.into_iter().take(SAVED));
    }

    /// What is worth writing down, by key.
    pub(crate) fn snapshots(&self) -> Vec<(String, Snapshot)> {
        let slots: Vec<_> = {
            let tables = lock(&self.tables);
            tables.slots.values().filter_map(Weak::upgrade).collect()
        };
        let (now, wall) = (Instant::now().into_std(), SystemTime::now());
        let mut snapshots: Vec<_> = slots
            .iter()
            .map(|slot| {
                let snapshot = slot.gate().with(|state| {
                    let snapshot = Snapshot::of(&state.ledger, &slot.key, now, wall);
                    snapshot.with_source(state.source.clone())
                });
                (slot.key.to_string(), snapshot)
            })
            .filter(|(_, snapshot)| !snapshot.is_empty())
            .collect();
        let mut tables = lock(&self.tables);
        // What goes out of use is taken up from here when it comes back.
        tables.saved.extend(snapshots.iter().cloned());
        if tables.saved.len() > SAVED {
            tables.saved = snapshots.iter().cloned().collect();
        }
        snapshots.sort_by(|one, other| one.0.cmp(&other.0));
        snapshots
    }

    /// How the quota stands that is nearest to its end, of those that share a label.
    pub(super) fn least_of(&self, label: &UpstreamName) -> Option<Standing> {
        let slots: Vec<_> = {
            let tables = lock(&self.tables);
            let slots = tables.slots.values().filter_map(Weak::upgrade);
            let is_of = |slot: &Arc<Slot>| slot.label.as_str() == label.as_str();
            slots.filter(is_of).collect()
        };
        let now = Instant::now().into_std();
        let shown = |slot: &Arc<Slot>| slot.gate().with(|state| state.ledger.shown(now));
        Standing::least(slots.iter().map(shown))
    }

    /// Waits until there is something new to write down.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Does `act` to the gate of `source`, which an answer to what `slot` has sent then has named, and leaves the slot there
    /// unless a later question has told better.
    fn at_source<T>(
        &self,
        slot: &Slot,
        source: Source,
        asked: Instant,
        act: impl FnOnce(&mut State) -> T,
    ) -> (T, Arc<Gate>) {
        let mut tables = lock(&self.tables);
        let mut seat = lock(&slot.seat);
        let own = seat.root();
        let is_named = own.with(|state| state.source.is_some());
        let known = tables.sources.get(&source).cloned();
        let gate = match known {
            Some(known) if is_named => known,
            Some(known) => {
                own.merge_into(&known);
                known
            }
            // Its address has changed, or its account, or its plan: another quota.
            None if is_named => Gate::new(Ledger::new(), Some(source.name.clone())),
            None => {
                own.with(|state| state.source = Some(source.name.clone()));
                own
            }
        };
        tables.name(source, &gate);
        let left = seat.hear(&slot.key, &gate, asked);
        let result = gate.change(act);
        drop((seat, tables));
        // Those who wait where it was find it where it is.
        if let Some(left) = left {
            left.change(|_| ());
            left.wake();
        }
        (result, gate)
    }
}

impl Tables {
    /// A gate as it was left, or a new one.
    fn open(&mut self, key: &Owner, site: &str, quota: Option<config::Quota>) -> Arc<Gate> {
        let (now, wall) = (Instant::now().into_std(), SystemTime::now());
        let saved = self.saved.remove(&**key);
        let ceiling = quota.map(|quota| match &saved {
            Some(saved) => saved.restore_ceiling(quota, now, wall),
            None => Ceiling::new(quota),
        });
        let gate = match saved {
            Some(saved) => self.restore(saved.restore(now, wall), site, saved.source),
            None => Gate::new(Ledger::new(), None),
        };
        if let Some(ceiling) = ceiling {
            gate.with(|state| state.ledger.limit(Owned::new(key, ceiling)));
        }
        gate
    }

    /// A ledger's gate. It was written down for each of those that shared it.
    fn restore(&mut self, ledger: Ledger, site: &str, source: Option<String>) -> Arc<Gate> {
        let Some(name) = source else {
            return Gate::new(ledger, None);
        };
        let reported = ledger.reported.as_ref();
        let limit = reported.map_or(0, |reported| reported.limit);
        let site = site.to_owned();
        let source = Source { site, name, limit };
        if let Some(known) = self.sources.get(&source) {
            return Arc::clone(known);
        }
        let gate = Gate::new(ledger, Some(source.name.clone()));
        self.name(source, &gate);
        gate
    }

    fn name(&mut self, source: Source, gate: &Arc<Gate>) {
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&source) {
            self.sources.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        self.sources.insert(source, Arc::clone(gate));
    }
}

impl Slot {
    pub(super) fn gate(&self) -> Arc<Gate> {
        lock(&self.seat).root()
    }

    /// Holds the quota that is configured now. What was pulled counts on.
    fn limit(&self, quota: Option<config::Quota>) {
        let (now, wall) = (Instant::now().into_std(), SystemTime::now());
        let held = |state: &State| state.ledger.ceiling_of(&self.key);
        let gate = self.gate();
        if gate.with(|state| held(state).map(|ceiling| ceiling.quota())) == quota {
            return;
        }
        gate.change(|state| {
            let snapshot = Snapshot::of(&state.ledger, &self.key, now, wall);
            let ceiling = quota.map(|quota| snapshot.restore_ceiling(quota, now, wall));
            let owned = ceiling.map(|ceiling| Owned::new(&self.key, ceiling));
            state.ledger.limit_anew(&self.key, owned);
        });
    }

    pub(crate) fn label(&self) -> &UpstreamName {
        &self.label
    }

    /// Begins to ask for a pull for `caller`.
    pub(crate) fn visit<'a>(self: &'a Arc<Self>, caller: &'a Caller) -> Visit<'a> {
        Visit::new(self, caller)
    }

    /// Whether the upstream has asked to be left alone, even with what costs nothing.
    pub(crate) fn closed(&self) -> Option<Spent> {
        let now = Instant::now().into_std();
        self.gate().with(|state| {
            let ledger = &state.ledger;
            ledger
                .is_closed(now)
                .then(|| state.spent(now, SpentBy::Closed))
        })
    }

    /// Why it has no pull now, and until when, as far as that is known.
    pub(crate) fn spent(&self) -> Option<Spent> {
        let now = Instant::now().into_std();
        self.gate()
            .with(|state| match state.ledger.may(now, Priority::Client) {
                Err(refusal) => Some(state.spent(now, refusal.by())),
                Ok(()) => None,
            })
    }

    /// Something was answered that costs nothing.
    pub(crate) fn heard(&self, sent: Instant, report: Option<&QuotaReport>) {
        self.at(sent, report, |state| {
            let now = Instant::now().into_std();
            state.ledger.heard(sent.into_std(), now, report);
        });
        self.note();
    }

    /// Something that costs nothing was refused for load.
    pub(crate) fn refused(&self, sent: Instant, closing: Closing<'_>) {
        self.at(sent, closing.report, |state| {
            let now = Instant::now().into_std();
            state.ledger.close(sent.into_std(), now, closing);
        });
        self.note();
    }

    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        self.gate().standing()
    }

    /// Does `act` to the gate that a report is about. True where the report names whom it is about.
    fn at(
        &self,
        sent: Instant,
        report: Option<&QuotaReport>,
        act: impl FnOnce(&mut State),
    ) -> (Arc<Gate>, bool) {
        let source = report.and_then(|report| {
            let limit = u64::try_from(report.limit?.count).unwrap_or(0);
            Some(Source {
                site: self.site.clone(),
                name: report.source.clone()?,
                limit,
            })
        });
        let Some(source) = source else {
            let gate = self.gate();
            gate.change(act);
            return (gate, false);
        };
        let ((), gate) = self.book.at_source(self, source, sent, act);
        (gate, true)
    }

    /// What has changed is shown, and will be written down.
    pub(crate) fn note(&self) {
        if let Some(least) = self.book.least_of(&self.label) {
            metrics::quota(&self.label, &least.into());
        }
        self.book.changed.notify_one();
    }
}
