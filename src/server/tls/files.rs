//! Reads the files of a listener's TLS, and puts together what its handshakes take.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{RootCertStore, ServerConfig};

use super::{Present, names};
use crate::config;
use crate::files::pem::{self, PairError};
use crate::metrics::Listener;

/// Why a file that a listener takes can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{key} in {}: {}: {problem}", table(*.listener), path.display())]
pub struct TlsError {
    listener: Listener,
    key: &'static str,
    path: PathBuf,
    problem: String,
}

/// The table of the configuration that a listener's files are named in.
pub(super) fn table(listener: Listener) -> &'static str {
    match listener {
        Listener::Clients => "[server.tls]",
        Listener::Admin => "[admin.tls]",
    }
}

/// Reads them all.
pub(super) fn load(listener: Listener, files: &config::Tls) -> Result<Present, TlsError> {
    let wrong = |key, path: &Path, problem| TlsError {
        listener,
        key,
        path: path.to_owned(),
        problem,
    };
    let of_certificate = |problem| wrong("cert_file", &files.certificate, problem);
    let chain = pem::certificates(&files.certificate).map_err(of_certificate)?;
    let expires = names::expires(&chain).map_err(of_certificate)?;
    let certified =
        pem::certified(chain, &files.key, "cert_file").map_err(|error| match error {
            PairError::Certificate(problem) => of_certificate(problem),
            PairError::Key(problem) => wrong("key_file", &files.key, problem),
        })?;
    let provider = pem::provider();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| of_certificate(error.to_string()))?;
    let clients = match &files.clients {
        None => None,
        Some(clients) => Some(
            Authority::load(clients, provider)
                .map_err(|problem| wrong("client_ca_file", &clients.file, problem))?,
        ),
    };
    let builder = match &clients {
        None => builder.with_no_client_auth(),
        Some(authority) => builder.with_client_cert_verifier(Arc::clone(&authority.verifier)),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // What a session can be resumed by is with the client: it costs nothing here, however many there are.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if clients.is_some() {
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = Ticketer::new().map_err(|error| of_certificate(error.to_string()))?;
    }
    Ok(Present {
        config: Arc::new(config),
        expires,
        clients,
    })
}

/// Whose certificates count.
#[derive(Debug)]
pub(super) struct Authority {
    roots: Vec<CertificateDer<'static>>,
    required: bool,
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.roots == other.roots && self.required == other.required
    }
}

impl Authority {
    fn load(
        clients: &config::ClientAuthority,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let roots = pem::certificates(&clients.file)?;
        let mut store = RootCertStore::empty();
        for root in &roots {
            store.add(root.clone()).map_err(|error| error.to_string())?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
        let builder = if clients.required {
            builder
        } else {
            builder.allow_unauthenticated()
        };
        let verifier = builder.build().map_err(|error| error.to_string())?;
        Ok(Self {
            roots,
            required: clients.required,
            verifier,
        })
    }
}
