//! A ledger and those who wait for it, behind a lock: where pulls are admitted and settled.
//!
//! Whoever waits is woken by being handed a pull, or by the clock when the ledger may have changed by itself. There is no
//! task behind it: the waiters move it on, and one of them asks the upstream for free how much is left when that is due.
//! A gate that turns out to be of the same quota as another becomes that one.

#[cfg(test)]
mod tests;
mod visit;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::book::Slot;
use super::caller::{Caller, ClientKey, Priority};
use super::ledger::{Ledger, Outcome, PullId, Refusal, Spent, SpentBy, Standing};
use super::queue::{Joined, Place, Queue};

use crate::sync::lock;

pub(crate) use visit::{Turn, Visit};

/// Requests that may wait for one quota.
const WAITING: usize = 4_096;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// One quota. What becomes another stands for that one.
#[derive(Debug)]
pub(crate) struct Gate {
    inner: Mutex<Inner>,
    /// Told when those who wait have to look again.
    changed: Notify,
}

#[derive(Debug)]
enum Inner {
    Own(Box<State>),
    Merged(Arc<Gate>),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) ledger: Ledger,
    /// Whom the upstream counts for.
    pub(super) source: Option<String>,
    queue: Queue<Option<ClientKey>, oneshot::Sender<Grant>>,
    /// Whether one is asking the upstream how much is left.
    is_looking: bool,
    /// What those who wait have last been told to wait for.
    told: Option<Refusal>,
}

/// What one who waits is told.
#[derive(Debug)]
enum Grant {
    Pull(PullId),
    /// Its place has gone to a client with fewer.
    Crowded,
}

/// What to do now.
enum Step {
    Go(PullId),
    Refuse(Spent),
    Look,
    Wait { wake: Instant },
}

impl Gate {
    pub(super) fn new(ledger: Ledger, source: Option<String>) -> Arc<Self> {
        let state = State {
            ledger,
            source,
            queue: Queue::new(WAITING),
            is_looking: false,
            told: None,
        };
        Arc::new(Self {
            inner: Mutex::new(Inner::Own(Box::new(state))),
            changed: Notify::new(),
        })
    }

    /// The gate that this one has become.
    pub(super) fn root(self: &Arc<Self>) -> Arc<Self> {
        let mut gate = Arc::clone(self);
        loop {
            let next = match &*lock(&gate.inner) {
                Inner::Own(_) => None,
                Inner::Merged(into) => Some(Arc::clone(into)),
            };
            match next {
                Some(into) => gate = into,
                None => return gate,
            }
        }
    }

    pub(super) fn with<T>(self: &Arc<Self>, act: impl FnOnce(&mut State) -> T) -> T {
        let mut gate = Arc::clone(self);
        loop {
            let into = match &mut *lock(&gate.inner) {
                Inner::Own(state) => return act(state),
                Inner::Merged(into) => Arc::clone(into),
            };
            gate = into;
        }
    }

    /// As [`Gate::with`]; then those who wait get what there is, or are told that it is another thing that they wait for.
    pub(super) fn change<T>(self: &Arc<Self>, act: impl FnOnce(&mut State) -> T) -> T {
        let (result, is_news) = self.with(|state| {
            let result = act(state);
            state.serve(Instant::now());
            (result, state.is_news())
        });
        if is_news {
            self.root().wake();
        }
        result
    }

    /// Those who wait here look again, at the gate that is theirs now.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Becomes `into`. The caller sees to it that no two gates do so at a time.
    pub(super) fn merge_into(self: &Arc<Self>, into: &Arc<Gate>) {
        let into = into.root();
        if Arc::ptr_eq(self, &into) {
            return;
        }
        {
            // Both at once, so that no pull is in neither. Nothing else takes two.
            let mut target = lock(&into.inner);
            let mut own = lock(&self.inner);
            let Inner::Own(target) = &mut *target else {
                return;
            };
            let Inner::Own(_) = &*own else { return };
            let before = std::mem::replace(&mut *own, Inner::Merged(Arc::clone(&into)));
            if let Inner::Own(mut state) = before {
                // Their places are of no use any more; they take new ones.
                drop(state.queue.drain());
                target.ledger.absorb(state.ledger);
                target.serve(Instant::now());
            }
        }
        self.wake();
        into.wake();
    }

