//! The mirror's own background work: a stop waits for it, and it can tell that there is one.
//!
//! Owns the tracker and the signal. Fills have their own, see [`super::fill::table`].

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tracked tasks, and the signal to stop. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs `work` to its end. A stop waits for it, so it must not wait for an upstream.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(work);
    }

    /// The result of `work`, or `None` where the mirror stops first.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.stop.run_until_cancelled(work).await
    }

    /// Whether the mirror is stopping.
    pub fn are_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Tells the tasks to stop, and waits until the last of them has ended.
    pub async fn finish(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
