//! Connections: listeners, the accept loop, limits and timeouts of a connection, and the drain.
//!
//! Knows nothing of registries: a service is a function from a request to a response. The clients'
//! and the operators' listener are run by the same code.
//!
//! [`run`] owns every connection task. They live until their client is done, until a limit ends
//! them, or until the drain's time is over, and no longer than `run` itself.

mod accept;
mod clocks;
mod connection;
pub mod descriptors;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod lent;
pub mod listen;
mod pace;
mod place;
mod proxy;
mod spare;
mod stream;
pub mod tls;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::{Answering, Clients, Remote};
use crate::metrics;
use tls::Tls;

/// After a cut, connection tasks need only notice it; a task that does not is left behind.
const CUT_GRACE: Duration = Duration::from_secs(5);

/// Limits of one server.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Which listener this is, for the metrics.
    pub listener: metrics::Listener,
    /// From a connection's start, or a request's first byte, to the end of the request's head.
    pub header_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long a write may be pending without progress; see the `clocks` file.
    pub write_idle_timeout: Duration,
    /// How long running responses may go on after shutdown was asked for.
    pub drain: Duration,
    /// Open connections. For a further one an idle one is closed.
    pub max_connections: usize,
    /// How long a connection waits for a place where none is idle, before it is refused.
    pub place_wait: Duration,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut in the middle of a response, since the drain's time was over.
    pub cut: usize,
}

/// What the tasks of one server share.
struct Shared {
    settings: Settings,
    /// Which connections are let in, and whose word on an address is taken.
    clients: Clients,
    /// What is spoken on every connection, if not HTTP in the clear.
    tls: Option<Tls>,
    places: place::Places,
    /// Stop accepting, and close each connection after its present response.
    shutdown: CancellationToken,
    /// Close every connection now.
    cut: CancellationToken,
    connections: TaskTracker,
}

/// A function that answers requests; it never fails, errors are responses.
///
/// It is told who is at the connection's other end. A body that fails ends its connection short of its length: with RST
/// where it was proven wrong, with FIN otherwise.
pub type Service = Arc<dyn Fn(Request<Incoming>, Remote) -> Answering + Send + Sync>;

impl Shared {
    fn new(
        settings: Settings,
        clients: Clients,
        tls: Option<Tls>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            settings,
            clients,
            tls,
            places: place::Places::new(settings.max_connections, settings.place_wait),
            shutdown,
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
        }
    }
}

/// Serves `listeners`, all with TLS or none, until `shutdown` is cancelled, then drains: the listeners close at once, idle
/// connections too, and running responses get [`Settings::drain`] to finish.
pub async fn run(
    listeners: Vec<TcpListener>,
    settings: Settings,
    clients: Clients,
    tls: Option<Tls>,
    service: Service,
    shutdown: CancellationToken,
) -> Drained {
    let shared = Arc::new(Shared::new(settings, clients, tls, shutdown.clone()));
    let accepting = TaskTracker::new();
    for listener in listeners {
        accepting.spawn(accept::run(
            listener,
            Arc::clone(&shared),
            Arc::clone(&service),
        ));
    }
    accepting.close();
    shutdown.cancelled().await;
    accepting.wait().await;
    drain(&shared).await
}

async fn drain(shared: &Shared) -> Drained {
    shared.connections.close();
    let finished = shared.connections.wait();
    if tokio::time::timeout(shared.settings.drain, finished)
        .await
        .is_ok()
    {
        return Drained { cut: 0 };
    }
    let cut = shared.connections.len();
    shared.cut.cancel();
    for _ in 0..cut {
        metrics::connection_closed(metrics::Closed::Drain);
    }
    if tokio::time::timeout(CUT_GRACE, shared.connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            left = shared.connections.len(),
            "connections did not end when cut"
        );
    }
    Drained { cut }
}

#[cfg(test)]
mod tests;
