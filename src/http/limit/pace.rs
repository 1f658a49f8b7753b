//! The pace of one body, which is its client's over all of that client's bodies.
//!
//! A chunk is paid for before it goes out. What is unpaid stands still in the body, and its source is not asked for more
//! meanwhile: a fill goes on all the same, its readers follow its file at their own speed. No thread, file or pool waits
//! along; only a reader that is alone with an upstream, since the disk has failed, lets that one wait as well.
//!
//! A body waits in its client's line only while its connection wants more of it, so that a client that has stopped to read
//! one of its bodies does not stop the others.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::{CELL, Client, metrics};

/// See the file's own words.
pub(in crate::http) struct Pace {
    client: Arc<Client>,
    /// Bytes that are not paid for.
    owed: u64,
    /// The wait for the client's next turn.
    paying: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    delayed: bool,
}

impl Pace {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self {
            client,
            // A body's last, partial cell counts whole.
            owed: CELL - 1,
            paying: None,
            delayed: false,
        }
    }

    /// These many bytes are to be paid for.
    pub(in crate::http) fn owe(&mut self, bytes: usize) {
        self.owed += bytes as u64;
    }

    /// Ready when everything is paid for.
    pub(in crate::http) fn poll_paid(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(paying) = &mut self.paying {
                ready!(paying.as_mut().poll(cx));
                self.paying = None;
            }
            let Some(pacer) = &self.client.bytes else {
                return Poll::Ready(());
            };
            let cells = u32::try_from(self.owed / CELL).unwrap_or(u32::MAX);
            let Some(cells) = NonZeroU32::new(cells) else {
                return Poll::Ready(());
            };
            let cells = cells.min(pacer.burst());
            self.owed -= u64::from(cells.get()) * CELL;
            if !pacer.try_take(cells) {
                self.wait(cells);
            }
        }
    }

    fn wait(&mut self, cells: NonZeroU32) {
        if !std::mem::replace(&mut self.delayed, true) {
            metrics::client_delayed(metrics::ClientLimit::Bytes);
        }
        let client = Arc::clone(&self.client);
        self.paying = Some(Box::pin(async move {
            if let Some(pacer) = &client.bytes {
                pacer.take(cells).await;
            }
        }));
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace")
            .field("owed", &self.owed)
            .finish_non_exhaustive()
    }
}
