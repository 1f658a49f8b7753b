//! The composition root: the one place that knows all concrete types.
//!
//! A start binds first, so that a taken port is told at once, and so that clients of a restarted
//! mirror wait in the listener's backlog, rather than be refused, while the cache's lock is waited
//! for. The end goes the other way round: drain the clients, pause the fills, close the cache.

mod listeners;
mod logging;
mod notify;
mod privacy;
mod reload;
mod signals;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::access::Gate;
use crate::admin::{Admin, Configured};
use crate::config::{Config, Sources};
use crate::http::{Answering, Api, Certified, Clients, ResponseBody};
use crate::metrics::{InstallError, Listener, Recorder};
use crate::mirror::Mirror;
use crate::server::tls::{self, Tls, TlsError};
use crate::server::{self, descriptors, listen};
use crate::store::{self, OpenError, Store};
use crate::upstream::{self, Report, SetupError, Target, Upstreams};
use listeners::{Certificates, Inherited, Listeners};
use logging::Levels;
use notify::Notifier;
use reload::{Present, Reload};
use signals::Signals;

/// How long pausing the fills and closing the cache may take; what is not written by then is found by
/// the next start's sweep.
const CLOSING: Duration = Duration::from_secs(5);
/// How long a connection waits for a place. Shorter than any client waits for one.
const PLACE_WAIT: Duration = Duration::from_secs(5);
/// Operators are few.
const ADMIN_CONNECTIONS: usize = 64;
/// Their requests are short.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// Why the mirror could not start, or did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A listener's address.
    #[error(transparent)]
    Bind(#[from] listen::BindError),
    /// A socket that was passed on.
    #[error(
        "descriptor {at}, which was passed on to be listened on, is no socket for that: {source}; a socket unit says `ListenStream=` with a port"
    )]
    Inherited {
        /// Its number.
        at: usize,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A listener's certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The cache's directory.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// An upstream's settings.
    #[error(transparent)]
    Upstreams(#[from] SetupError),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] InstallError),
    /// Threads, or signals.
    #[error("cannot set up the process: {0}")]
    Process(#[from] io::Error),
    /// A second signal.
    #[error("told twice to stop; running transfers were cut")]
    Interrupted,
    /// The server ended though nobody told it to.
    #[error("the server failed; this is a bug, please report it with the log before it")]
    ServerFailed,
}

impl RunError {
    /// Whether the configuration is to blame.
    pub fn is_bad_config(&self) -> bool {
        matches!(
            self,
            Self::Tls(_) | Self::Upstreams(SetupError::Certificates { .. })
        )
    }
}

/// Looks at upstreams as a pull would meet them, and tells what is found: beside a running mirror, without its cache.
pub fn probe(
    config: &Config,
    targets: &[Target],
    tell: impl FnMut(Report),
) -> Result<(), RunError> {
    let upstreams = Upstreams::new(config)?;
    let runtime = runtime()?;
    runtime.block_on(upstream::probe(&upstreams, config, targets, tell));
    // A thread may wait for a resolver that does not answer.
    runtime.shutdown_background();
    Ok(())
}

/// What of a configuration can't be told before it is used: whether the listeners' certificates can be. Returns what will be
/// wrong soon.
pub fn look(config: &Config) -> Result<Vec<String>, RunError> {
    let certificates = Certificates::load(config)?;
    Ok(certificates.all().filter_map(Tls::ending).collect())
}

/// Runs the mirror until it is told to stop. On SIGHUP, `sources` are read again.
pub fn run(config: &Config, sources: Sources) -> Result<(), RunError> {
    let levels = logging::init(config.log);
    privacy::keep();
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let inherited = Inherited::take()?;
    let recorder = Recorder::install()?;
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let started = Started {
            inherited,
            levels,
            sources,
            notifier: Notifier::of_process(),
        };
        serve(config, recorder, started).await
    });
    // A thread may sit in a disk that does not answer; the process ends without it.
    runtime.shutdown_background();
    logging::flush();
    ended
}