    /// A pull that was admitted here, and will not be sent.
    fn give_back(self: &Arc<Self>, id: PullId) {
        self.change(|state| state.ledger.settle(id, now_std(), Outcome::Withdrawn));
    }

    pub(super) fn standing(self: &Arc<Self>) -> Standing {
        self.with(|state| Standing {
            source: state.source.clone(),
            waiting: state.queue.len(),
            ..state.ledger.standing(now_std())
        })
    }
}

fn now_std() -> std::time::Instant {
    Instant::now().into_std()
}

impl State {
    /// Hands out what there is, in turn.
    fn serve(&mut self, now: Instant) {
        let now = now.into_std();
        while !self.queue.is_empty() && self.ledger.may(now, Priority::Client).is_ok() {
            let Some(waiter) = self.queue.pop() else {
                return;
            };
            let id = NEXT.fetch_add(1, Ordering::Relaxed);
            if self.ledger.admit(id, now, Priority::Client).is_err() {
                return;
            }
            if waiter.send(Grant::Pull(id)).is_err() {
                self.ledger.settle(id, now, Outcome::Withdrawn);
            }
        }
    }

    /// Whether those who wait have to think again: what was under way, say, was the last of it.
    fn is_news(&mut self) -> bool {
        let refusal = if self.queue.is_empty() {
            None
        } else {
            self.ledger.may(now_std(), Priority::Client).err()
        };
        let is_news = refusal.is_some() && refusal != self.told;
        self.told = refusal;
        is_news
    }

    /// What comes next for `caller`, who may be waiting already.
    fn step(
        &mut self,
        now: Instant,
        caller: &Caller,
        waiting: &mut Waiting,
        gate: &Arc<Gate>,
    ) -> Step {
        self.serve(now);
        if let Some(held) = &mut waiting.0 {
            match held.told() {
                Err(oneshot::error::TryRecvError::Empty) => {}
                told => {
                    waiting.0 = None;
                    match told {
                        Ok(Grant::Pull(id)) => {
                            self.ledger.set_out(id, now.into_std());
                            return Step::Go(id);
                        }
                        Ok(Grant::Crowded) => return self.refuse(now, SpentBy::Busy),
                        Err(_) => {}
                    }
                }
            }
        }
        let std_now = now.into_std();
        let refusal = if self.queue.is_empty() {
            let id = NEXT.fetch_add(1, Ordering::Relaxed);
            match self.ledger.admit(id, std_now, caller.priority) {
                Ok(()) => return Step::Go(id),
                Err(refusal) => refusal,
            }
        } else {
            // Nobody overtakes; what a lesser priority could have is for those who wait.
            let may = self.ledger.may(std_now, caller.priority);
            may.err().unwrap_or(Refusal::Taken)
        };
        let is_unsure = matches!(
            refusal,
            Refusal::Unknown | Refusal::Spent(SpentBy::Reported)
        );
        if is_unsure && !self.is_looking && self.ledger.wants_look(std_now) {
            self.is_looking = true;
            return Step::Look;
        }
        let is_seen_to = is_unsure && self.is_looking;
        let Some(until) = self.patience(now, caller, refusal, is_seen_to) else {
            return self.refuse(now, refusal.by());
        };
        if waiting.0.is_none() && !self.join(caller, waiting, gate) {
            return self.refuse(now, refusal.by());
        }
        let wake = self.ledger.look_again_at(std_now, refusal);
        let wake = wake.filter(|_| !is_seen_to).map(Instant::from_std);
        Step::Wait {
            wake: wake.map_or(until, |wake| wake.min(until)),
        }
    }

