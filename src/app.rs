//! The composition root: the one place that knows all concrete types.
//!
//! A start binds first, so that a taken port is told at once, and so that clients of a restarted
//! mirror wait in the listener's backlog, rather than be refused, while the cache's lock is waited
//! for. The end goes the other way round: drain the clients, pause the fills, close the cache.

mod logging;
mod privacy;
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
use crate::admin::Admin;
use crate::config::{self, Config};
use crate::http::{Api, Clients, ResponseBody};
use crate::metrics::{InstallError, Listener, Recorder};
use crate::mirror::Mirror;
use crate::server::tls::{Tls, TlsError};
use crate::server::{self, descriptors, listen};
use crate::store::{self, OpenError, Store};
use crate::upstream::{self, Report, SetupError, Target, Upstreams};
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

/// Runs the mirror until it is told to stop.
pub fn run(config: &Config) -> Result<(), RunError> {
    logging::init(config.log);
    privacy::keep();
    let recorder = Recorder::install()?;
    let runtime = runtime()?;
    let ended = runtime.block_on(serve(config, recorder));
    // A thread may sit in a disk that does not answer; the process ends without it.
    runtime.shutdown_background();
    ended
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .thread_name("forebay")
        .enable_all()
        .build()
}

async fn serve(config: &Config, recorder: Recorder) -> Result<(), RunError> {
    let mut signals = Signals::listen()?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let settings = settings(config, descriptors::raise());
    let tls = load_tls(Listener::Clients, config.server.tls.as_ref())?;
    let listeners = bind_clients(config)?;
    let admin = Admin::new(recorder);
    let operators = Operators::start(config, &admin, settings)?;
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
    // Tied to the process: it reads small files, and there is nothing to wait for.
    tokio::spawn(gate.clone().upkeep());
    let api = Api::new(mirror.clone(), clients.clone(), gate);
    let service = clients_service(api);
    let serving = server::run(listeners, settings, clients, tls, service, shutdown.clone());
    // Detached, but for the handle: it ends when told to.
    let mut serving = tokio::spawn(serving);
    tokio::select! {
        () = signals.next() => {}
        ended = &mut serving => {
            admin.draining();
            let failed = ended_untold(ended);
            close(&mirror, &store).await;
            return Err(failed);
        }
    }
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
    let default = descriptors::default_connections(descriptors);
    let max_connections = config.limits.max_connections.unwrap_or(default);
    let asked_for = descriptors::AskedFor {
        connections: max_connections,
        files: config.cache.open_files,
        upstreams: config.fetch.connections_total,
    };
    if let Some(told) = asked_for.shortage(descriptors) {
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

fn bind_clients(config: &Config) -> Result<Vec<TcpListener>, RunError> {
    let addresses = &config.server.listen;
    let mut listeners = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let listener = listen::bind(address, "server.listen")?;
        say_listening(&listener, Listener::Clients);
        listeners.push(listener);
    }
    Ok(listeners)
}

fn load_tls(listener: Listener, files: Option<&config::Tls>) -> Result<Option<Tls>, TlsError> {
    files.map(|files| Tls::load(listener, files)).transpose()
}

fn say_listening(listener: &TcpListener, kind: Listener) {
    // The port may have been left to the system.
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, listener = kind.as_str(), "listening");
    }
}

fn clients_service(api: Api) -> server::Service {
    Arc::new(move |request| {
        let api = api.clone();
        Box::pin(async move { api.answer(request).await })
    })
}

fn admin_service(admin: Admin) -> server::Service {
    Arc::new(move |request: Request<Incoming>| {
        let admin = admin.clone();
        Box::pin(async move {
            let response = admin.answer(request.method(), request.uri().path()).await;
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
    fn start(config: &Config, admin: &Admin, clients: server::Settings) -> Result<Self, RunError> {
        let shutdown = CancellationToken::new();
        let serving = match config.admin.listen {
            None => None,
            Some(address) => {
                let tls = load_tls(Listener::Admin, config.admin.tls.as_ref())?;
                let listener = listen::bind(address, "admin.listen")?;
                say_listening(&listener, Listener::Admin);
                let settings = server::Settings {
                    listener: Listener::Admin,
                    drain: ADMIN_DRAIN,
                    max_connections: ADMIN_CONNECTIONS,
                    ..clients
                };
                let service = admin_service(admin.clone());
                let clients = Clients::unlimited();
                let run = server::run(
                    vec![listener],
                    settings,
                    clients,
                    tls,
                    service,
                    shutdown.clone(),
                );
                // Tied to the process; `stop` ends it.
                Some(tokio::spawn(run))
            }
        };
        let upkeep = tokio::spawn(admin.clone().upkeep());
        Ok(Self {
            shutdown,
            upkeep,
            serving,
        })
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