/// What is there before anything runs.
struct Started {
    inherited: Inherited,
    levels: Levels,
    sources: Sources,
    notifier: Notifier,
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .thread_name("forebay")
        .enable_all()
        .build()
}

async fn serve(config: &Config, recorder: Recorder, started: Started) -> Result<(), RunError> {
    // Detached: it is over in a moment, and nobody waits for it.
    tokio::task::spawn_blocking(tls::gather_randomness);
    let mut signals = Signals::listen()?;
    let hangups = signals::hangups()?;
    let settings = settings(config, descriptors::raise());
    let certificates = Certificates::load(config)?;
    let listeners = Listeners::bind(started.inherited, config)?;
    let admin = Admin::new(recorder);
    admin.configured(Configured::now());
    let told = certificates.clone();
    admin.certificates(Box::new(move || told.standing()));
    let operators = Operators::start(listeners.admin, &certificates, &admin, settings);
    let opened = tokio::select! {
        opened = open(config) => opened?,
        () = signals.next() => return Ok(()),
    };
    let (mirror, store) = opened;
    admin.serving(mirror.clone());
    tracing::info!(cache = %config.cache.dir.display(), "ready");

    let shutdown = CancellationToken::new();
    let clients = Clients::new(config);
    let gate = Gate::new(config);
    // Tied to the process, or until another gate comes: it reads small files, and there is nothing to wait for.
    let gatekeeper = tokio::spawn(gate.clone().upkeep());
    let api = Api::new(mirror.clone(), clients.terms(), gate);
    let present = Present::new(api);
    let told = present.clone();
    admin.access_files(Box::new(move || told.access_files()));
    let serving = server::run(
        listeners.clients,
        settings,
        clients.clone(),
        certificates.clients.clone(),
        clients_service(present.clone()),
        shutdown.clone(),
    );
    // Detached, but for the handle: it ends when told to.
    let mut serving = tokio::spawn(serving);
    let notifier = started.notifier.clone();
    let reload = Reload {
        sources: started.sources,
        running: config.clone(),
        present,
        mirror: mirror.clone(),
        clients,
        gatekeeper,
        certificates,
        levels: started.levels,
        admin: admin.clone(),
        notifier: started.notifier,
    };
    // Detached; they end with the process.
    tokio::spawn(reload.run(hangups));
    tokio::spawn(notifier.clone().live());
    notifier.ready();
    tokio::select! {
        () = signals.next() => {}
        ended = &mut serving => {
            admin.draining();
            let failed = ended_untold(ended);
            close(&mirror, &store).await;
            return Err(failed);
        }
    }
    notifier.stopping();
    tracing::info!(seconds = settings.drain.as_secs(), "draining");
    admin.draining();
    shutdown.cancel();
    tokio::select! {
        () = end(serving, &mirror, &store) => {}
        () = signals.next() => return Err(RunError::Interrupted),
    }
    operators.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Opens the cache and sets up what stands on it. The upstreams come first: their mistakes are told
/// without waiting for the cache's lock.
async fn open(config: &Config) -> Result<(Mirror, Store), RunError> {
    let upstreams = Upstreams::new(config)?;
    let store = Store::open(store::Settings {
        min_free: config.cache.min_free,
        lock_wait: config.cache.lock_wait,
        open_files: config.cache.open_files,
        ..store::Settings::new(&config.cache.dir, config.cache.max_size)
    })
    .await?;
    let mirror = Mirror::new(config, store.clone(), upstreams);
    mirror.keep_quotas().await;
    Ok((mirror, store))
}

/// No listener is left, so there is no signal to wait for: whoever runs the process starts it again.
fn ended_untold(ended: Result<server::Drained, JoinError>) -> RunError {
    match ended {
        Ok(_) => tracing::error!("the server ended though it was not told to; stopping"),
        Err(error) => tracing::error!(%error, "the server failed; stopping"),
    }
    RunError::ServerFailed
}

/// Waits for the drain, then puts the cache in order.
async fn end(serving: JoinHandle<server::Drained>, mirror: &Mirror, store: &Store) {
    match serving.await {
        Ok(drained) if drained.cut > 0 => {
            tracing::warn!(
                cut = drained.cut,
                "transfers outlasted `server.drain` and were cut"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "the server failed"),
    }
    close(mirror, store).await;
}

async fn close(mirror: &Mirror, store: &Store) {
    let closed = tokio::time::timeout(CLOSING, async {
        mirror.shutdown().await;
        store.close().await;
    });
    if closed.await.is_err() {
        tracing::warn!("the cache did not close in time; the next start puts it in order");
    }
}

fn settings(config: &Config, descriptors: u64) -> server::Settings {
    let beside = descriptors::Beside {
        files: config.cache.open_files,
        upstreams: config.fetch.connections_total,
        fills: config.fetch.max_fills,
        operators: ADMIN_CONNECTIONS,
    };
    let default = beside.default_connections(descriptors);
    let max_connections = config.limits.max_connections.unwrap_or(default);
    if let Some(told) = beside.shortage(max_connections, descriptors) {
        tracing::warn!("{told}");
    }
    let server = &config.server;
    server::Settings {
        listener: Listener::Clients,
        header_timeout: server.header_timeout,
        idle_timeout: server.idle_timeout,
        write_idle_timeout: server.write_idle_timeout,
        drain: server.drain,
        max_connections,
        place_wait: PLACE_WAIT,
    }
}

fn clients_service(present: Present) -> server::Service {
    Arc::new(move |request, remote| present.get().answer(request, remote))
}

fn admin_service(admin: Admin) -> server::Service {
    Arc::new(move |request: Request<Incoming>, remote| {
        let admin = admin.clone();
        Answering::later(async move {
            let (method, path) = (request.method(), request.uri().path());
            let response = match remote.certified {
                Certified::Nothing => admin.answer_stranger(method, path).await,
                Certified::By(_) | Certified::Unasked => admin.answer(method, path).await,
            };
            let (head, body) = response.into_parts();
            Response::from_parts(head, ResponseBody::whole(body))
        })
    })
}

/// The operators' side: its listener, where there is one, and the metrics' upkeep.
struct Operators {
    shutdown: CancellationToken,
    upkeep: JoinHandle<()>,
    serving: Option<JoinHandle<server::Drained>>,
}

impl Operators {
    fn start(
        listeners: Vec<TcpListener>,
        certificates: &Certificates,
        admin: &Admin,
        clients: server::Settings,
    ) -> Self {
        for tls in certificates.all() {
            // Detached; it ends with the process.
            tokio::spawn(tls.clone().watch());
        }
        let shutdown = CancellationToken::new();
        let serving = (!listeners.is_empty()).then(|| {
            let settings = server::Settings {
                listener: Listener::Admin,
                drain: ADMIN_DRAIN,
                max_connections: ADMIN_CONNECTIONS,
                ..clients
            };
            let service = admin_service(admin.clone());
            let (clients, tls) = (Clients::unlimited(), certificates.admin.clone());
            let stop = shutdown.clone();
            // Tied to the process; `stop` ends it.
            tokio::spawn(server::run(
                listeners, settings, clients, tls, service, stop,
            ))
        });
        let upkeep = tokio::spawn(admin.clone().upkeep());
        Self {
            shutdown,
            upkeep,
            serving,
        }
    }

    async fn stop(self) {
        self.upkeep.abort();
        self.shutdown.cancel();
        if let Some(serving) = self.serving {
            // A panic there has been logged, and there is nothing left to do about it.
            let _ = serving.await;
        }
    }
}

#[cfg(test)]
mod tests;