    /// Until when it makes sense to wait, if it does. `is_seen_to` says that someone is asking the upstream.
    fn patience(
        &self,
        now: Instant,
        caller: &Caller,
        refusal: Refusal,
        is_seen_to: bool,
    ) -> Option<Instant> {
        let until = caller.until.filter(|until| *until > now)?;
        if let Refusal::Spent(by) = refusal
            && !is_seen_to
        {
            let renews = self.ledger.renews_at(now.into_std(), by)?;
            return (renews <= until.into_std()).then_some(until);
        }
        Some(until)
    }

    fn join(&mut self, caller: &Caller, waiting: &mut Waiting, gate: &Arc<Gate>) -> bool {
        let (sender, grant) = oneshot::channel();
        let place = match self.queue.join(caller.client, sender) {
            Joined::Place(place) => place,
            Joined::Instead(place, crowded) => {
                // Whoever it was may have left.
                let _ = crowded.send(Grant::Crowded);
                place
            }
            Joined::Full => return false,
        };
        waiting.0 = Some(Held {
            gate: Arc::clone(gate),
            place,
            grant,
            told: None,
        });
        true
    }

    fn refuse(&self, now: Instant, by: SpentBy) -> Step {
        Step::Refuse(self.spent(now.into_std(), by))
    }

    pub(super) fn spent(&self, now: std::time::Instant, by: SpentBy) -> Spent {
        Spent {
            source: self.source.clone().filter(|_| by == SpentBy::Reported),
            ..self.ledger.spent(now, by)
        }
    }
}

/// A place in a gate's queue; it is given up when this goes.
#[derive(Default)]
struct Waiting(Option<Held>);

struct Held {
    gate: Arc<Gate>,
    place: Place<Option<ClientKey>>,
    grant: oneshot::Receiver<Grant>,
    /// What came while it was waited for.
    told: Option<Told>,
}

impl Waiting {
    /// Gives up what it has at another gate: a place, or a pull.
    fn keep_at(&mut self, gate: &Arc<Gate>) {
        let is_elsewhere = |held: &Held| !Arc::ptr_eq(&held.gate.root(), gate);
        if self.0.as_ref().is_some_and(is_elsewhere) {
            *self = Self::default();
        }
    }
}

type Told = Result<Grant, oneshot::error::TryRecvError>;

impl Held {
    fn told(&mut self) -> Told {
        self.told.take().unwrap_or_else(|| self.grant.try_recv())
    }

    /// Waits until there is something to be told.
    async fn arrival(&mut self) {
        if self.told.is_none() {
            let told = (&mut self.grant).await;
            self.told = Some(told.map_err(|_| oneshot::error::TryRecvError::Closed));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(mut held) = self.0.take() else {
            return;
        };
        // Grants are made, and places lost, under the gate's lock.
        held.gate.clone().change(|state| match held.told() {
            Ok(Grant::Pull(id)) => state.ledger.settle(id, now_std(), Outcome::Withdrawn),
            Ok(Grant::Crowded) | Err(oneshot::error::TryRecvError::Closed) => {}
            Err(oneshot::error::TryRecvError::Empty) => drop(state.queue.leave(held.place)),
        });
    }
}

/// One asks the upstream for free how much is left. However that ends, the others look again.
pub(crate) struct Look {
    slot: Arc<Slot>,
    gate: Arc<Gate>,
    is_answered: bool,
}

impl Look {
    /// There was an answer, whether it told anything or not.
    pub(crate) fn answered(&mut self) {
        self.is_answered = true;
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let now = now_std();
        // What was told may have been about another quota than this one.
        let is_here = Arc::ptr_eq(&self.slot.gate(), &self.gate.root());
        self.gate.change(|state| {
            state.is_looking = false;
            if is_here && state.ledger.wants_look(now) {
                state.ledger.looked_in_vain(now, self.is_answered);
            }
        });
        self.gate.root().wake();
    }
}
