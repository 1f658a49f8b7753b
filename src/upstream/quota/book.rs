//! All quotas: one for each upstream and account, until an upstream says that it counts several as one.
//!
//! Upstreams tell whom they count for (`docker-ratelimit-source`). What reports one source, and one limit, shares a gate,
//! across upstreams and logins; two registries that happen to see the same address have limits of their own. Owns the
//! table of sources, and what was written down of those that nobody has asked yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::caller::{Caller, Priority};
use super::ceiling::Ceiling;
use super::gate::{Gate, Visit};
use super::ledger::{Closing, Ledger, Outcome, PullId, Spent, SpentBy, Standing};
use super::report::QuotaReport;
use super::snapshot::Snapshot;
use crate::config;
use crate::metrics::{self, UpstreamName};
use crate::sync::lock;

/// Snapshots that are kept: far more than anyone configures.
const SAVED: usize = 1_000;

/// All quotas of a mirror.
#[derive(Debug, Default)]
pub(crate) struct Book {
    tables: Mutex<Tables>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Tables {
    /// By source and limit.
    sources: HashMap<(String, u64), Weak<Gate>>,
    slots: HashMap<String, Weak<Slot>>,
    saved: HashMap<String, Snapshot>,
}

/// The quota of one upstream for one account, as far as is known.
#[derive(Debug)]
pub(crate) struct Slot {
    key: String,
    label: UpstreamName,
    quota: Option<config::Quota>,
    gate: Mutex<Arc<Gate>>,
    book: Arc<Book>,
}

/// A pull that is charged. Where it goes unsettled, it counts as lost.
#[derive(Debug)]
pub(crate) struct Charge {
    slot: Arc<Slot>,
    gate: Arc<Gate>,
    id: PullId,
    sent: Instant,
    is_settled: bool,
}

impl Book {
    /// The quota with this key, which is the same in every process.
    pub(crate) fn slot(
        self: &Arc<Self>,
        key: String,
        label: &UpstreamName,
        quota: Option<config::Quota>,
    ) -> Arc<Slot> {
        let mut tables = lock(&self.tables);
        if let Some(slot) = tables.slots.get(&key).and_then(Weak::upgrade) {
            return slot;
        }
        let gate = tables.open(&key, quota);
        let slot = Arc::new(Slot {
            key: key.clone(),
            label: label.clone(),
            quota,
            gate: Mutex::new(gate),
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
                    let snapshot = Snapshot::of(&state.ledger, now, wall);
                    snapshot.with_source(state.source.clone())
                });
                (slot.key.clone(), snapshot)
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

    /// Waits until there is something new to write down.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Sees to it that `slot` has the gate of the source that it was told. True where that is another than before.
    fn place(&self, slot: &Slot, source: &str, limit: u64) -> bool {
        let mut tables = lock(&self.tables);
        let gate = slot.gate();
        let known = tables.source(source, limit).map(|gate| gate.root());
        let is_named = gate.with(|state| state.source.is_some());
        match known {
            Some(known) if Arc::ptr_eq(&known, &gate) => false,
            Some(known) if is_named => {
                slot.move_to(known);
                true
            }
            Some(known) => {
                gate.merge_into(&known);
                false
            }
            // Its address has changed, or its account: another quota.
            None if is_named => {
                let new = Gate::new(Ledger::new(slot.ceiling()), Some(source.to_owned()));
                tables.name(source, limit, &new);
                slot.move_to(new);
                true
            }
            None => {
                gate.with(|state| state.source = Some(source.to_owned()));
                tables.name(source, limit, &gate);
                false
            }
        }
    }
}

impl Tables {
    /// A gate as it was left, or a new one.
    fn open(&mut self, key: &str, quota: Option<config::Quota>) -> Arc<Gate> {
        let ceiling = || quota.map(Ceiling::new);
        let Some(saved) = self.saved.remove(key) else {
            return Gate::new(Ledger::new(ceiling()), None);
        };
        let now = Instant::now().into_std();
        let ledger = saved.restore(quota, now, SystemTime::now());
        let Some(source) = saved.source else {
            return Gate::new(ledger, None);
        };
        let limit = ledger
            .reported
            .as_ref()
            .map_or(0, |reported| reported.limit);
        if let Some(known) = self.source(&source, limit) {
            // Written down twice, for both of those that share it.
            known.with(|state| {
                if state.ledger.ceiling.is_none() {
                    state.ledger.ceiling = ledger.ceiling;
                }
            });
            return known.root();
        }
        let gate = Gate::new(ledger, Some(source.clone()));
        self.name(&source, limit, &gate);
        gate
    }

