//! TLS of one listener: the certificate that is shown now, and the handshakes.
//!
//! What is read from files (`files`) is one value, which is swapped as a whole: a handshake takes the one that is there when it
//! begins, and connections keep theirs. `watch` looks whether the files have changed. Handshakes (`handshake`) are a part of
//! their connection's task. What a client has shown in one (`identity`) counts for as long as it is valid, and its authority is
//! one of those that count.
//!
//! Speaks HTTP/1.1 only, over TLS 1.2 and 1.3. Where clients show certificates no session is resumed, so that each
//! connection's was looked at when it began.

mod files;
mod handshake;
mod identity;
mod length;
mod names;
mod watch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use tokio::sync::Semaphore;

use files::Authority;
pub use files::TlsError;
pub(super) use handshake::shake;
pub(super) use identity::{Identity, Proven};
pub(super) use length::Length;

use super::accept::Seldom;
use crate::config;
pub use crate::files::pem::gather_randomness;
use crate::metrics::{self, Listener, Loaded};
use crate::sync::lock;
use watch::Looks;

/// TLS of one listener. A clone is the same.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    listener: Listener,
    present: RwLock<Arc<Present>>,
    /// How often what is asked of clients' certificates has changed.
    generation: AtomicU64,
    named: Mutex<Named>,
    /// How many readings have begun.
    readings: AtomicU64,
    /// One permit for each handshake that may compute at the same time.
    turns: Arc<Semaphore>,
    /// One permit for each handshake that may be long.
    long: Arc<Semaphore>,
    /// When it was said that one failed.
    failing: Mutex<Seldom>,
}

/// What handshakes take now.
#[derive(Debug)]
struct Present {
    config: Arc<ServerConfig>,
    expires: SystemTime,
    /// Whose certificates clients show, where they show any.
    clients: Option<Authority>,
}

/// Where it comes from.
#[derive(Debug)]
struct Named {
    /// The last that counts, whether or not the files could be used.
    reading: Reading,
    /// Why not, if not.
    problem: Option<String>,
}

/// One reading of a listener's files.
#[derive(Clone, Debug)]
struct Reading {
    files: config::Tls,
    /// How they looked before they were read: what changes meanwhile is seen at the next look.
    seen: Looks,
    /// The greater was begun later.
    number: u64,
}

/// What was read, and is yet to be taken.
#[derive(Debug)]
pub struct Prepared {
    reading: Reading,
    present: Present,
}

/// How a listener's certificate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Of which listener.
    pub listener: Listener,
    /// When the certificate that is shown, or one between it and its authority, is no longer valid.
    pub expires: SystemTime,
    /// Why newer files are not used, where there are such.
    pub problem: Option<String>,
}

impl Tls {
    /// Reads what `files` name; the error is for the operator.
    pub fn load(listener: Listener, files: &config::Tls) -> Result<Self, TlsError> {
        let reading = Reading {
            files: files.clone(),
            seen: Looks::of(files),
            number: 0,
        };
        let present = files::load(listener, files)?;
        metrics::certificate(listener, present.expires);
        // Half of the processors are left to those whose handshake is over.
        let turns =
            std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
        Ok(Self(Arc::new(Inner {
            listener,
            present: RwLock::new(Arc::new(present)),
            generation: AtomicU64::new(0),
            named: Mutex::new(Named {
                reading,
                problem: None,
            }),
            readings: AtomicU64::new(1),
            turns: Arc::new(Semaphore::new(turns)),
            long: Arc::new(Semaphore::new(length::LONG_AT_ONCE)),
            failing: Mutex::default(),
        })))
    }

    /// When the certificate that is shown, or one between it and its authority, is no longer valid.
    pub fn expires(&self) -> SystemTime {
        self.present().expires
    }

    /// How its certificate stands.
    pub fn standing(&self) -> Standing {
        Standing {
            listener: self.0.listener,
            expires: self.expires(),
            problem: lock(&self.0.named).problem.clone(),
        }
    }

    /// Takes what was read, where `named` is what it is known by: under its lock, so that both are of one reading.
    fn set(&self, named: &mut Named, prepared: Prepared) {
        let Prepared { reading, present } = prepared;
        metrics::certificate_loaded(self.0.listener, Loaded::New);
        metrics::certificate(self.0.listener, present.expires);
        *named = Named {
            reading,
            problem: None,
        };
        let mut before = self.0.present.write();
        let before = before.as_deref_mut();
        let before = before.unwrap_or_else(|poisoned| poisoned.get_mut());
        if before.clients != present.clients {
            self.0.generation.fetch_add(1, Ordering::Release);
        }
        *before = Arc::new(present);
    }

    fn present(&self) -> Arc<Present> {
        let present = self.0.present.read();
        Arc::clone(&present.unwrap_or_else(PoisonError::into_inner))
    }
}
