//! Single flight: many callers that want the same thing share one piece of work and all get its result.
//!
//! The work runs as a task of its own, so no caller's departure cancels it for the others, and its result goes out
//! through a `watch` cell, so every waiter sees it. A stop of the mirror ends it. So does the departure of its last caller
//! where it only waits for its turn at a quota, which others wait for too. Owns the table of work under way and nothing else.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::tasks::Tasks;
use crate::sync::lock;
use crate::upstream::Hold;

/// The work went away without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// The mirror is stopping.
    Stopping,
    /// It panicked.
    Panicked,
}

type Cell<V> = watch::Receiver<Option<V>>;
type Table<K, V> = Arc<Mutex<HashMap<K, Running<V>>>>;

struct Running<V> {
    cell: Cell<V>,
    /// Each caller who waits has a receiver of it.
    wanted: Arc<watch::Sender<()>>,
}

/// A caller's part in a piece of work.
struct Share<V> {
    cell: Cell<V>,
    joined: bool,
    _wants: watch::Receiver<()>,
}

/// Work under way, by key.
pub struct SingleFlight<K, V> {
    running: Table<K, V>,
    tasks: Tasks,
}

impl<K, V> fmt::Debug for SingleFlight<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight").finish_non_exhaustive()
    }
}

impl<K, V> SingleFlight<K, V> {
    /// Nothing under way; what will be is among `tasks`.
    pub fn new(tasks: Tasks) -> Self {
        Self {
            running: Arc::default(),
            tasks,
        }
    }
}

impl<K, V> SingleFlight<K, V>
where
    K: Hash + Eq + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The result of `work` for `key`: of the run under way where there is one, else of one started now.
    ///
    /// `true` comes with the result where another caller had started it.
    pub async fn run<F>(&self, key: K, work: impl FnOnce() -> F) -> Result<(V, bool), Abandoned>
    where
        F: Future<Output = V> + Send + 'static,
    {
        self.run_while_wanted(key, |_| work()).await
    }

    /// As [`SingleFlight::run`]; while the work says that it only waits, it ends when no caller is left.
    pub async fn run_while_wanted<F>(
        &self,
        key: K,
        work: impl FnOnce(Hold) -> F,
    ) -> Result<(V, bool), Abandoned>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut share = self.join(key, work);
        let joined = share.joined;
        let value = match share.cell.wait_for(Option::is_some).await {
            Ok(value) => value.clone(),
            Err(_) => None,
        };
        match value {
            Some(value) => Ok((value, joined)),
            None if self.tasks.are_stopping() => Err(Abandoned::Stopping),
            None => Err(Abandoned::Panicked),
        }
    }

    /// Starts `work` for `key` unless it is under way; waits for nothing.
    pub fn start<F>(&self, key: K, work: impl FnOnce() -> F)
    where
        F: Future<Output = V> + Send + 'static,
    {
        drop(self.join(key, |_| work()));
    }

    fn join<F>(&self, key: K, work: impl FnOnce(Hold) -> F) -> Share<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut running = lock(&self.running);
        let vacant = match running.entry(key) {
            Entry::Occupied(entry) => {
                let running = entry.get();
                return Share {
                    cell: running.cell.clone(),
                    joined: true,
                    _wants: running.wanted.subscribe(),
                };
            }
            Entry::Vacant(entry) => entry,
        };
        let (sender, receiver) = watch::channel(None);
        let (wanted, wants) = watch::channel(());
        let wanted = Arc::new(wanted);
        let mut landing = Landing {
            table: Arc::clone(&self.running),
            key: vacant.key().clone(),
            wanted: Arc::clone(&wanted),
            is_gone: false,
        };
        let cell = receiver.clone();
        vacant.insert(Running { cell, wanted });
        drop(running);
        let hold = Hold::default();
        let work = work(hold.clone());
        let tasks = self.tasks.clone();
        // Detached from its callers; it ends by itself, or when the mirror stops, or when it waits for nobody.
        self.tasks.spawn(async move {
            let value = tokio::select! {
                value = tasks.unless_stopped(work) => value,
                () = landing.unwanted(&hold) => None,
            };
            // Out of the table first: whoever comes now starts anew instead of joining what is over.
            drop(landing);
            if value.is_some() {
                sender.send_replace(value);
            }
        });
        Share {
            cell: receiver,
            joined: false,
            _wants: wants,
        }
    }
}

