//! Who the client of a connection has proven to be by its certificate, for as long as that counts.
//!
//! A connection may last for days. What was true of a certificate when it began is looked at again once there is a reason to
//! doubt it: the certificate has ended, or other authorities count by now. One that holds keeps its connection, so that an
//! authority can be added without a failed request.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use rustls::ServerConnection;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::{Present, Tls, names};
use crate::http::PeerCertificate;
use crate::sync::lock;

/// What a connection's client has shown, if anything.
#[derive(Debug)]
pub(in crate::server) struct Identity {
    tls: Tls,
    chain: Vec<CertificateDer<'static>>,
    certificate: Option<PeerCertificate>,
    standing: Mutex<Standing>,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    /// It counts, for as long as nothing changes, and no longer than until then.
    Good {
        generation: u64,
        until: Option<SystemTime>,
    },
    /// It does not any more.
    Bad,
}

/// What is asked of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// They may show a certificate.
    Optional,
    Required,
}

/// What a client is known by, when a request begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) enum Proven {
    /// By a certificate, whose names are these, if it has any; or by nothing where nothing is asked for.
    By(Option<PeerCertificate>),
    /// By nothing, and it might have shown a certificate.
    Nothing,
    /// By nothing any more: it is to come again with what counts now.
    Outdated,
    /// As the one before, where nobody is answered who has shown no certificate that counts.
    Barred,
}

impl Asked {
    fn by(present: &Present) -> Self {
        match &present.clients {
            None => Self::Nothing,
            Some(authority) if authority.verifier.client_auth_mandatory() => Self::Required,
            Some(_) => Self::Optional,
        }
    }
}

impl Identity {
    /// Of a connection whose handshake is over. `generation` is that of before it.
    pub(super) fn new(tls: &Tls, generation: u64, connection: &ServerConnection) -> Self {
        let chain = connection.peer_certificates().unwrap_or_default();
        Self::of(tls, generation, chain.to_vec(), SystemTime::now())
    }

    fn of(
        tls: &Tls,
        generation: u64,
        chain: Vec<CertificateDer<'static>>,
        now: SystemTime,
    ) -> Self {
        let until = names::end(&chain, now);
        Self {
            tls: tls.clone(),
            certificate: chain.first().and_then(names::of_client),
            chain,
            standing: Mutex::new(Standing::Good { generation, until }),
        }
    }

    /// What it is worth now.
    pub(in crate::server) fn now(&self) -> Proven {
        self.at(SystemTime::now())
    }

    fn at(&self, now: SystemTime) -> Proven {
        let mut standing = lock(&self.standing);
        let Standing::Good { generation, until } = *standing else {
            return self.outdated();
        };
        let present = self.tls.generation();
        if generation != present || until.is_some_and(|until| now >= until) {
            *standing = if self.is_valid(now) {
                Standing::Good {
                    generation: present,
                    until: names::end(&self.chain, now),
                }
            } else {
                Standing::Bad
            };
        }
        match *standing {
            Standing::Good { .. } if self.chain.is_empty() && self.asked() != Asked::Nothing => {
                Proven::Nothing
            }
            Standing::Good { .. } => Proven::By(self.certificate.clone()),
            Standing::Bad => self.outdated(),
        }
    }

    fn outdated(&self) -> Proven {
        match self.asked() {
            Asked::Required => Proven::Barred,
            Asked::Nothing | Asked::Optional => Proven::Outdated,
        }
    }

    /// What is asked of new connections.
    fn asked(&self) -> Asked {
        Asked::by(&self.tls.present())
    }

    /// Whether it would be taken in a handshake of now.
    fn is_valid(&self, now: SystemTime) -> bool {
        let present = self.tls.present();
        match (self.chain.split_first(), &present.clients) {
            (None, _) => Asked::by(&present) != Asked::Required,
            (Some(_), None) => false,
            (Some((own, between)), Some(authority)) => {
                let since = now.duration_since(SystemTime::UNIX_EPOCH);
                let now = UnixTime::since_unix_epoch(since.unwrap_or_default());
                let verified = authority.verifier.verify_client_cert(own, between, now);
                verified.is_ok()
            }
        }
    }
}

