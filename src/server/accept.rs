//! The accept loop: survives what `accept` can fail with, gives each connection a place, spawns it.
//!
//! It waits for nothing else, so that a connection that can't be served is told so, or closed, at once, rather than left in
//! the kernel's backlog. What its client's own cap forbids is seen first, and takes no place.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use super::place::Place;
use super::{Service, Shared, connection};
use crate::http::{ClientAddr, Clients, Connected, Peer, Surplus};
use crate::metrics;

/// The pause after a failed `accept`, doubled up to the second value: a lack of descriptors ends
/// when a connection closes, not by trying harder.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// A condition that lasts is logged once in this time.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// A connection that is to be served.
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) peer: Peer,
    pub(super) standing: Standing,
    /// Given back when the connection is over.
    pub(super) place: Place,
}

/// What is known of a connection's client.
pub(super) enum Standing {
    /// It may have this connection.
    Welcome {
        /// Where its connections are counted.
        _connected: Option<Connected>,
    },
    /// It has as many as it may have.
    Surplus(Surplus),
    /// A proxy is about to say who it is.
    Proxied,
}

impl Standing {
    pub(super) fn of(client: ClientAddr, clients: &Clients) -> Self {
        match clients.connect(client) {
            Ok(connected) => Self::Welcome {
                _connected: connected,
            },
            Err(surplus) => Self::Surplus(surplus),
        }
    }
}

/// Accepts from `listener` until shutdown; the listener closes on return.
pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>, service: Service) {
    accept_from(
        || listener.accept(),
        &shared,
        |arrival| {
            let connection = connection::serve(arrival, Arc::clone(&shared), Arc::clone(&service));
            // Tied to its client, and ended by the drain at the latest.
            shared.connections.spawn(connection);
        },
    )
    .await;
}

/// The loop itself; `accept` is a parameter so that tests can make it fail.
async fn accept_from<F: Future<Output = io::Result<(TcpStream, SocketAddr)>>>(
    mut accept: impl FnMut() -> F,
    shared: &Shared,
    mut spawn: impl FnMut(Arrival),
) {
    let mut pause = BACK_OFF.0;
    let mut failing = Seldom::default();
    let mut full = Seldom::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            accepted = accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = BACK_OFF.0;
                let peer = Peer::from(ClientAddr::from(peer));
                let standing = if shared.clients.sends_proxy_header(peer.address) {
                    Standing::Proxied
                } else {
                    Standing::of(peer.address, &shared.clients)
                };
                let place = match standing {
                    Standing::Surplus(_) => telling(shared),
                    _ => place(shared, &mut full),
                };
                if let Some(place) = place {
                    spawn(Arrival {
                        stream,
                        peer,
                        standing,
                        place,
                    });
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                metrics::accept_error(shared.settings.listener);
                if failing.due() {
                    tracing::warn!(%error, "cannot accept connections; they wait until descriptors or memory are free");
                }
                tokio::select! {
                    () = shared.shutdown.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(BACK_OFF.1);
            }
        }
    }
}

fn place(shared: &Shared, full: &mut Seldom) -> Option<Place> {
    let place = shared.places.of_newcomer();
    if !matches!(place, Some(Place::Taken { .. })) && full.due() {
        tracing::warn!(
            connections = shared.settings.max_connections,
            "connection cap reached; idle connections are closed for new ones, and what finds no place is refused (raise the descriptor limit, or set `limits.max_connections`)"
        );
    }
    place
}

/// A place to tell a connection in that its client has too many, if there is one left.
pub(super) fn telling(shared: &Shared) -> Option<Place> {
    let place = shared.places.telling();
    if place.is_none() {
        metrics::client_refused(metrics::ClientLimit::Connections);
        metrics::connection_closed(metrics::Closed::ClientCap);
    }
    place
}

/// Errors that belong to the connection that was to be accepted, and say nothing about the next.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Says whether it is time to log again.
#[derive(Debug, Default)]
pub(super) struct Seldom(Option<Instant>);

impl Seldom {
    pub(super) fn due(&mut self) -> bool {
        let now = Instant::now();
        let due = self
            .0
            .is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn shared() -> Shared {
        let settings = super::super::Settings {
            listener: metrics::Listener::Clients,
            header_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            write_idle_timeout: Duration::ZERO,
            drain: Duration::ZERO,
            max_connections: 1,
            place_wait: Duration::ZERO,
        };
        Shared::new(
            settings,
            Clients::unlimited(),
            None,
            CancellationToken::new(),
        )
    }

    #[tokio::test]
    async fn accepting_goes_on_after_running_out_of_descriptors() {
        const EMFILE: i32 = 24;
        const ECONNABORTED: i32 = 103;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let mut failures = vec![EMFILE, ECONNABORTED, EMFILE];
        let shared = shared();
        let accept = || {
            let failure = failures.pop();
            let listener = &listener;
            async move {
                match failure {
                    Some(code) => Err(io::Error::from_raw_os_error(code)),
                    None => listener.accept().await,
                }
            }
        };
        let mut accepted = 0;
        accept_from(accept, &shared, |_| {
            accepted += 1;
            shared.shutdown.cancel();
        })
        .await;
        assert_eq!((accepted, failures.len()), (1, 0));
    }

    #[test]
    fn what_lasts_is_logged_seldom() {
        let mut seldom = Seldom::default();
        assert!(seldom.due());
        assert!(!seldom.due());
    }
}
