//! One who wants a pull, on their way through a gate.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::super::book::{Charge, Slot};
use super::super::caller::Caller;
use super::super::ledger::Spent;
use super::{Look, Step, Waiting};
use crate::metrics;

/// One who wants a pull, until there is one or no point in waiting.
pub(crate) struct Visit<'a> {
    slot: &'a Arc<Slot>,
    caller: &'a Caller,
    waiting: Waiting,
    waits: Option<metrics::QuotaWait>,
}

/// What one who wants a pull is told.
pub(crate) enum Turn {
    /// It is charged, and may be sent.
    Go(Charge),
    /// The upstream is to be asked for free how much is left. Then it is to be asked again.
    Look(Look),
    /// There is none.
    Refused(Spent),
}

impl<'a> Visit<'a> {
    pub(in crate::upstream::quota) fn new(slot: &'a Arc<Slot>, caller: &'a Caller) -> Self {
        Self {
            slot,
            caller,
            waiting: Waiting::default(),
            waits: None,
        }
    }

    /// Waits for a turn as long as the caller does.
    pub(crate) async fn turn(&mut self) -> Turn {
        loop {
            let gate = self.slot.gate();
            let changed = gate.changed.notified();
            tokio::pin!(changed);
            // Before the look at the state, so that no change falls between the two.
            changed.as_mut().enable();
            if !Arc::ptr_eq(&gate, &self.slot.gate()) {
                continue;
            }
            self.waiting.keep_at(&gate);
            let step = gate.with(|state| {
                let now = Instant::now();
                state.step(now, self.caller, &mut self.waiting, &gate)
            });
            match step {
                Step::Go(id) => {
                    let Some(charge) = self.slot.charge(&gate, id) else {
                        gate.give_back(id);
                        continue;
                    };
                    self.end(metrics::WaitOutcome::Admitted);
                    return Turn::Go(charge);
                }
                Step::Refuse(spent) => {
                    self.end(metrics::WaitOutcome::Refused);
                    return Turn::Refused(spent);
                }
                Step::Look => {
                    let (slot, gate) = (Arc::clone(self.slot), Arc::clone(&gate));
                    let is_answered = false;
                    return Turn::Look(Look {
                        slot,
                        gate,
                        is_answered,
                    });
                }
                Step::Wait { wake } => {
                    let label = self.slot.label();
                    self.waits.get_or_insert_with(|| metrics::quota_wait(label));
                    self.caller.waits();
                    let Some(held) = &mut self.waiting.0 else {
                        continue;
                    };
                    let _holds = self.caller.hold();
                    tokio::select! {
                        () = &mut changed => {}
                        () = sleep_until(wake) => {}
                        // Looked at in the next step, with the lock held.
                        () = held.arrival() => {}
                    }
                }
            }
        }
    }

    fn end(&mut self, outcome: metrics::WaitOutcome) {
        if let Some(waits) = self.waits.take() {
            waits.end(outcome);
        }
    }
}
