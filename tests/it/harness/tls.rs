//! TLS before something that has none, as a load balancer does it, with an authority of its own.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The authority of the certificate, which is for 127.0.0.1 and 192.0.2.1.
pub(crate) fn authority() -> PathBuf {
    fixture("authority.pem")
}

/// Puts TLS before `target`, which is `HOST:PORT`, at a port of `address`.
pub(crate) async fn tls_before(target: String, address: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = acceptor();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, target) = (acceptor.clone(), target.clone());
            tokio::spawn(async move {
                let mut outside = acceptor.accept(socket).await?;
                let mut inside = TcpStream::connect(target).await?;
                copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    });
    address
}

fn acceptor() -> TlsAcceptor {
    let certificates = CertificateDer::pem_file_iter(fixture("server.pem")).unwrap();
    let certificates = certificates.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/upstream/tests/tls");
    fixtures.join(name)
}
