//! Lines on their way out, some at a time: a write to a pipe or a file takes longer than the line did to make.
//!
//! A line waits for as long as it may, for [`HELD`] bytes, or for one that is urgent, whichever is first. Who writes while
//! nobody takes them waits, as it would without this: nothing is lost, and what is held is bounded. A kill takes what
//! waits with it.
//!
//! Owns what is held, and the thread that sees to it.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::http::REQUESTS;
use crate::sync::lock;

/// What is held before it is written by whoever adds to it.
const HELD: usize = 64 << 10;

/// Lines on their way to `W`. Clones are the same.
pub(super) struct Lines<W: 'static>(Arc<Inner<W>>);

struct Inner<W> {
    held: Mutex<Vec<u8>>,
    /// There is something to be seen to.
    begun: Condvar,
    /// Taken before what is held is, so that lines stay in order.
    out: Mutex<W>,
    /// How long a line may wait.
    wait: Duration,
    /// Whether each line goes out at once.
    at_once: AtomicBool,
}

impl<W> Clone for Lines<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Write + Send> Lines<W> {
    /// Lines to `out`, where each may wait for so long. Where it may not wait, it goes out at once.
    pub(super) fn to(out: W, wait: Duration) -> Self {
        let at_once = wait.is_zero();
        let lines = Self(Arc::new(Inner {
            held: Mutex::default(),
            begun: Condvar::new(),
            out: Mutex::new(out),
            wait,
            at_once: AtomicBool::new(at_once),
        }));
        if !at_once {
            let seen_to = lines.clone();
            let thread = thread::Builder::new().name("log".to_owned());
            // Detached: it ends with the process, after a flush.
            let spawned = thread.spawn(move || seen_to.see_to());
            lines.0.at_once.store(spawned.is_err(), Ordering::Relaxed);
        }
        lines
    }

    /// Writes what is held.
    pub(super) fn flush(&self) {
        let mut out = lock(&self.0.out);
        let mut lines = std::mem::take(&mut *lock(&self.0.held));
        // There is nobody to tell.
        let _ = out.write_all(&lines).and_then(|()| out.flush());
        lines.clear();
        let mut held = lock(&self.0.held);
        if held.is_empty() && lines.capacity() <= 2 * HELD {
            *held = lines;
        }
    }

    fn see_to(&self) {
        loop {
            let held = lock(&self.0.held);
            let held = self.0.begun.wait_while(held, |held| held.is_empty());
            drop(held.unwrap_or_else(PoisonError::into_inner));
            // Others may come meanwhile.
            thread::sleep(self.0.wait);
            self.flush();
        }
    }

    fn add(&self, line: &[u8], is_urgent: bool) {
        let mut held = lock(&self.0.held);
        let is_first = held.is_empty();
        held.extend_from_slice(line);
        let is_full = held.len() >= HELD;
        drop(held);
        if is_urgent || is_full || self.0.at_once.load(Ordering::Relaxed) {
            self.flush();
        } else if is_first {
            self.0.begun.notify_one();
        }
    }
}

/// Where one event's line goes.
pub(super) struct Line<'a, W: 'static> {
    lines: &'a Lines<W>,
    is_urgent: bool,
}

impl<W: Write + Send> Write for Line<'_, W> {
    /// `tracing` writes each line whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.add(line, self.is_urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a, W: Write + Send> MakeWriter<'a> for Lines<W> {
    type Writer = Line<'a, W>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            lines: self,
            is_urgent: true,
        }
    }

    /// Whatever an operator may be waiting for is urgent.
    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        let is_request = event.target() == REQUESTS && *event.level() == Level::INFO;
        Line {
            lines: self,
            is_urgent: !is_request,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes nothing until it is let.
    #[derive(Clone, Default)]
    struct Slow(Arc<Gate>);

    #[derive(Default)]
    struct Gate {
        state: Mutex<State>,
        changed: Condvar,
    }

    #[derive(Default)]
    struct State {
        taken: Vec<u8>,
        is_open: bool,
    }

    impl Slow {
        fn let_go(&self) {
            lock(&self.0.state).is_open = true;
            self.0.changed.notify_all();
        }

        fn taken(&self) -> usize {
            lock(&self.0.state).taken.len()
        }

        /// Waits until it has so many bytes.
        fn until(&self, bytes: usize) {
            let state = lock(&self.0.state);
            let waited = self
                .0
                .changed
                .wait_while(state, |it| it.taken.len() < bytes);
            drop(waited.unwrap());
        }
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let state = lock(&self.0.state);
            let mut state = self.0.changed.wait_while(state, |it| !it.is_open).unwrap();
            state.taken.extend_from_slice(bytes);
            self.0.changed.notify_all();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_go_out_in_order_and_without_being_asked_for() {
        let out = Slow::default();
        out.let_go();
        let lines = Lines::to(out.clone(), Duration::from_millis(50));
        lines.add(b"one\n", false);
        lines.add(b"two\n", false);
        out.until(8);
        assert_eq!(lock(&out.0.state).taken, b"one\ntwo\n");
        lines.add(b"three\n", false);
        lines.add(b"now\n", true);
        assert_eq!(out.taken(), 18, "an urgent line takes the others along");
    }

    #[test]
    fn what_nobody_takes_is_bounded_and_not_lost() {
        let out = Slow::default();
        let lines = Lines::to(out.clone(), Duration::from_millis(50));
        let line = [b'x'; 1 << 10];
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let lines = lines.clone();
                thread::spawn(move || (0..200).for_each(|_| lines.add(&line, false)))
            })
            .collect();
        // Each of them adds a line at the most to what is full already, and then waits.
        while writers.iter().all(|writer| !writer.is_finished()) && lock(&lines.0.held).len() < HELD
        {
            thread::yield_now();
        }
        assert!(lock(&lines.0.held).len() <= HELD + 4 * line.len());
        out.let_go();
        for writer in writers {
            writer.join().unwrap();
        }
        lines.flush();
        assert_eq!(out.taken(), 4 * 200 * line.len());
    }
}
