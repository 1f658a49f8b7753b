//! Looks whether the files of a listener's TLS have changed, and takes them up.
//!
//! Files are looked at, not read, every few seconds; links are followed, as Kubernetes swaps them. A change counts once it has
//! stood for one more look, so that a certificate and its key may be written one after the other.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{Prepared, Tls, TlsError, files};
use crate::config;
use crate::files::{LOOK_AGAIN, Stamp};
use crate::metrics::{self, Loaded};
use crate::sync::lock;

/// How long before a certificate ends that is said, and how often.
const SOON: Duration = Duration::from_hours(14 * 24);
const WARN_EVERY: Duration = Duration::from_hours(24);

/// What files look like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Looks(Vec<Option<Stamp>>);

impl Looks {
    pub(super) fn of(files: &config::Tls) -> Self {
        let clients = files.clients.as_ref().map(|clients| &clients.file);
        let all = [Some(&files.certificate), Some(&files.key), clients];
        Self(
            all.into_iter()
                .flatten()
                .map(|file| Stamp::of(file))
                .collect(),
        )
    }
}

impl Tls {
    /// Keeps up with the files for as long as it is polled.
    pub async fn watch(self) {
        let mut settling = None;
        let mut warned: Option<Instant> = None;
        loop {
            if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY)
                && let Some(ending) = self.ending()
            {
                tracing::warn!("{ending}");
                warned = Some(Instant::now());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            let (files, seen) = {
                let named = lock(&self.0.named);
                (named.files.clone(), named.seen.clone())
            };
            let tls = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let looks = Looks::of(&files);
                // Read only where it has to be.
                let is_settled = settling.as_ref() == Some(&looks);
                if looks != seen && is_settled {
                    tls.read_again(&files, &looks);
                }
                looks
            });
            settling = looked.await.ok();
        }
    }

    fn read_again(&self, files: &config::Tls, looks: &Looks) {
        let listener = self.0.listener;
        match self.prepare(files) {
            Ok(prepared) => {
                self.take(prepared);
                tracing::info!(listener = listener.as_str(), "took up a new certificate");
            }
            Err(problem) => {
                metrics::certificate_loaded(listener, Loaded::Unusable);
                tracing::warn!(%problem, "the new files can't be used; those of before count");
                let mut named = lock(&self.0.named);
                named.seen = looks.clone();
                named.problem = Some(problem.to_string());
            }
        }
    }

    /// Reads what `files` name; nothing counts until it is taken.
    pub fn prepare(&self, files: &config::Tls) -> Result<Prepared, TlsError> {
        // Before they are read: what changes meanwhile is seen at the next look.
        let seen = Looks::of(files);
        let present = files::load(self.0.listener, files)?;
        Ok(Prepared {
            files: files.clone(),
            seen,
            present,
        })
    }

    /// From now on handshakes take this.
    pub fn take(&self, prepared: Prepared) {
        let listener = self.0.listener;
        metrics::certificate_loaded(listener, Loaded::New);
        metrics::certificate(listener, prepared.present.expires);
        self.set(prepared);
    }

    /// That the certificate has ended or ends soon, where it does: for the operator.
    pub fn ending(&self) -> Option<String> {
        let left = self.expires().duration_since(SystemTime::now());
        let left = left.unwrap_or_default();
        let table = files::table(self.0.listener);
        if left.is_zero() {
            return Some(format!(
                "the certificate of {table} has ended, and clients refuse it: put a new one into its files"
            ));
        }
        let days = left.as_secs() / 86_400;
        (left <= SOON).then(|| {
            format!("the certificate of {table} ends in {days} d: put a new one into its files")
        })
    }
}
