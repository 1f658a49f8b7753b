//! Connections that can be spared: nothing is asked for on them. Where no place is left, one of them ends for each newcomer.
//!
//! First those go that have never asked for anything, the longest silent first; then those that have begun to, long ago, and
//! have not come to an end of it, or else half a head each would hold all places against everybody; then those that were
//! answered and have asked for nothing since they came, or were passed over for having been asked: their clients open another
//! when they need one. Where there is none, the next ones to become idle end instead, one for each newcomer that waits. A
//! connection that a request runs on is never spared.
//!
//! Owns the queue; each connection's socket enters it when it has nothing to do, and says so again after each request.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::turn::Turn;
use crate::sync::lock;

/// How long a client may be silent on a new connection: it may be about to ask, and would take the end for a failure.
pub(super) const SILENCE: Duration = Duration::from_secs(1);
/// How long a head, or a handshake, may take when others wait: a few round trips to the other side of the world.
const HALFWAY: Duration = Duration::from_secs(3);

/// What an idle connection has done so far. The lesser goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Past {
    /// No byte has come on it.
    Silent,
    /// A part of a request's head has come, or of a handshake; or all of that, and no request yet.
    Begun,
    /// It waits for its next request.
    Answered,
}

impl Past {
    /// How long a connection is left alone in this state.
    fn grace(self) -> Duration {
        match self {
            Self::Silent => SILENCE,
            Self::Begun => HALFWAY,
            Self::Answered => Duration::ZERO,
        }
    }
}

/// The connections of one server that can be spared.
///
/// All connections share it, so that none takes its lock for each request: it stays in the queue while a request runs, and only
/// says in which turn it was idle last. Whoever takes one looks whether that is still so, and puts back behind the others who
/// was answered since it came.
#[derive(Debug, Default)]
pub(super) struct Spares {
    queue: Mutex<Queue>,
    /// Connections that are to end as soon as they become idle; at most one for each newcomer. Changed under the queue's lock.
    owed: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    entered: u64,
    idle: BTreeMap<(Past, u64), Idle>,
    /// Newcomers that wait for a place.
    waiting: usize,
}

/// A connection that was idle when it got its place in the queue.
#[derive(Debug)]
struct Idle {
    since: Instant,
    /// The turn in which that was.
    turn: u32,
    waker: Waker,
    entry: Arc<Entry>,
}

/// What a connection and the queue tell one another without a lock.
#[derive(Debug)]
struct Entry {
    /// The connection's turns as they pass.
    turn: Arc<Turn>,
    /// The one in which it has said last that it is idle.
    idle_in: AtomicU32,
    /// Whom it was to wake at first.
    waker: Waker,
    /// Its number in the queue, which changes under the lock.
    number: AtomicU64,
    /// It is to end.
    is_taken: AtomicBool,
    /// A request ran on it when it would have been taken, and so it is in the queue no more.
    is_out: AtomicBool,
}

impl Entry {
    /// Whether nothing is asked for on it, as far as it has said.
    fn is_idle(&self) -> bool {
        self.idle_in.load(Ordering::SeqCst) == self.turn.now()
    }
}

impl Idle {
    /// Whoever has asked last was one of these.
    fn wake(self) {
        self.entry.waker.wake_by_ref();
        self.waker.wake();
    }
}

impl Spares {
    /// Puts a connection into the queue that is idle in its present turn.
    pub(super) fn enter(self: &Arc<Self>, past: Past, waker: &Waker, turn: &Arc<Turn>) -> Spare {
        let mut queue = lock(&self.queue);
        let owed = self.owed.load(Ordering::Relaxed);
        // Not in the queue, and so taken out of it.
        let is_owed = past == Past::Answered && owed > 0;
        let now = turn.now();
        let entry = Arc::new(Entry {
            turn: Arc::clone(turn),
            idle_in: AtomicU32::new(now),
            waker: waker.clone(),
            number: AtomicU64::new(0),
            is_taken: AtomicBool::new(is_owed),
            is_out: AtomicBool::new(false),
        });
        if is_owed {
            self.owed.store(owed - 1, Ordering::Relaxed);
        } else {
            queue.place(past, now, waker.clone(), Arc::clone(&entry));
        }
        Spare {
            spares: Arc::clone(self),
            past,
            entry,
            is_heeded: Cell::new(false),
        }
    }

    /// Whether connections are to end as soon as they become idle.
    pub(super) fn are_owed(&self) -> bool {
        self.owed.load(Ordering::Relaxed) > 0
    }

    /// Has a connection end for a newcomer, or the next one to become idle as long as the newcomer waits.
    pub(super) fn want(self: &Arc<Self>) -> Wanted {
        lock(&self.queue).waiting += 1;
        let wanted = Wanted(Arc::clone(self));
        wanted.again();
        wanted
    }

