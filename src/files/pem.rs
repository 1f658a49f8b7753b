//! Files in PEM form, which TLS takes: certificates, and the key that belongs to one. Errors are for the operator.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// What all TLS here computes with.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Has what TLS computes with gather its first randomness, which takes it some 50 ms of computing: whoever shakes hands first
/// would wait for it. Blocks.
pub fn gather_randomness() {
    // Who needs it and can't have it says so.
    let _ = provider().secure_random.fill(&mut [0; 1]);
}

/// What a file holds, at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    const WANTED: &str = "it must hold certificates in PEM form";
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("{error}; {WANTED}"))?;
    if found.is_empty() {
        return Err(format!("no certificate found; {WANTED}"));
    }
    Ok(found)
}

/// Which of the two files that make a pair is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairError {
    /// The certificates'.
    Certificate(String),
    /// The key's.
    Key(String),
}

/// The certificates of a file and the key in another, where it is that of the first one. `named` is the configuration's key
/// of the certificates' file.
pub fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &Path,
    named: &str,
) -> Result<CertifiedKey, PairError> {
    // What these errors say of a key is left out: nothing of it is to be printed.
    let of_key = |problem: &str| PairError::Key(problem.to_owned());
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|_| of_key("it holds no private key in PEM form that can be read"))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => PairError::Key(format!(
            "this is not the key of the first certificate in {named}"
        )),
        rustls::Error::InvalidCertificate(error) => PairError::Certificate(error.to_string()),
        _ => of_key("this is no RSA, ECDSA or Ed25519 key that can be used"),
    })
}
