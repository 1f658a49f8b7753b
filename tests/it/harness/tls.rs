//! TLS before something that has none, as a load balancer does it, with an authority of its own.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use forebay_loadtest::certificates::Authority;
use forebay_loadtest::front;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The authority of the certificate, which is for 127.0.0.1 and 192.0.2.1.
pub(crate) fn authority() -> PathBuf {
    fixture("authority.pem")
}

/// Puts TLS before `target`, which is `HOST:PORT`, at a port of `address`.
pub(crate) async fn tls_before(target: String, address: IpAddr) -> SocketAddr {
    let [certificate, key] = ["server.pem", "server.key"].map(fixture);
    tls_with(&certificate, &key, target, address).await
}

/// As [`tls_before`], with another certificate.
pub(crate) async fn tls_with(
    certificate: &Path,
    key: &Path,
    target: String,
    address: IpAddr,
) -> SocketAddr {
    let tls = showing(builder().with_no_client_auth(), certificate, key);
    front::tls_before(target, tls, address).await.unwrap()
}

type WantsCertificate = rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>;

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    builder.with_safe_default_protocol_versions().unwrap()
}

fn showing(builder: WantsCertificate, certificate: &Path, key: &Path) -> ServerConfig {
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = builder.with_single_cert(chain(certificate), key);
    config.unwrap()
}

fn chain(file: &Path) -> Vec<CertificateDer<'static>> {
    let certificates = CertificateDer::pem_file_iter(file).unwrap();
    certificates.collect::<Result<_, _>>().unwrap()
}

/// The certificate of a client and its key, for [`Asking`].
pub(crate) fn client_certificate() -> [PathBuf; 2] {
    ["client.pem", "client.key"].map(fixture)
}

/// The files that a server takes which asks for that one: certificate, key, and the clients' authority.
pub(crate) fn asking_files() -> [PathBuf; 3] {
    ["server.pem", "server.key", "clients-authority.pem"].map(fixture)
}

/// TLS in which the server asks its clients for a certificate, and notes who showed one.
pub(crate) struct Asking {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

/// What came to [`Asking`]: the address of each connection, and whether the right certificate was shown there.
pub(crate) type Callers = Arc<Mutex<Vec<(SocketAddr, bool)>>>;

impl Asking {
    /// One that lets in who shows it.
    pub(crate) async fn demanding() -> Self {
        Self::bind(true).await
    }

    /// One that lets everyone in.
    pub(crate) async fn curious() -> Self {
        Self::bind(false).await
    }

    async fn bind(demands: bool) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in chain(&fixture("clients-authority.pem")) {
            roots.add(certificate).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = if demands {
            verifier
        } else {
            verifier.allow_unauthenticated()
        };
        let builder = builder().with_client_cert_verifier(verifier.build().unwrap());
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            acceptor: TlsAcceptor::from(Arc::new(showing(
                builder,
                &fixture("server.pem"),
                &fixture("server.key"),
            ))),
        }
    }

    /// Where it listens, as `https://HOST:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.listener.local_addr().unwrap())
    }

    /// Stands before `target`, which is `HOST:PORT`, from now on.
    pub(crate) fn before(self, target: &str) -> Callers {
        let callers = Callers::default();
        let (noted, target) = (Arc::clone(&callers), target.to_owned());
        tokio::spawn(async move {
            while let Ok((socket, caller)) = self.listener.accept().await {
                let (acceptor, target) = (self.acceptor.clone(), target.clone());
                let noted = Arc::clone(&noted);
                tokio::spawn(async move {
                    let accepted = acceptor.accept(socket).await;
                    let has_shown = accepted.as_ref().is_ok_and(|outside| {
                        let shown = outside.get_ref().1.peer_certificates();
                        shown == Some(&chain(&fixture("client.pem"))[..])
                    });
                    noted.lock().unwrap().push((caller, has_shown));
                    let mut outside = accepted?;
                    let mut inside = TcpStream::connect(target).await?;
                    copy_bidirectional(&mut outside, &mut inside).await
                });
            }
        });
        callers
    }
}

/// `[server.tls]`, or another table of a listener, with a certificate for 127.0.0.1 in the mirror's directory.
pub(crate) fn listener_tls(table: &str, authority: &Authority, dir: &Path) -> String {
    let pair = authority.server(&["127.0.0.1"]);
    let [certificate, key] = pair.write(dir, table).unwrap();
    let [certificate, key] = [certificate.display(), key.display()];
    format!("[{table}.tls]\ncert_file = '{certificate}'\nkey_file = '{key}'")
}

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/upstream/tests/tls");
    fixtures.join(name)
}
