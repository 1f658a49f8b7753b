//! Certificates of an authority of one's own, for TLS in tests, and clients that trust it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use rcgen::SanType;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::client::WantsClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{
    ALL_VERSIONS, ClientConfig, ConfigBuilder, RootCertStore, ServerConfig,
    SupportedProtocolVersion,
};

/// Who signs.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// Where this machine can make no keys.
    pub fn new(name: &str) -> Self {
        let mut authority = params(name, &[]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(authority, new_key());
        Self(issuer.expect("it can sign itself"))
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate of a server that is reached by `names`, which may be addresses.
    pub fn server(&self, names: &[&str]) -> Pair {
        self.sign(params(names[0], names), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// As [`Self::server`], valid until then.
    pub fn server_until(&self, names: &[&str], end: SystemTime) -> Pair {
        let mut server = params(names[0], names);
        server.not_after = end.into();
        self.sign(server, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate of a client with a common name, and alternative `names` beside it.
    pub fn client(&self, common: &str, names: &[&str]) -> Pair {
        self.sign(params(common, names), ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate of a client with a common name, and alternative names of any kind.
    pub fn client_with(&self, common: &str, names: Vec<SanType>) -> Pair {
        let mut client = params(common, &[]);
        client.subject_alt_names = names;
        self.sign(client, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// As [`Self::client`], valid until then.
    pub fn client_until(&self, common: &str, end: SystemTime) -> Pair {
        let mut client = params(common, &[]);
        client.not_after = end.into();
        self.sign(client, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, mut subject: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Pair {
        let key = new_key();
        subject.extended_key_usages = vec![usage];
        let certificate = subject.signed_by(&key, &self.0);
        Pair {
            certificate: certificate.expect("it can be signed").pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Pair {
    /// Writes it down as `name.crt` and `name.key`.
    ///
    /// # Errors
    /// As writing files does.
    pub fn write(&self, dir: &Path, name: &str) -> io::Result<[PathBuf; 2]> {
        let paths = ["crt", "key"].map(|end| dir.join(format!("{name}.{end}")));
        fs::write(&paths[0], &self.certificate)?;
        fs::write(&paths[1], &self.key)?;
        Ok(paths)
    }

    /// TLS of a server that shows it, and asks for none.
    ///
    /// # Panics
    /// Where it is no certificate with its key.
    pub fn shown(&self) -> ServerConfig {
        self.shown_by(rustls::crypto::aws_lc_rs::default_provider())
    }

    /// As [`Self::shown`], with what this provider has.
    ///
    /// # Panics
    /// As that.
    pub fn shown_by(&self, provider: CryptoProvider) -> ServerConfig {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes());
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has it")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.expect("it is a certificate")],
                key.expect("it is a key"),
            );
        config.expect("the key is the certificate's")
    }
}

/// TLS of a client that trusts these authorities, and may show a certificate.
///
/// # Panics
/// Where what is shown is no certificate with its key.
pub fn trusting(authorities: &[&Authority], shown: Option<&Pair>) -> ClientConfig {
    trusting_by(ALL_VERSIONS, authorities, shown)
}

/// As [`trusting`], by these versions of TLS alone.
///
/// # Panics
/// As [`trusting`], and without a version.
pub fn trusting_by(
    versions: &[&'static SupportedProtocolVersion],
    authorities: &[&Authority],
    shown: Option<&Pair>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let root = roots.add(authority.0.der().clone());
        root.expect("it is an authority's");
    }
    let builder = client_of(versions, roots).expect("there are versions");
    let Some(pair) = shown else {
        return builder.with_no_client_auth();
    };
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes());
    let config = builder.with_client_auth_cert(
        vec![certificate.expect("a certificate")],
        key.expect("a key"),
    );
    config.expect("they belong together")
}

/// TLS of a client that trusts `roots`, before it is said what it shows.
pub(crate) fn client_of(
    versions: &[&'static SupportedProtocolVersion],
    roots: RootCertStore,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
    Ok(builder.with_root_certificates(roots))
}

fn params(common: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names are names of hosts");
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("keys can be made")
}
