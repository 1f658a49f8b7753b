//! Connections that can be spared: nothing is asked for on them. Where no place is left, one of them ends for each newcomer.
//!
//! First those go that have never asked for anything, the longest silent first; then those that have begun to, long ago, and
//! have not come to an end of it, or else half a head each would hold all places against everybody; then those that were
//! answered longest ago, whose clients open another when they need one. Where there is none, the next ones to become idle end
//! instead, one for each newcomer that waits. A connection that a request runs on is never spared.
//!
//! Owns the queue; each connection's socket enters it when it has nothing to do, and leaves it with the next head.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

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

/// The connections of one server that can be spared. What each response asks of it takes no lock: all connections share it.
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

#[derive(Debug)]
struct Idle {
    since: Instant,
    waker: Waker,
    entered: Arc<Entered>,
}

impl Idle {
    /// Whoever has asked last was one of these.
    fn wake(self) {
        self.entered.waker.wake_by_ref();
        self.waker.wake();
    }
}

/// What can be known of a place without the queue.
#[derive(Debug)]
struct Entered {
    /// Whom it was to wake at first.
    waker: Waker,
    is_taken: AtomicBool,
}

impl Spares {
    /// Puts an idle connection into the queue.
    pub(super) fn enter(self: &Arc<Self>, past: Past, waker: &Waker) -> Spare {
        let mut queue = lock(&self.queue);
        queue.entered += 1;
        let key = (past, queue.entered);
        let owed = self.owed.load(Ordering::Relaxed);
        let is_owed = past == Past::Answered && owed > 0;
        let entered = Arc::new(Entered {
            waker: waker.clone(),
            is_taken: AtomicBool::new(is_owed),
        });
        if is_owed {
            self.owed.store(owed - 1, Ordering::Relaxed);
        } else {
            let idle = Idle {
                since: Instant::now(),
                waker: waker.clone(),
                entered: Arc::clone(&entered),
            };
            queue.idle.insert(key, idle);
        }
        Spare {
            spares: Arc::clone(self),
            key,
            entered,
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
}

impl Queue {
    fn take_one(&mut self) -> Option<Idle> {
        let longest = |past: Past| {
            let first = self.idle.range((past, 0)..=(past, u64::MAX)).next();
            first.filter(|(_, idle)| idle.since.elapsed() >= past.grace())
        };
        let mut pasts = [Past::Silent, Past::Begun, Past::Answered].into_iter();
        let key = *pasts.find_map(longest)?.0;
        let idle = self.idle.remove(&key)?;
        idle.entered.is_taken.store(true, Ordering::Release);
        Some(idle)
    }
}

/// An idle connection's place in the queue.
#[derive(Debug)]
pub(super) struct Spare {
    spares: Arc<Spares>,
    key: (Past, u64),
    entered: Arc<Entered>,
}

impl Spare {
    /// What its connection had done when it entered.
    pub(super) fn past(&self) -> Past {
        self.key.0
    }

    /// Ready when the connection is to end.
    pub(super) fn poll_taken(&self, cx: &Context<'_>) -> Poll<()> {
        if self.entered.is_taken.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if self.entered.waker.will_wake(cx.waker()) {
            return Poll::Pending;
        }
        match lock(&self.spares.queue).idle.get_mut(&self.key) {
            Some(idle) => {
                idle.waker.clone_from(cx.waker());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        lock(&self.spares.queue).idle.remove(&self.key);
    }
}

/// A newcomer that waits for a place.
#[derive(Debug)]
pub(super) struct Wanted(Arc<Spares>);

impl Wanted {
    /// Looks once more: a new connection that was silent for a moment only has been so for longer by now.
    pub(super) fn again(&self) {
        let mut queue = lock(&self.0.queue);
        let taken = queue.take_one();
        if taken.is_none() {
            let owed = self.0.owed.load(Ordering::Relaxed) + 1;
            self.0
                .owed
                .store(owed.min(queue.waiting), Ordering::Relaxed);
        }
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
        self.0.owed.fetch_min(queue.waiting, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(spare: &Spare) -> bool {
        let cx = Context::from_waker(Waker::noop());
        spare.poll_taken(&cx).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_asked_goes_before_who_was_answered_and_the_longest_idle_first() {
        let spares = Arc::new(Spares::default());
        let enter = |past| spares.enter(past, Waker::noop());
        let answered = [enter(Past::Answered), enter(Past::Answered)];
        let silent = [enter(Past::Silent), enter(Past::Silent)];
        tokio::time::advance(SILENCE).await;
        let mut wanted = Vec::new();
        for next in [&silent[0], &silent[1], &answered[0], &answered[1]] {
            assert!(!is_taken(next));
            wanted.push(spares.want());
            assert!(is_taken(next));
        }
        assert!(!spares.are_owed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_only_just_connected_is_given_a_moment() {
        let spares = Arc::new(Spares::default());
        let fresh = spares.enter(Past::Silent, Waker::noop());
        let wanted = spares.want();
        assert!(!is_taken(&fresh));
        tokio::time::advance(SILENCE).await;
        wanted.again();
        assert!(is_taken(&fresh));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_halfway_for_long_goes_before_who_was_answered_and_nobody_else_does() {
        let spares = Arc::new(Spares::default());
        let halfway = spares.enter(Past::Begun, Waker::noop());
        let answered = [Past::Answered; 2].map(|past| spares.enter(past, Waker::noop()));
        tokio::time::advance(SILENCE).await;
        let first = spares.want();
        assert!(!is_taken(&halfway) && is_taken(&answered[0]));
        drop(first);
        tokio::time::advance(HALFWAY).await;
        let _second = spares.want();
        assert!(is_taken(&halfway) && !is_taken(&answered[1]));
    }

    #[tokio::test(start_paused = true)]
    async fn where_none_is_idle_the_next_to_become_so_ends_and_no_more_than_are_waited_for() {
        let spares = Arc::new(Spares::default());
        let enter = |past| spares.enter(past, Waker::noop());
        let wanted = [spares.want(), spares.want()];
        for wanted in &wanted {
            wanted.again();
        }
        assert!(!is_taken(&enter(Past::Silent)));
        assert!(is_taken(&enter(Past::Answered)));
        assert!(is_taken(&enter(Past::Answered)));
        assert!(!is_taken(&enter(Past::Answered)));
        drop(wanted);
        drop(spares.want());
        assert!(!is_taken(&enter(Past::Answered)));
    }

    #[test]
    fn one_that_is_asked_again_is_not_in_the_queue_any_more() {
        let spares = Arc::new(Spares::default());
        drop(spares.enter(Past::Answered, Waker::noop()));
        assert!(lock(&spares.queue).idle.is_empty());
    }
}
