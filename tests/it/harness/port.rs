//! A port that is a test's own for as long as it is held.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// Bound and never listening, so that the kernel gives the port to nobody while the mirror that listens there is down: not
/// to another process, and not as the near end of a connect to this very port, which would then succeed with itself.
#[derive(Debug)]
pub(super) struct Port(TcpSocket);

impl Port {
    /// Any that is free.
    pub(super) fn reserve() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        // The mirror says so too, else only one of them could be bound.
        socket.set_reuseaddr(true).expect("a socket takes options");
        let bound = socket.bind((Ipv4Addr::LOCALHOST, 0).into());
        bound.expect("a port is free");
        Self(socket)
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it is bound")
    }
}