    fn source(&self, source: &str, limit: u64) -> Option<Arc<Gate>> {
        let known = self.sources.get(&(source.to_owned(), limit))?;
        known.upgrade()
    }

    fn name(&mut self, source: &str, limit: u64, gate: &Arc<Gate>) {
        self.sources.retain(|_, gate| gate.strong_count() > 0);
        let key = (source.to_owned(), limit);
        self.sources.insert(key, Arc::downgrade(gate));
    }
}

impl Slot {
    pub(super) fn gate(&self) -> Arc<Gate> {
        let mut gate = lock(&self.gate);
        let root = gate.root();
        *gate = Arc::clone(&root);
        root
    }

    pub(crate) fn label(&self) -> &UpstreamName {
        &self.label
    }

    fn ceiling(&self) -> Option<Ceiling> {
        self.quota.map(Ceiling::new)
    }

    /// Those who wait at the old gate find the new one.
    fn move_to(&self, gate: Arc<Gate>) {
        let old = std::mem::replace(&mut *lock(&self.gate), gate);
        old.wake();
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
        self.settle_source(report);
        self.gate().change(|state| {
            let now = Instant::now().into_std();
            state.ledger.heard(sent.into_std(), now, report);
        });
        self.note();
    }

    /// Something that costs nothing was refused for load.
    pub(crate) fn refused(&self, sent: Instant, closing: Closing<'_>) {
        self.settle_source(closing.report);
        self.gate().change(|state| {
            let now = Instant::now().into_std();
            state.ledger.close(sent.into_std(), now, closing);
        });
        self.note();
    }

    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        self.gate().standing()
    }

    /// True where the report is about another quota than before.
    fn settle_source(&self, report: Option<&QuotaReport>) -> bool {
        let source = report.and_then(|report| Some((report.source.as_deref()?, report.limit?)));
        source.is_some_and(|(source, limit)| {
            let limit = u64::try_from(limit.count).unwrap_or(0);
            self.book.place(self, source, limit)
        })
    }

    /// What has changed is shown, and will be written down.
    pub(crate) fn note(&self) {
        metrics::quota(&self.label, &self.standing().into());
        self.book.changed.notify_one();
    }
}

impl Charge {
    pub(super) fn new(slot: &Arc<Slot>, gate: Arc<Gate>, id: PullId) -> Self {
        Self {
            slot: Arc::clone(slot),
            gate,
            id,
            sent: Instant::now(),
            is_settled: false,
        }
    }

    /// The pull has ended.
    pub(crate) fn settle(mut self, outcome: Outcome<'_>) {
        self.is_settled = true;
        let report = outcome.report();
        let is_moved = self.slot.settle_source(report);
        let now = Instant::now().into_std();
        if is_moved {
            // It was counted elsewhere, where all that is known of it is its report.
            self.gate
                .change(|state| state.ledger.settle(self.id, now, Outcome::Unsent));
            let sent = self.sent.into_std();
            self.slot
                .gate()
                .change(|state| state.ledger.heard(sent, now, report));
        } else {
            self.gate
                .change(|state| state.ledger.settle(self.id, now, outcome));
        }
        self.slot.note();
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !self.is_settled {
            let now = Instant::now().into_std();
            let lost = Outcome::Lost(None);
            self.gate
                .change(|state| state.ledger.settle(self.id, now, lost));
        }
    }
}
