//! The way to a server: its address, and TLS where it speaks that.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ALL_VERSIONS, RootCertStore};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::certificates::client_of;

/// What goes to and fro, in plain or under TLS.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// How a server is reached.
#[derive(Clone)]
pub struct Way {
    to: SocketAddr,
    /// As requests name it.
    host: String,
    /// Whom its certificate has to be for.
    name: ServerName<'static>,
    tls: Option<TlsConnector>,
}

impl Way {
    /// In plain.
    pub fn plain(to: SocketAddr) -> Self {
        Self {
            to,
            host: to.to_string(),
            name: ServerName::from(to.ip()),
            tls: None,
        }
    }

    /// Under TLS, by a certificate of `authority`, which is a file of PEM, for the server's address.
    ///
    /// # Errors
    /// Where the file can't be read, or holds no certificate of an authority.
    pub fn secure(to: SocketAddr, authority: &Path) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(authority).map_err(io::Error::other)? {
            let root = root.map_err(io::Error::other)?;
            roots.add(root).map_err(io::Error::other)?;
        }
        let client = client_of(ALL_VERSIONS, roots).map_err(io::Error::other)?;
        Ok(Self {
            tls: Some(Arc::new(client.with_no_client_auth()).into()),
            ..Self::plain(to)
        })
    }

    /// The same, to a server that is called `name` and that requests call `host`, a port with it where it has to be said.
    ///
    /// # Errors
    /// Where it is neither a name nor an address.
    pub fn named(self, name: &str, host: &str) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned());
        Ok(Self {
            name: name.map_err(io::Error::other)?,
            host: host.to_owned(),
            ..self
        })
    }

    /// What requests call it.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Where it leads.
    pub fn address(&self) -> SocketAddr {
        self.to
    }

    /// Connects from an address of this machine, or from any. The kernel keeps `received` bytes of what is not read, or
    /// as many as it likes.
    ///
    /// # Errors
    /// As connecting has them, and those of a handshake.
    pub async fn connect(&self, from: Option<IpAddr>, received: Option<u32>) -> io::Result<Stream> {
        let socket = match self.to {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        if let Some(bytes) = received {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(from) = from {
            socket.bind((from, 0).into())?;
        }
        let stream = socket.connect(self.to).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Either::Left(stream));
        };
        let stream = tls.connect(self.name.clone(), stream).await?;
        Ok(Either::Right(Box::new(stream)))
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::certificates::Authority;
    use crate::fleet::Connection;

    /// A server that answers the first request of each connection.
    async fn server(authority: &Authority) -> SocketAddr {
        let pair = authority.server(&["127.0.0.1"]);
        let acceptor = TlsAcceptor::from(Arc::new(pair.shown()));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // Who doesn't believe the certificate leaves.
                let Ok(mut stream) = acceptor.accept(socket).await else {
                    continue;
                };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
                stream.write_all(answer).await.unwrap();
                stream.flush().await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_server_is_asked_over_tls_where_its_authority_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let [known, unknown] = ["known", "unknown"].map(Authority::new);
        let [trusted, other] = ["trusted.pem", "other.pem"].map(|name| dir.path().join(name));
        std::fs::write(&trusted, known.pem()).unwrap();
        std::fs::write(&other, unknown.pem()).unwrap();
        let address = server(&known).await;

        let way = Way::secure(address, &trusted).unwrap();
        let mut connection = Connection::open(None, &way).await.unwrap();
        let answer = connection.ask(&Method::GET, "/").await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"hi"[..]));

        let way = Way::secure(address, &other).unwrap();
        assert!(Connection::open(None, &way).await.is_err());
        assert!(Way::secure(address, &dir.path().join("none.pem")).is_err());
    }
}