/// Takes the key out of the table when the work ends, a panic included.
struct Landing<K: Hash + Eq, V> {
    table: Table<K, V>,
    key: K,
    wanted: Arc<watch::Sender<()>>,
    is_gone: bool,
}

impl<K: Hash + Eq, V> Landing<K, V> {
    /// Waits until the work waits for nobody, and takes its key out of the table before anyone can join it.
    async fn unwanted(&mut self, hold: &Hold) {
        loop {
            hold.begun().await;
            self.wanted.closed().await;
            let mut table = lock(&self.table);
            if hold.is_on() && self.wanted.is_closed() {
                table.remove(&self.key);
                self.is_gone = true;
                return;
            }
        }
    }
}

impl<K: Hash + Eq, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        if !self.is_gone {
            lock(&self.table).remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;
    use crate::mirror::MirrorError;

    #[tokio::test]
    async fn callers_of_one_key_share_one_run_and_its_result() {
        let flights = Arc::new(SingleFlight::<&str, usize>::new(Tasks::default()));
        let runs = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Notify::new());
        let mut callers = Vec::new();
        for _ in 0..50 {
            let (runs, gate) = (Arc::clone(&runs), Arc::clone(&gate));
            let flights = Arc::clone(&flights);
            callers.push(tokio::spawn(async move {
                let work = || async move {
                    runs.fetch_add(1, Ordering::Relaxed);
                    gate.notified().await;
                    7
                };
                flights.run("key", work).await
            }));
        }
        tokio::task::yield_now().await;
        gate.notify_one();
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap().0, 7);
        }
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn work_goes_on_when_its_first_caller_leaves() {
        let flights = SingleFlight::<u8, u8>::new(Tasks::default());
        let gate = Arc::new(Notify::new());
        let held = Arc::clone(&gate);
        let first = flights.run(1, || async move {
            held.notified().await;
            9
        });
        // Polled once, so that it starts, then dropped.
        assert!(futures_util::poll!(Box::pin(first)).is_pending());
        let second = flights.run(1, || async { unreachable!("joins the run under way") });
        gate.notify_one();
        assert_eq!(second.await, Ok((9, true)));
    }

    /// Whoever asked for thousands of tags and hung up had places in the queue for a quota, and its pulls, for nobody.
    #[tokio::test]
    async fn work_that_only_waits_ends_with_its_last_caller() {
        let flights = SingleFlight::<u8, u8>::new(Tasks::default());
        let (alive, mut is_over) = watch::channel(());
        let waits = |hold: Hold| async move {
            let _holding = hold.begin();
            let _alive = alive;
            std::future::pending().await
        };
        let mut first = Box::pin(flights.run_while_wanted(1, waits));
        assert!(futures_util::poll!(&mut first).is_pending());
        let unused = |_| async { unreachable!("joins the run under way") };
        let mut second = Box::pin(flights.run_while_wanted(1, unused));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(is_over.has_changed().is_ok(), "one still wants it");
        drop(second);
        assert!(is_over.changed().await.is_err(), "it has ended");
        assert_eq!(flights.run(1, || async { 5 }).await, Ok((5, false)));
    }

    #[tokio::test]
    async fn work_that_panics_is_reported_to_every_waiter_and_forgotten() {
        let flights = SingleFlight::<u8, u8>::new(Tasks::default());
        let failed = flights.run(1, || async { panic!("injected") }).await;
        assert_eq!(failed, Err(Abandoned::Panicked));
        let told = MirrorError::from(Abandoned::Panicked);
        assert_eq!(told, MirrorError::Internal, "nothing is stopping");
        assert_eq!(flights.run(1, || async { 3 }).await, Ok((3, false)));
    }

    #[tokio::test]
    async fn a_stop_ends_work_that_waits_and_its_waiters_are_told_why() {
        let tasks = Tasks::default();
        let flights = SingleFlight::<u8, u8>::new(tasks.clone());
        let waits = flights.run(1, std::future::pending);
        let (abandoned, ()) = tokio::join!(waits, tasks.finish());
        assert_eq!(abandoned, Err(Abandoned::Stopping));
    }
}
