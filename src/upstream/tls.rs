//! One TLS client configuration for all upstreams: the machine's trusted certificates. An upstream with `ca_file` has its
//! own, and one with a client certificate has another one for the endpoints that are shown it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;

use crate::config::{ClientCertificate, Upstream};
use crate::files::pem::{self, PairError};

/// Why a file that an upstream's TLS takes can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {}: {problem}", path.display())]
pub struct TlsError {
    /// The key of the configuration.
    pub key: &'static str,
    /// The configured path.
    pub path: PathBuf,
    /// What was wrong with it.
    pub problem: String,
}

/// The configurations of an upstream. They share no session with each other, so that none in which the certificate was shown
/// is resumed where it would not be.
#[derive(Debug)]
pub(crate) struct Tls {
    /// For exactly its endpoints, where it has a client certificate.
    pub(crate) endpoints: Option<ClientConfig>,
    /// For all other hosts.
    pub(crate) others: ClientConfig,
}

impl Tls {
    /// What an upstream takes beyond `shared`. Reads its files.
    pub(crate) fn new(shared: &ClientConfig, upstream: &Upstream) -> Result<Tls, TlsError> {
        let others = match &upstream.ca_file {
            Some(path) => with_ca_file(path)?,
            None => shared.clone(),
        };
        let shown = upstream.client_certificate.as_ref();
        Ok(Tls {
            endpoints: shown.map(|shown| showing(&others, shown)).transpose()?,
            others,
        })
    }
}

/// The configuration that upstreams without a `ca_file` share.
///
/// A machine without any trusted certificate (a bare container) still serves upstreams that are
/// configured as plain http; each https connection then fails with an error that says what to do.
pub(crate) fn shared() -> Result<ClientConfig, rustls::Error> {
    let provider = pem::provider();
    match Verifier::new(provider.clone()) {
        Ok(verifier) => config(provider, Arc::new(verifier)),
        Err(error) => {
            tracing::warn!(%error, "{NO_ROOTS}");
            config(provider.clone(), Arc::new(NoRoots { provider }))
        }
    }
}

/// The machine's certificates and those in `ca_file`. Nothing is shared with other upstreams, so
/// that no session verified by this upstream's authority is resumed elsewhere.
fn with_ca_file(path: &Path) -> Result<ClientConfig, TlsError> {
    let problem = |problem: String| TlsError {
        key: "ca_file",
        path: path.to_owned(),
        problem,
    };
    let roots = pem::certificates(path).map_err(problem)?;
    let provider = pem::provider();
    let verifier = Verifier::new_with_extra_roots(roots, provider.clone())
        .map_err(|error| problem(error.to_string()))?;
    config(provider, Arc::new(verifier)).map_err(|error| problem(error.to_string()))
}

/// As `config`, and a certificate for whoever asks for one.
fn showing(config: &ClientConfig, shown: &ClientCertificate) -> Result<ClientConfig, TlsError> {
    let of_certificate = |problem: String| TlsError {
        key: "client_cert",
        path: shown.certificate.clone(),
        problem,
    };
    let of_key = |problem: String| TlsError {
        key: "client_key",
        path: shown.key.clone(),
        problem,
    };
    let chain = pem::certificates(&shown.certificate).map_err(of_certificate)?;
    let certified =
        pem::certified(chain, &shown.key, "client_cert").map_err(|error| match error {
            PairError::Certificate(problem) => of_certificate(problem),
            PairError::Key(problem) => of_key(problem),
        })?;
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    config.resumption = Resumption::default();
    Ok(config)
}

fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

const NO_ROOTS: &str = "this machine has no trusted CA certificates: install the ca-certificates package, \
     or set SSL_CERT_FILE, or ca_file for the upstream";

/// Refuses every certificate, saying why.
#[derive(Debug)]
struct NoRoots {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NoRoots {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Err(no_roots())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_roots())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_roots())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn no_roots() -> rustls::Error {
    rustls::Error::General(NO_ROOTS.to_owned())
}