    /// A connection that is to end, or else the next one to become idle is owed.
    fn take_or_owe(&self, queue: &mut Queue) -> Option<Idle> {
        let taken = queue.take_one();
        if taken.is_none() {
            let owed = self.owed.load(Ordering::Relaxed) + 1;
            self.owed.store(owed.min(queue.waiting), Ordering::Relaxed);
        }
        taken
    }
}

impl Queue {
    /// Puts an entry behind all others of its kind.
    fn place(&mut self, past: Past, turn: u32, waker: Waker, entry: Arc<Entry>) {
        self.entered += 1;
        entry.number.store(self.entered, Ordering::Relaxed);
        let idle = Idle {
            since: Instant::now(),
            turn,
            waker,
            entry,
        };
        self.idle.insert((past, self.entered), idle);
    }

    fn take_one(&mut self) -> Option<Idle> {
        let mut pasts = [Past::Silent, Past::Begun, Past::Answered].into_iter();
        pasts.find_map(|past| self.take_of(past))
    }

    /// The first one that nothing was asked for on since it got its place. Who was answered meanwhile goes behind the others, and
    /// who is being answered goes: nobody is looked at twice for one request.
    fn take_of(&mut self, past: Past) -> Option<Idle> {
        loop {
            let first = self.idle.range((past, 0)..=(past, u64::MAX)).next();
            let (&key, _) = first.filter(|(_, idle)| idle.since.elapsed() >= past.grace())?;
            let idle = self.idle.remove(&key)?;
            let entry = &idle.entry;
            if !entry.is_idle() {
                entry.is_out.store(true, Ordering::SeqCst);
                // It has said so just now, perhaps before it could see that it is out.
                if !entry.is_idle() {
                    continue;
                }
                entry.is_out.store(false, Ordering::SeqCst);
            }
            let turn = entry.idle_in.load(Ordering::SeqCst);
            if turn == idle.turn {
                entry.is_taken.store(true, Ordering::Release);
                return Some(idle);
            }
            self.place(past, turn, idle.waker, idle.entry);
        }
    }
}

/// An idle connection's place in the queue.
#[derive(Debug)]
pub(super) struct Spare {
    spares: Arc<Spares>,
    /// What its connection had done when it entered.
    past: Past,
    entry: Arc<Entry>,
    /// Its connection knows that it is to end.
    is_heeded: Cell<bool>,
}

impl Spare {
    /// Its connection is idle in `turn`, having done so much. False where it has to enter anew.
    pub(super) fn stays(&self, past: Past, turn: u32) -> bool {
        let entry = &self.entry;
        if self.past != past {
            return false;
        }
        if entry.idle_in.load(Ordering::Relaxed) != turn {
            entry.idle_in.store(turn, Ordering::SeqCst);
        }
        !entry.is_out.load(Ordering::SeqCst)
    }

    /// Ready when the connection is to end.
    pub(super) fn poll_taken(&self, cx: &Context<'_>) -> Poll<()> {
        let entry = &self.entry;
        if entry.is_taken.load(Ordering::Acquire) {
            self.is_heeded.set(true);
            return Poll::Ready(());
        }
        if entry.waker.will_wake(cx.waker()) {
            return Poll::Pending;
        }
        let mut queue = lock(&self.spares.queue);
        // Under the lock, where it can't be taken meanwhile.
        if entry.is_taken.load(Ordering::Acquire) {
            self.is_heeded.set(true);
            return Poll::Ready(());
        }
        if let Some(idle) = queue.idle.get_mut(&self.key()) {
            idle.waker.clone_from(cx.waker());
        }
        Poll::Pending
    }

    fn key(&self) -> (Past, u64) {
        (self.past, self.entry.number.load(Ordering::Relaxed))
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        let spares = &self.spares;
        let mut queue = lock(&spares.queue);
        queue.idle.remove(&self.key());
        // It was taken when it had just come to something else, and goes on: another one has to end for that newcomer.
        let is_taken = self.entry.is_taken.load(Ordering::Acquire);
        let is_lost = is_taken && !self.is_heeded.get() && queue.waiting > 0;
        let other = is_lost.then(|| spares.take_or_owe(&mut queue)).flatten();
        drop(queue);
        if let Some(other) = other {
            other.wake();
        }
    }
}

/// A newcomer that waits for a place.
#[derive(Debug)]
pub(super) struct Wanted(Arc<Spares>);

impl Wanted {
    /// Looks once more: a new connection that was silent for a moment only has been so for longer by now.
    pub(super) fn again(&self) {
        let mut queue = lock(&self.0.queue);
        let taken = self.0.take_or_owe(&mut queue);
        drop(queue);
        if let Some(idle) = taken {
            idle.wake();
        }
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        queue.waiting -= 1;
        let owed = self.0.owed.load(Ordering::Relaxed);
        self.0
            .owed
            .store(owed.min(queue.waiting), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
