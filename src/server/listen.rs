//! Binding, with errors that say what to change.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel holds until the server comes to accept them.
const BACKLOG: u32 = 4096;

/// An address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", advice(.source, .key))]
pub struct BindError {
    address: SocketAddr,
    key: &'static str,
    source: io::Error,
}

/// Binds `address`; `key` is the configuration's key it came from, named in the error.
pub fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, BindError> {
    try_bind(address).map_err(|source| BindError {
        address,
        key,
        source,
    })
}

fn try_bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart must not wait for the old process's connections to leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn advice(source: &io::Error, key: &str) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the address is taken by another process; stop it, or set another address at `{key}`"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE, or set another port at `{key}`"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("this host has no such address; set one of its own at `{key}`")
        }
        _ => format!("{source}; the address comes from `{key}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_names_the_address_and_the_key() {
        let first = bind("127.0.0.1:0".parse().unwrap(), "server.listen").unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address, "server.listen").unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(
            error.contains("taken") && error.contains("`server.listen`"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_foreign_address_is_told_apart_from_a_taken_one() {
        let error = bind("192.0.2.1:0".parse().unwrap(), "admin.listen")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no such address") && error.contains("`admin.listen`"),
            "{error}"
        );
    }
}
