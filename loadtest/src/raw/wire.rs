//! Bytes to and from a server, in plain or under TLS.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::Target;
use super::exchange::Exchange;

/// What is read at a time where it has to be looked at.
const HEAD_READ: usize = 16 << 10;

/// A connection that is open.
pub(super) struct Wire {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Wire {
    /// Connects, and shakes hands where TLS is spoken. The kernel keeps `received` bytes of what is not read, or as many as it
    /// likes.
    pub(super) fn open(target: &Target, received: Option<usize>) -> io::Result<Self> {
        let mut socket = connected(target.address, received)?;
        socket.set_nodelay(true)?;
        let tls = match &target.tls {
            None => None,
            Some(config) => Some(Box::new(handshake(config, target.address, &mut socket)?)),
        };
        socket.set_nonblocking(true)?;
        Ok(Self { socket, tls })
    }

    /// Sends a request. Nothing else is on its way, so that the kernel takes it at once.
    pub(super) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return self.socket.write_all(request);
        };
        tls.writer().write_all(request)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Takes what has come, as much as `scratch` holds. An error that it would block is one like others.
    pub(super) fn receive(
        &mut self,
        exchange: &mut Exchange,
        scratch: &mut [u8],
    ) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            let count = some(self.socket.read(scratch)?)?;
            return decrypt(tls, &scratch[..count], exchange);
        }
        match exchange.left() {
            None => {
                let most = scratch.len().min(HEAD_READ);
                let count = some(self.socket.read(&mut scratch[..most])?)?;
                exchange.take(&scratch[..count])
            }
            Some(left) => {
                let most = usize::try_from(left).unwrap_or(usize::MAX);
                let most = scratch.len().min(most);
                // Read as clients read. The kernel could drop the bytes unread (MSG_TRUNC), but what is not copied by the
                // receiver is cheaper to send as well, for `sendfile` twice over: no client would see that.
                let count = self.socket.read(&mut scratch[..most])?;
                exchange.skip(some(count)? as u64)
            }
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn some(count: usize) -> io::Result<usize> {
    match count {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

fn connected(to: SocketAddr, received: Option<usize>) -> io::Result<TcpStream> {
    let Some(received) = received else {
        return TcpStream::connect(to);
    };
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Before it is connected, or the window has been told already.
    set_socket_recv_buffer_size(&socket, received)?;
    connect(&socket, &to)?;
    Ok(socket.into())
}

fn handshake(
    config: &Arc<ClientConfig>,
    with: SocketAddr,
    socket: &mut TcpStream,
) -> io::Result<ClientConnection> {
    let name = ServerName::from(with.ip());
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(socket)?;
    }
    Ok(tls)
}

fn decrypt(
    tls: &mut ClientConnection,
    mut bytes: &[u8],
    exchange: &mut Exchange,
) -> io::Result<()> {
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes)?;
        tls.process_new_packets().map_err(io::Error::other)?;
        loop {
            let mut reader = tls.reader();
            let plain = match reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                plain => plain?,
            };
            let count = plain.len();
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            exchange.take(plain)?;
            reader.consume(count);
        }
    }
    Ok(())
}
