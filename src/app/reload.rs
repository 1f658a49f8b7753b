//! Goes by another configuration while clients are served: on SIGHUP it is read again, from the same file, environment and
//! flags.
//!
//! All of it is made ready before any of it counts: where one thing is wrong, everything stays as it was. A request keeps what
//! it began with. What can't be changed while the mirror runs stays, and is named.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::signal::unix::Signal;
use tokio::task::JoinHandle;

use super::RunError;
use super::listeners::Certificates;
use super::logging::Levels;
use super::notify::Notifier;
use crate::access::Gate;
use crate::admin::{Admin, Configured};
use crate::config::{self, Config, ConfigErrors, Sources};
use crate::http::{Api, Clients};
use crate::metrics::{self, Loaded};
use crate::mirror::Mirror;
use crate::server::tls::{Prepared, Tls, TlsError};
use crate::status::AccessFile;

/// The API that requests are answered by which begin now. A clone is the same.
#[derive(Clone)]
pub(super) struct Present(Arc<RwLock<Arc<Api>>>);

impl Present {
    pub(super) fn new(api: Api) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(api))))
    }

    pub(super) fn get(&self) -> Arc<Api> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Files of logins that do not count as they are.
    pub(super) fn access_files(&self) -> Vec<AccessFile> {
        let troubles = self.get().gate().troubles().into_iter();
        let told = troubles.map(|trouble| AccessFile {
            error: trouble.error,
            since: unix(trouble.since),
        });
        told.collect()
    }

    fn set(&self, api: Api) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(api);
    }
}

fn unix(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Why a configuration is not gone by.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Run(#[from] RunError),
}

impl From<TlsError> for ReloadError {
    fn from(error: TlsError) -> Self {
        Self::Run(error.into())
    }
}

/// Everything that a configuration decides upon.
pub(super) struct Reload {
    pub(super) sources: Sources,
    pub(super) running: Config,
    pub(super) present: Present,
    pub(super) mirror: Mirror,
    pub(super) clients: Clients,
    /// Keeps up with the files of the present gate.
    pub(super) gatekeeper: JoinHandle<()>,
    pub(super) certificates: Certificates,
    pub(super) levels: Levels,
    pub(super) admin: Admin,
    pub(super) notifier: Notifier,
}

/// A configuration, and what was made of it.
struct Made {
    config: Config,
    staying: Vec<String>,
    mirror: Mirror,
    gate: Gate,
    certificates: [Option<(Tls, Prepared)>; 2],
}

impl Reload {
    /// Reads the configuration each time that it is told to.
    pub(super) async fn run(mut self, mut hangups: Signal) {
        while hangups.recv().await.is_some() {
            self.notifier.reloading();
            match self.make().await {
                Ok(made) => self.go_by(made),
                Err(error) => self.refuse(&error),
            }
            self.notifier.ready();
        }
    }

    async fn make(&self) -> Result<Made, ReloadError> {
        let (sources, running) = (self.sources.clone(), self.running.clone());
        let (mirror, certificates) = (self.mirror.clone(), self.certificates.clone());
        let present = self.present.get();
        // Reads files.
        let made = tokio::task::spawn_blocking(move || {
            let (config, staying) = Config::load(sources)?.taking_effect(&running);
            let prepared = |tls: Option<Tls>, files: &Option<config::Tls>| {
                let (Some(tls), Some(files)) = (tls, files) else {
                    return Ok(None);
                };
                let prepared = tls.prepare(files)?;
                Ok::<_, TlsError>(Some((tls, prepared)))
            };
            let certificates = [
                prepared(certificates.clients, &config.server.tls)?,
                prepared(certificates.admin, &config.admin.tls)?,
            ];
            let mirror = mirror.reconfigured(&config).map_err(RunError::from)?;
            // One that stays has read its files since, and they may let in fewer than they did.
            let gate = if staying.iter().any(|key| key == Config::ACCESS) {
                present.gate().clone()
            } else {
                present.gate().reconfigured(&config)
            };
            Ok(Made {
                config,
                staying,
                mirror,
                gate,
                certificates,
            })
        });
        made.await
            .map_err(|error| RunError::Process(error.into()))?
    }

    fn go_by(&mut self, made: Made) {
        let Made {
            config,
            staying,
            mirror,
            gate,
            certificates,
        } = made;
        for (tls, prepared) in certificates.into_iter().flatten() {
            tls.take(prepared);
        }
        self.levels.set(config.log.level);
        self.gatekeeper.abort();
        self.gatekeeper = tokio::spawn(gate.clone().upkeep());
        // A request takes them with the rest of its configuration, a connection by itself.
        let terms = self.clients.terms().reconfigured(&config);
        let api = self.present.get();
        self.present
            .set(api.reconfigured(mirror.clone(), Arc::clone(&terms), gate));
        self.clients.go_by(terms);
        self.admin.reconfigured(mirror.clone());
        self.admin.configured(Configured {
            at: SystemTime::now(),
            staying: staying.clone(),
            problem: None,
        });
        metrics::config_reloaded(Loaded::New);
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        tracing::info!("the configuration was read again, and counts");
        if !staying.is_empty() {
            tracing::warn!(
                keys = staying.join(", "),
                "these keys have changed, and count after a restart only"
            );
        }
        mirror.ask_new_quotas(&self.mirror);
        std::mem::replace(&mut self.mirror, mirror).replaced();
        self.running = config;
    }

    fn refuse(&self, error: &ReloadError) {
        match error {
            ReloadError::Config(errors) => {
                for error in errors.iter() {
                    tracing::error!("{error}");
                }
            }
            ReloadError::Run(error) => tracing::error!("{error}"),
        }
        tracing::error!("the configuration can't be used, and stays as it was");
        metrics::config_reloaded(Loaded::Unusable);
        self.admin.refused(error.to_string());
    }
}
