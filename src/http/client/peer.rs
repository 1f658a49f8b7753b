//! The other end of a connection, as the server got to know it before the first request: its address, whether it came by
//! TLS, and the certificate that it has shown.

use std::sync::Arc;

use super::ClientAddr;
use crate::http::limit::Surplus;

/// How a client speaks to the mirror, or to the proxy before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// By TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Of a URL, in whichever case.
    pub(super) fn named(text: &str) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()))
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: ClientAddr,
    /// How it speaks to the mirror.
    pub scheme: Scheme,
    /// Whether it may ask for others, if it is a proxy.
    pub(super) forwards: bool,
    /// Whether it is known by the word of a proxy, which stands between it and the mirror.
    introduced: bool,
}

impl Peer {
    /// A proxy that has said, below HTTP, that it does not ask for a client that it could name. What a header of its requests
    /// says is somebody else's word: such a proxy does not look at them.
    #[must_use]
    pub fn speaking_for_itself(self) -> Self {
        Self {
            forwards: false,
            ..self
        }
    }

    /// The client of a proxy that has said, below HTTP, whose the connection is. TLS may be the client's or the proxy's own.
    #[must_use]
    pub fn introduced(self) -> Self {
        Self {
            introduced: true,
            ..self
        }
    }

    /// Whether a proxy has said whose the connection is.
    pub(in crate::http) fn is_introduced(&self) -> bool {
        self.introduced
    }

    /// The same, on a connection that speaks TLS.
    #[must_use]
    pub fn over_tls(self) -> Self {
        Self {
            scheme: Scheme::Https,
            ..self
        }
    }
}

impl From<ClientAddr> for Peer {
    fn from(address: ClientAddr) -> Self {
        Self {
            address,
            scheme: Scheme::Http,
            forwards: true,
            introduced: false,
        }
    }
}

/// What a connection tells of its other end when a request comes on it.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Who it is.
    pub peer: Peer,
    /// What it has proven by TLS.
    pub certified: Certified,
    /// The connection is one too many of its client, or of all.
    pub surplus: Option<Surplus>,
}

impl Remote {
    /// Whose certificate it is, if it has shown one.
    pub fn certificate(&self) -> Option<&PeerCertificate> {
        match &self.certified {
            Certified::By(certificate) => Some(certificate),
            Certified::Unasked | Certified::Nothing => None,
        }
    }
}

impl From<Peer> for Remote {
    /// One on a connection that is wanted, and asks for no certificate.
    fn from(peer: Peer) -> Self {
        Self {
            peer,
            certified: Certified::Unasked,
            surplus: None,
        }
    }
}

/// What the other end of a connection has proven of itself by TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certified {
    /// It was not asked for a certificate.
    Unasked,
    /// It could have shown a certificate that counts, and has none.
    Nothing,
    /// It has shown one that counts.
    By(PeerCertificate),
}

/// Who the other end of a connection has proven to be, by a certificate that an authority of the operator's has signed.
///
/// Behind a proxy it is the proxy's own certificate, unless that passes TLS on as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate(Arc<[String]>);

impl PeerCertificate {
    /// A certificate for `names`.
    pub fn new(names: Vec<String>) -> Self {
        Self(names.into())
    }

    /// Its names: those of its subject alternative names that are text, or where there are none of any kind, its subject's
    /// common name. That and names of hosts are in lower case, an address of mail is `email:ADDRESS`, a URI `uri:URI`: no name
    /// can be taken for one of another kind. None is there twice.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The same names, for who keeps them: no request makes a copy.
    pub(in crate::http) fn shared(&self) -> Arc<[String]> {
        Arc::clone(&self.0)
    }
}
