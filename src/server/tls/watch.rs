//! Looks whether the files of a listener's TLS have changed, and takes them up.
//!
//! Files are looked at, not read, every few seconds; links are followed, as Kubernetes swaps them. A change counts once it has
//! stood for one more look, so that a certificate and its key may be written one after the other.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{Named, Prepared, Reading, Tls, TlsError, files};
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

impl Reading {
    /// Whether it is a later one of the same files.
    fn follows(&self, other: &Self) -> bool {
        self.files == other.files && self.number > other.number
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
            let Reading { files, seen, .. } = lock(&self.0.named).reading.clone();
            let tls = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let looks = Looks::of(&files);
                // Read only where it has to be.
                let is_settled = settling.as_ref() == Some(&looks);
                if looks != seen && is_settled {
                    tls.read_again(tls.begin(&files));
                }
                looks
            });
            settling = looked.await.ok();
        }
    }

    /// What comes of it counts only if the configuration names these files still, and nobody has read them since.
    fn read_again(&self, reading: Reading) {
        let listener = self.0.listener;
        let read = files::load(listener, &reading.files);
        let mut named = lock(&self.0.named);
        if !reading.follows(&named.reading) {
            return;
        }
        match read {
            Ok(present) => {
                self.set(&mut named, Prepared { reading, present });
                drop(named);
                tracing::info!(listener = listener.as_str(), "took up a new certificate");
            }
            Err(problem) => {
                *named = Named {
                    reading,
                    problem: Some(problem.to_string()),
                };
                drop(named);
                metrics::certificate_loaded(listener, Loaded::Unusable);
                tracing::warn!(%problem, "the new files can't be used; those of before count");
            }
        }
    }

    fn begin(&self, files: &config::Tls) -> Reading {
        Reading {
            files: files.clone(),
            number: self.0.readings.fetch_add(1, Ordering::Relaxed),
            seen: Looks::of(files),
        }
    }

    /// Reads what `files` name; nothing counts until it is taken.
    pub fn prepare(&self, files: &config::Tls) -> Result<Prepared, TlsError> {
        let reading = self.begin(files);
        let present = files::load(self.0.listener, files)?;
        Ok(Prepared { reading, present })
    }

    /// From now on handshakes take this, unless the same files were read once more since.
    pub fn take(&self, prepared: Prepared) {
        let mut named = lock(&self.0.named);
        let are_others = named.reading.files != prepared.reading.files;
        if are_others || prepared.reading.follows(&named.reading) {
            self.set(&mut named, prepared);
        }
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use forebay_loadtest::certificates::Authority;

    use super::*;
    use crate::metrics::Listener;

    const DAY: Duration = Duration::from_hours(24);

    /// The files of a listener by that name, whose certificate ends in so many days.
    fn write(dir: &Path, name: &str, days: u32) -> config::Tls {
        let end = SystemTime::now() + DAY * days;
        let pair = Authority::new("servers").server_until(&["127.0.0.1"], end);
        let [certificate, key] = pair.write(dir, name).unwrap();
        config::Tls {
            certificate,
            key,
            clients: None,
        }
    }

    /// In how many days the certificate ends that is shown.
    fn shown(tls: &Tls) -> u64 {
        let left = tls.expires().duration_since(SystemTime::now()).unwrap();
        (left + DAY / 2).as_secs() / DAY.as_secs()
    }

    #[test]
    fn what_was_read_earlier_does_not_replace_what_was_read_later() {
        let dir = tempfile::tempdir().unwrap();
        let files = write(dir.path(), "server", 10);
        let tls = Tls::load(Listener::Clients, &files).unwrap();
        let earlier = tls.prepare(&files).unwrap();
        write(dir.path(), "server", 20);
        let later = tls.prepare(&files).unwrap();
        tls.take(later);
        tls.take(earlier);
        assert_eq!(shown(&tls), 20);
        // Nor does what the watch has read meanwhile, good or bad.
        let watched = tls.begin(&files);
        write(dir.path(), "server", 30);
        tls.take(tls.prepare(&files).unwrap());
        std::fs::write(&files.key, "").unwrap();
        tls.read_again(watched);
        assert_eq!((shown(&tls), tls.standing().problem), (30, None));
    }

    /// The old ones would have been watched from then on, too.
    #[test]
    fn what_was_read_of_files_that_are_not_named_any_more_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let [old, new] =
            [("old", 10), ("new", 20)].map(|(name, days)| write(dir.path(), name, days));
        let tls = Tls::load(Listener::Clients, &old).unwrap();
        let prepared = tls.prepare(&new).unwrap();
        // Later than what the reload has read, and still of the old ones.
        let watched = tls.begin(&old);
        tls.take(prepared);
        tls.read_again(watched);
        assert_eq!(shown(&tls), 20);
        assert_eq!(lock(&tls.0.named).reading.files, new);
        // And what a reload names counts, whatever was read of others meanwhile.
        let prepared = tls.prepare(&old).unwrap();
        tls.read_again(tls.begin(&new));
        tls.take(prepared);
        assert_eq!(shown(&tls), 10);
    }
}
