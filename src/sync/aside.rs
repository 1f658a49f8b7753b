//! A wait beside a task's work.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use super::lock;

/// What a task waits for all the while that it does something else. It is polled when it was woken itself, and not whenever
/// its task is. Once it was ready it is not to be polled again.
///
/// A connection waits for the server's end all its life, by futures that take a lock at each poll, which all connections share.
#[derive(Debug)]
pub struct Aside<F> {
    future: F,
    bell: Arc<Bell>,
    /// Whom the bell wakes, here as well so that it need not be asked.
    task: Option<Waker>,
}

#[derive(Debug)]
struct Bell {
    has_rung: AtomicBool,
    /// Whom it wakes, each time.
    task: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        let task = lock(&self.task).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<F> Aside<F> {
    /// Beside whatever else its task does.
    pub fn new(future: F) -> Self {
        let bell = Bell {
            // So that it is polled once.
            has_rung: AtomicBool::new(true),
            task: Mutex::default(),
        };
        Self {
            future,
            bell: Arc::new(bell),
            task: None,
        }
    }
}

impl<F: Future + Unpin> Future for Aside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let (bell, task) = (&this.bell, cx.waker());
        if !this.task.as_ref().is_some_and(|it| it.will_wake(task)) {
            *lock(&bell.task) = Some(task.clone());
            this.task = Some(task.clone());
        }
        // Looked at once the bell knows the task: whoever rings it from now on wakes that.
        if !bell.has_rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        bell.has_rung.swap(false, Ordering::AcqRel);
        let bell = Waker::from(Arc::clone(&this.bell));
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&bell))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    use tokio_util::sync::CancellationToken;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_is_polled_once_and_then_only_when_it_was_woken_itself() {
        let (stop, polls) = (CancellationToken::new(), AtomicUsize::new(0));
        let mut stopped = pin!(stop.cancelled());
        let counted = poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            stopped.as_mut().poll(cx)
        });
        let mut aside = pin!(Aside::new(counted));
        let woken = Arc::<Woken>::default();
        let task = Waker::from(Arc::clone(&woken));
        for _ in 0..3 {
            let mut cx = Context::from_waker(&task);
            assert!(aside.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        stop.cancel();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        let mut cx = Context::from_waker(&task);
        assert!(aside.as_mut().poll(&mut cx).is_ready());
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn it_is_woken_as_often_as_it_is_rung() {
        let mut polls = 0;
        let mut aside = pin!(Aside::new(poll_fn(|_| {
            polls += 1;
            if polls < 4 {
                return Poll::Pending;
            }
            Poll::Ready(())
        })));
        let woken = Arc::<Woken>::default();
        let task = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&task);
        assert!(aside.as_mut().poll(&mut cx).is_pending());
        let ring = Waker::from(Arc::clone(&aside.bell));
        for times in 1..=3 {
            ring.wake_by_ref();
            assert_eq!(woken.0.load(Ordering::Relaxed), times);
            let polled = aside.as_mut().poll(&mut cx);
            assert_eq!(polled.is_ready(), times == 3, "{times}");
        }
    }

    #[test]
    fn the_task_that_polled_last_is_woken() {
        let stop = CancellationToken::new();
        let mut aside = pin!(Aside::new(Box::pin(stop.cancelled())));
        let tasks = [Arc::<Woken>::default(), Arc::default()];
        for task in &tasks {
            let task = Waker::from(Arc::clone(task));
            let mut cx = Context::from_waker(&task);
            assert!(aside.as_mut().poll(&mut cx).is_pending());
        }
        stop.cancel();
        assert_eq!(tasks.map(|task| task.0.load(Ordering::Relaxed)), [0, 1]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_wake_from_another_thread_is_never_lost() {
        for _ in 0..2_000 {
            let stop = CancellationToken::new();
            let waiting = tokio::spawn({
                let stop = stop.clone();
                async move { Aside::new(pin!(stop.cancelled())).await }
            });
            stop.cancel();
            waiting.await.unwrap();
        }
    }
}
