//! Decides what an origin is before it starts.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::Server;
use super::auth::Auth;
use super::cdn::Blobs;
use super::handle::Origin;
use super::listener::Port;
use super::quirks::{Quirks, Unaccepted};
use super::quota::Quota;
use super::repository::Repository;
use super::state::{Hosts, Settings, State};

/// Builds an [`Origin`]. Without further ado it is open, serves blobs itself, and
/// has no quota; see [`Origin::docker_hub`] for the other end.
#[derive(Debug)]
pub struct Builder {
    auth: Auth,
    blobs: Blobs,
    quota: Option<Quota>,
    users: HashMap<String, String>,
    repositories: HashMap<String, Repository>,
    quirks: Quirks,
    referrers: bool,
    send_buffer: u32,
    registry: SocketAddr,
    token: SocketAddr,
    cdn: SocketAddr,
    public_name: Option<String>,
}

impl Default for Builder {
    fn default() -> Self {
        let anywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self {
            auth: Auth::default(),
            blobs: Blobs::default(),
            quota: None,
            users: HashMap::new(),
            repositories: HashMap::new(),
            quirks: Quirks::default(),
            referrers: true,
            send_buffer: 64 << 10,
            registry: anywhere,
            token: anywhere,
            cdn: anywhere,
            public_name: None,
        }
    }
}

impl Builder {
    /// How the registry asks for credentials.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// Adds a user.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.insert(name.to_owned(), password.to_owned());
        self
    }

    /// How blobs are handed out.
    #[must_use]
    pub fn blobs(mut self, blobs: Blobs) -> Self {
        self.blobs = blobs;
        self
    }

    /// Counts manifest GETs, and reports and keeps this limit.
    #[must_use]
    pub fn quota(mut self, quota: Quota) -> Self {
        self.quota = Some(quota);
        self
    }

    /// Adds a repository, or more to one that was added.
    #[must_use]
    pub fn repository<R>(mut self, name: &str, fill: impl FnOnce(&mut Repository) -> R) -> Self {
        let repository = self
            .repositories
            .entry(name.to_owned())
            .or_insert_with(|| Repository::new(name));
        fill(repository);
        self
    }

    /// Answers 404 for a manifest whose type is not in `Accept`, as GHCR does.
    #[must_use]
    pub fn strict_accept(mut self) -> Self {
        self.quirks.unaccepted = Unaccepted::Missing;
        self
    }

    /// In which ways it is like no other registry.
    #[must_use]
    pub fn quirks(mut self, quirks: Quirks) -> Self {
        self.quirks = quirks;
        self
    }

    /// Has no referrers API.
    #[must_use]
    pub fn without_referrers(mut self) -> Self {
        self.referrers = false;
        self
    }

    /// The sockets' send buffer in bytes (the kernel doubles it). Small, so that
    /// what counts as sent is close to what a client could have read.
    #[must_use]
    pub fn send_buffer(mut self, bytes: u32) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// Where one of the servers listens; any free port of 127.0.0.1 otherwise.
    #[must_use]
    pub fn listen(mut self, server: Server, address: SocketAddr) -> Self {
        match server {
            Server::Registry => self.registry = address,
            Server::Token => self.token = address,
            Server::Cdn => self.cdn = address,
        }
        self
    }

    /// The host name or address in URLs that clients are given, where it is not
    /// the address that the servers listen on.
    #[must_use]
    pub fn public_name(mut self, host: &str) -> Self {
        self.public_name = Some(host.to_owned());
        self
    }

    /// Binds the ports and serves.
    pub async fn start(self) -> io::Result<Origin> {
        let port = |server, address| Port::reserve(server, address, self.send_buffer);
        let ports = [
            port(Server::Registry, self.registry)?,
            port(Server::Token, self.token)?,
            port(Server::Cdn, self.cdn)?,
        ];
        let host = |port: &Port| match &self.public_name {
            Some(name) => format!("{name}:{}", port.address.port()),
            None => port.address.to_string(),
        };
        let hosts = Hosts {
            registry: host(&ports[0]),
            token: host(&ports[1]),
            cdn: host(&ports[2]),
        };
        let settings = Settings {
            auth: self.auth,
            blobs: self.blobs,
            quirks: self.quirks,
            referrers: self.referrers,
        };
        let repositories = self
            .repositories
            .into_iter()
            .map(|(name, repository)| (name, Arc::new(repository)))
            .collect();
        let state = State::new(settings, hosts, self.users, self.quota, repositories);
        let origin = Origin::new(Arc::new(state), ports);
        origin.start_again().await?;
        Ok(origin)
    }
}
