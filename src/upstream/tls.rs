//! One TLS client configuration for all upstreams: the machine's trusted certificates, and for an
//! upstream with `ca_file` those as well.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// Why an upstream's `ca_file` can't be used.
#[derive(Debug, thiserror::Error)]
#[error("ca_file: {}: {problem}; it must hold certificates in PEM form", path.display())]
pub struct TlsError {
    /// The configured path.
    pub path: PathBuf,
    /// What was wrong with it.
    pub problem: String,
}

/// The configuration that upstreams without a `ca_file` share.
///
/// A machine without any trusted certificate (a bare container) still serves upstreams that are
/// configured as plain http; each https connection then fails with an error that says what to do.
pub(crate) fn shared() -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
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
pub(crate) fn with_ca_file(path: &Path) -> Result<ClientConfig, TlsError> {
    let problem = |problem: String| TlsError {
        path: path.to_owned(),
        problem,
    };
    let roots = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| problem(error.to_string()))?;
    if roots.is_empty() {
        return Err(problem("no certificate found".to_owned()));
    }
    let provider = provider();
    let verifier = Verifier::new_with_extra_roots(roots, provider.clone())
        .map_err(|error| problem(error.to_string()))?;
    config(provider, Arc::new(verifier)).map_err(|error| problem(error.to_string()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
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
