//! Clients that cost as little as they can, so that a server is what is measured.
//!
//! Requests are made beforehand, connections are kept, and one thread serves them all. Bodies are read, as any
//! client reads them, and thrown away. Nothing is checked but status and length: that bytes are the right ones is for
//! [`crate::fleet`] to show.
//!
//! `wire` is bytes to and fro, `exchange` a request's answer, `load` many connections at once, `slow` those that take their time.

mod exchange;
mod load;
mod slow;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

pub use self::load::{Load, Tally, Times};
pub use self::slow::Slow;

/// Where to ask.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server's address.
    pub address: SocketAddr,
    /// TLS, where it speaks that.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Target {
    /// In plain.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

/// A GET as it goes over the wire, with what clients of registries send.
pub fn get(target: &Target, path: &str) -> Vec<u8> {
    let accepted = [
        crate::origin::media_type::OCI_INDEX,
        crate::origin::media_type::OCI_MANIFEST,
        crate::origin::media_type::DOCKER_LIST,
        crate::origin::media_type::DOCKER_MANIFEST,
        "*/*",
    ];
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: forebay-loadtest\r\nAccept: {}\r\n\r\n",
        target.address,
        accepted.join(", ")
    )
    .into_bytes()
}

#[cfg(test)]
mod tests;
