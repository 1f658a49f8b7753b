//! A number that is looked at over and over while a test runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinHandle;

/// The highest that a number was, as far as it was seen.
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    thread: JoinHandle<u64>,
}

impl Sampler {
    pub(crate) fn start(look: impl Fn() -> u64 + Send + 'static) -> Self {
        let (stop, most) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, highest) = (Arc::clone(&stop), Arc::clone(&most));
        let thread = tokio::task::spawn_blocking(move || {
            let mut samples = 0;
            while !stopped.load(Ordering::Relaxed) {
                highest.fetch_max(look(), Ordering::Relaxed);
                samples += 1;
            }
            samples
        });
        Self { stop, most, thread }
    }

    /// How often it was looked at, and the highest that it was.
    pub(crate) async fn stop(mut self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let samples = (&mut self.thread).await.unwrap();
        (samples, self.most.load(Ordering::Relaxed))
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // A test that fails must not wait for it.
        self.stop.store(true, Ordering::Relaxed);
    }
}
