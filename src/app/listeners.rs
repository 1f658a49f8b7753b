//! The listeners: bound here, or taken over from who started the process, as systemd does it (socket activation).

use std::env;
use std::net;
use std::time::UNIX_EPOCH;

use listenfd::ListenFd;
use tokio::net::TcpListener;

use super::RunError;
use crate::config::{self, Config};
use crate::metrics::Listener;
use crate::server::listen;
use crate::server::tls::{Tls, TlsError};
use crate::status::Certificate;

/// The first descriptor that is passed on.
const FIRST: usize = 3;
/// What the operators' sockets are called (`FileDescriptorName=`). All others are for clients.
const ADMIN: &str = "admin";

/// Sockets that were passed to this process.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    clients: Vec<net::TcpListener>,
    admin: Vec<net::TcpListener>,
}

impl Inherited {
    /// Takes them. To be called while there is but one thread, since it takes them out of the environment too.
    pub(super) fn take() -> Result<Self, RunError> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for at in 0..passed.len() {
            let wrong = |source| RunError::Inherited {
                at: FIRST + at,
                source,
            };
            let Some(listener) = passed.take_tcp_listener(at).map_err(wrong)? else {
                continue;
            };
            listener.set_nonblocking(true).map_err(wrong)?;
            if names.next() == Some(ADMIN) {
                inherited.admin.push(listener);
            } else {
                inherited.clients.push(listener);
            }
        }
        Ok(inherited)
    }
}

/// Everything that is listened on.
pub(super) struct Listeners {
    pub(super) clients: Vec<TcpListener>,
    pub(super) admin: Vec<TcpListener>,
}

impl Listeners {
    /// What was passed on, and what is configured where nothing was.
    pub(super) fn bind(inherited: Inherited, config: &Config) -> Result<Self, RunError> {
        let own = &config.server.listen;
        let clients = bind(inherited.clients, own, Listener::Clients)?;
        let own = config.admin.listen.as_slice();
        let admin = bind(inherited.admin, own, Listener::Admin)?;
        Ok(Self { clients, admin })
    }
}

fn bind(
    inherited: Vec<net::TcpListener>,
    configured: &[net::SocketAddr],
    listener: Listener,
) -> Result<Vec<TcpListener>, RunError> {
    let key = match listener {
        Listener::Clients => "server.listen",
        Listener::Admin => "admin.listen",
    };
    let is_inherited = !inherited.is_empty();
    let listeners = if is_inherited {
        let taken = inherited.into_iter().map(TcpListener::from_std);
        taken.collect::<Result<Vec<_>, _>>()?
    } else {
        listen::bind_all(configured, key)?
    };
    for bound in &listeners {
        // The port may have been left to the system.
        if let Ok(address) = bound.local_addr() {
            let passed_on = is_inherited.then_some(true);
            tracing::info!(%address, listener = listener.as_str(), passed_on, "listening");
        }
    }
    Ok(listeners)
}

/// TLS of both listeners, as far as it is spoken.
#[derive(Clone, Debug)]
pub(super) struct Certificates {
    pub(super) clients: Option<Tls>,
    pub(super) admin: Option<Tls>,
}

impl Certificates {
    pub(super) fn load(config: &Config) -> Result<Self, TlsError> {
        let load = |listener, files: &Option<config::Tls>| {
            let files = files.as_ref();
            files.map(|files| Tls::load(listener, files)).transpose()
        };
        Ok(Self {
            clients: load(Listener::Clients, &config.server.tls)?,
            admin: load(Listener::Admin, &config.admin.tls)?,
        })
    }

    /// How they stand.
    pub(super) fn standing(&self) -> Vec<Certificate> {
        let told = |tls: &Tls| {
            let standing = tls.standing();
            let expires = standing.expires.duration_since(UNIX_EPOCH);
            Certificate {
                listener: standing.listener.as_str().to_owned(),
                expires_at: expires.unwrap_or_default().as_secs(),
                error: standing.problem,
            }
        };
        self.all().map(told).collect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Tls> {
        [&self.clients, &self.admin].into_iter().flatten()
    }
}
