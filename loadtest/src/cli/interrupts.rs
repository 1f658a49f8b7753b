//! SIGINT and SIGTERM, by which whoever started something ends it first.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals to end, which end nothing by themselves from then on that they are listened for.
pub(super) struct Interrupts([Signal; 2]);

impl Interrupts {
    pub(super) fn listen() -> io::Result<Self> {
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        Ok(Self([interrupt?, terminate?]))
    }

    /// Waits for one, which is an error.
    pub(super) async fn next(&mut self) -> io::Error {
        let [interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        io::ErrorKind::Interrupted.into()
    }
}
