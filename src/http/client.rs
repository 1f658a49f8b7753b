//! Who asks: the address of a request's client, which is the peer of its connection or, behind trusted proxies, the
//! address that they vouch for; and the key that it is limited by.
//!
//! A name that a client has proven by a login or a certificate is one more kind of [`ClientKey`], and counts before its
//! address.

mod forwarded;
mod peer;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use crate::config::{ForwardedHeader, Proxies};
pub use crate::mirror::ClientKey;
pub use peer::{Certified, Peer, PeerCertificate, Remote, Scheme};

/// The address that a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr {
    ip: IpAddr,
    /// Proxies mostly leave it out.
    port: Option<u16>,
}

impl ClientAddr {
    /// An IPv4 address is one, however it is written.
    fn new(ip: IpAddr, port: Option<u16>) -> Self {
        Self {
            ip: ip.to_canonical(),
            port,
        }
    }

    /// The address without a port.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// As it is displayed, for each request's line: what most are, an IPv4 address, is put together without `fmt`.
    pub(super) fn text(&self) -> String {
        let IpAddr::V4(ip) = self.ip else {
            return self.to_string();
        };
        let mut text = String::with_capacity("255.255.255.255:65535".len());
        let mut digits = itoa::Buffer::new();
        for (octet, after) in ip.octets().iter().zip([".", ".", ".", ""]) {
            text.push_str(digits.format(*octet));
            text.push_str(after);
        }
        if let Some(port) = self.port {
            text.push(':');
            text.push_str(digits.format(port));
        }
        text
    }

    /// Whether one of `ranges` has it.
    pub(super) fn is_in(&self, ranges: &[IpNet]) -> bool {
        ranges.iter().any(|range| range.contains(&self.ip))
    }
}

impl From<SocketAddr> for ClientAddr {
    /// An IPv4 client of a dual-stack listener is that IPv4 address.
    fn from(peer: SocketAddr) -> Self {
        Self::new(peer.ip(), Some(peer.port()))
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

impl From<ClientAddr> for ClientKey {
    fn from(address: ClientAddr) -> Self {
        Self::from(address.ip)
    }
}

/// Who asks, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Where the request came from.
    pub address: ClientAddr,
    /// `None` where a trusted proxy asks and names nobody: its own address stands for all of its clients and is no key.
    pub key: Option<ClientKey>,
    /// How it speaks to the mirror, or to the first of the proxies that it came through.
    pub scheme: Scheme,
    /// Whether the request tells that it came through that address from somewhere else: by a proxy that is not trusted. Whoever
    /// sends it can say so, and can't keep such a proxy from it.
    pub passed_on: bool,
}

impl Caller {
    /// The same, limited by a name that it has proven.
    pub(super) fn named(self, name: &str) -> Self {
        Self {
            key: Some(ClientKey::named(name)),
            ..self
        }
    }

    /// Behind `peer`, the other end of a connection, as its proxies tell in `headers`.
    ///
    /// The list is read from its end, since each proxy adds to it: what a trusted one has added holds, and it goes on while
    /// that is a trusted proxy itself. Where an entry is no address, or there is none left, the walk ends at the last address
    /// that was vouched for; whatever stands before it may be the client's own invention.
    pub(super) fn find(peer: Peer, headers: &HeaderMap, proxies: &Proxies) -> Self {
        let Peer {
            mut address,
            mut scheme,
            ..
        } = peer;
        // Where proxies say below HTTP whom they ask for, one that has not asks for nobody: its connection is from before that
        // was so, when the client's bytes may have been the first.
        let forwards = peer.forwards && (peer.is_introduced() || !proxies.proxy_protocol);
        let passed_on = if forwards && address.is_in(&proxies.trusted) {
            let named = match proxies.header {
                ForwardedHeader::XForwardedFor => forwarded::x_forwarded_for,
                ForwardedHeader::Forwarded => forwarded::forwarded,
            };
            let mut hops = named(headers);
            for hop in hops.by_ref() {
                scheme = hop.scheme.unwrap_or(scheme);
                let Some(named) = hop.address else { break };
                address = named;
                if !address.is_in(&proxies.trusted) {
                    break;
                }
            }
            hops.any(|hop| hop.tells_of_another(address))
        } else {
            forwarded::tell_of_another(headers, address)
        };
        let key = (!address.is_in(&proxies.trusted)).then(|| address.into());
        Self {
            address,
            key,
            scheme,
            passed_on,
        }
    }
}

#[cfg(test)]
mod tests;
