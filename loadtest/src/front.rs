//! TLS before something that speaks none, as a load balancer does it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Bytes that are taken from either side at a time.
const PIECE: usize = 64 << 10;

/// Puts TLS before `target`, which is `HOST:PORT`, at a port of `address` that the system chooses, for as long as the runtime
/// of the caller runs.
///
/// # Errors
/// Where nothing can listen there.
pub async fn tls_before(
    target: String,
    tls: ServerConfig,
    address: IpAddr,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((address, 0)).await?;
    let address = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, target) = (acceptor.clone(), target.clone());
            tokio::spawn(async move {
                let mut outside = acceptor.accept(socket).await?;
                let mut inside = TcpStream::connect(target).await?;
                inside.set_nodelay(true)?;
                outside.get_ref().0.set_nodelay(true)?;
                copy_bidirectional_with_sizes(&mut outside, &mut inside, PIECE, PIECE).await
            });
        }
    });
    Ok(address)
}
