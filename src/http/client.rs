//! Who asks.

use std::fmt;
use std::net::SocketAddr;

/// The address that a request came from: the peer of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr(SocketAddr);

impl From<SocketAddr> for ClientAddr {
    /// An IPv4 client of a dual-stack listener is that IPv4 address.
    fn from(peer: SocketAddr) -> Self {
        Self(SocketAddr::new(peer.ip().to_canonical(), peer.port()))
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
