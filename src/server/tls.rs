//! TLS of one listener: the certificate that is shown now, and the handshakes.
//!
//! What is read from files (`files`) is one value, which is swapped as a whole: a handshake takes the one that is there when it
//! begins, and connections keep theirs. `watch` looks whether the files have changed. Handshakes (`handshake`) are a part of
//! their connection's task.
//!
//! Speaks HTTP/1.1 only, over TLS 1.2 and 1.3. Where clients show certificates no session is resumed, so that each
//! connection's was looked at when it began, by the authorities of that time.

mod files;
mod handshake;
mod names;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use tokio::sync::Semaphore;

pub use files::TlsError;
pub(super) use handshake::shake;

use crate::config;
use crate::metrics::{self, Listener};

/// TLS of one listener. A clone is the same.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    listener: Listener,
    present: RwLock<Present>,
    /// One permit for each handshake that may compute at the same time.
    turns: Arc<Semaphore>,
}

/// What handshakes take now.
#[derive(Clone, Debug)]
struct Present {
    config: Arc<ServerConfig>,
    expires: SystemTime,
}

impl Tls {
    /// Reads what `files` name; the error is for the operator.
    pub fn load(listener: Listener, files: &config::Tls) -> Result<Self, TlsError> {
        let present = files::load(listener, files)?;
        metrics::certificate(listener, present.expires);
        // Half of the processors are left to those whose handshake is over.
        let turns =
            std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
        Ok(Self(Arc::new(Inner {
            listener,
            present: RwLock::new(present),
            turns: Arc::new(Semaphore::new(turns)),
        })))
    }

    /// When the certificate that is shown, or one between it and its authority, is no longer valid.
    pub fn expires(&self) -> SystemTime {
        self.present().expires
    }

    fn present(&self) -> Present {
        let present = self.0.present.read();
        present.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