impl Tls {
    /// Of what is asked of clients' certificates.
    pub(super) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use forebay_loadtest::certificates::{Authority, Pair};
    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::config;
    use crate::metrics::Listener;

    fn files(dir: &Path, servers: &Authority, clients: &[&Authority]) -> config::Tls {
        let [certificate, key] = servers.server(&["127.0.0.1"]).write(dir, "server").unwrap();
        let file = dir.join("clients.crt");
        let all: String = clients.iter().map(|authority| authority.pem()).collect();
        std::fs::write(&file, all).unwrap();
        config::Tls {
            certificate,
            key,
            clients: (!clients.is_empty()).then_some(config::ClientAuthority {
                file,
                required: false,
            }),
        }
    }

    fn shown(tls: &Tls, pair: &Pair) -> Identity {
        let own = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
        Identity::of(tls, tls.generation(), vec![own], SystemTime::now())
    }

    fn known(name: &str) -> Proven {
        Proven::By(Some(PeerCertificate::new(vec![name.to_owned()])))
    }

    #[test]
    fn a_certificate_counts_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let clients = Authority::new("clients");
        let files = files(dir.path(), &Authority::new("servers"), &[&clients]);
        let tls = Tls::load(Listener::Clients, &files).unwrap();
        let end = SystemTime::now() + Duration::from_hours(1);
        let identity = shown(&tls, &clients.client_until("ci", end));
        assert_eq!(identity.now(), known("ci"));
        let second = Duration::from_secs(1);
        assert_eq!(identity.at(end - 2 * second), known("ci"));
        assert_eq!(identity.at(end + second), Proven::Outdated);
        assert_eq!(identity.now(), Proven::Outdated, "it stays so");
    }

    #[test]
    fn a_certificate_counts_while_its_authority_does() {
        let dir = tempfile::tempdir().unwrap();
        let (clients, others) = (Authority::new("clients"), Authority::new("others"));
        let servers = Authority::new("servers");
        let before = files(dir.path(), &servers, &[&clients]);
        let tls = Tls::load(Listener::Clients, &before).unwrap();
        let [first, second] = ["ci", "cd"].map(|name| shown(&tls, &clients.client(name, &[])));
        let nobody = Identity::of(&tls, 0, Vec::new(), SystemTime::now());
        let take = |authorities: &[&Authority]| {
            let files = files(dir.path(), &servers, authorities);
            tls.take(tls.prepare(&files).unwrap());
        };
        take(&[&clients]);
        assert_eq!(tls.generation(), 0, "another certificate of the server's");
        take(&[&clients, &others]);
        assert_eq!(first.now(), known("ci"));
        take(&[&others]);
        assert_eq!(first.now(), Proven::Outdated);
        take(&[&clients]);
        assert_eq!(second.now(), known("cd"));
        take(&[]);
        assert_eq!(second.now(), Proven::Outdated);
        assert_eq!(nobody.now(), Proven::By(None));
    }

    #[test]
    fn where_certificates_come_to_be_required_one_has_to_be_shown() {
        let dir = tempfile::tempdir().unwrap();
        let clients = Authority::new("clients");
        let mut files = files(dir.path(), &Authority::new("servers"), &[&clients]);
        let tls = Tls::load(Listener::Clients, &files).unwrap();
        let nobody = Identity::of(&tls, 0, Vec::new(), SystemTime::now());
        files.clients.as_mut().unwrap().required = true;
        assert_eq!(nobody.now(), Proven::Nothing);
        tls.take(tls.prepare(&files).unwrap());
        assert_eq!(nobody.now(), Proven::Barred);
    }
}
