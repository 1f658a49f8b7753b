//! Binding, with errors that say what to change.
//!
//! `[::]` is every interface, whatever the system makes of it by itself: those of IPv4 belong to it unless `0.0.0.0` is written
//! beside it, and they are all of it where there is no IPv6.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use rustix::io::Errno;
use socket2::SockRef;
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

/// What is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bound {
    address: SocketAddr,
    /// Whether IPv4 is left out, where that has to be said.
    only_v6: Option<bool>,
}

/// Binds `addresses`; `key` is the configuration's key they came from, named in the error.
pub fn bind_all(
    addresses: &[SocketAddr],
    key: &'static str,
) -> Result<Vec<TcpListener>, BindError> {
    let has_v6 = !TcpSocket::new_v6().is_err_and(|error| is_off(&error));
    let bound = bound(addresses, has_v6).into_iter();
    bound.map(|bound| try_bind(bound, key)).collect()
}

/// Binds one address as the system has it.
pub fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, BindError> {
    let only_v6 = None;
    try_bind(Bound { address, only_v6 }, key)
}

/// What is bound for `addresses` on a machine with IPv6, or without.
fn bound(addresses: &[SocketAddr], has_v6: bool) -> Vec<Bound> {
    let mut all = Vec::new();
    for &address in addresses {
        let is_every = address.is_ipv6() && address.ip().is_unspecified();
        if !is_every {
            let only_v6 = None;
            all.push(Bound { address, only_v6 });
            continue;
        }
        let every_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        let is_beside = addresses.contains(&every_v4);
        if has_v6 {
            let only_v6 = Some(is_beside);
            all.push(Bound { address, only_v6 });
            continue;
        }
        tracing::warn!(%address, "this machine has no IPv6: listening on every interface of IPv4 alone");
        if !is_beside {
            all.push(Bound {
                address: every_v4,
                only_v6: None,
            });
        }
    }
    all
}

fn try_bind(bound: Bound, key: &'static str) -> Result<TcpListener, BindError> {
    let listening = open(bound).and_then(|socket| {
        socket.bind(bound.address)?;
        socket.listen(BACKLOG)
    });
    listening.map_err(|source| BindError {
        address: bound.address,
        key,
        source,
    })
}

fn open(bound: Bound) -> io::Result<TcpSocket> {
    let socket = match bound.address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart must not wait for the old process's connections to leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    if let Some(only_v6) = bound.only_v6 {
        SockRef::from(&socket).set_only_v6(only_v6)?;
    }
    Ok(socket)
}

/// Whether the machine does not speak that kind of address at all.
fn is_off(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
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
        _ if is_off(source) => {
            format!("this machine has no such addresses at all; set one of IPv4 at `{key}`")
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

    fn planned(addresses: &[&str], has_v6: bool) -> Vec<(String, Option<bool>)> {
        let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let bound = bound(&addresses, has_v6).into_iter();
        bound
            .map(|bound| (bound.address.to_string(), bound.only_v6))
            .collect()
    }

    #[test]
    fn every_interface_is_every_interface_with_and_without_ipv6() {
        let own = |address: &str| (address.to_owned(), None);
        let every = |only_v6| ("[::]:7".to_owned(), Some(only_v6));
        assert_eq!(
            planned(&["[::]:7", "[::1]:8"], true),
            [every(false), own("[::1]:8")]
        );
        let beside = ["0.0.0.0:7", "[::]:7"];
        assert_eq!(planned(&beside, true), [own("0.0.0.0:7"), every(true)]);
        let other_port = ["0.0.0.0:8", "[::]:7"];
        assert_eq!(planned(&other_port, true), [own("0.0.0.0:8"), every(false)]);
        assert_eq!(
            planned(&["[::]:7", "127.0.0.1:8"], false),
            [own("0.0.0.0:7"), own("127.0.0.1:8")]
        );
        assert_eq!(planned(&beside, false), [own("0.0.0.0:7")]);
    }

    /// Which one the system does by itself is for its administrator to say.
    #[tokio::test]
    async fn whether_ipv4_belongs_to_every_interface_is_said_to_the_system() {
        for only_v6 in [false, true] {
            let socket = open(Bound {
                address: "[::]:0".parse().unwrap(),
                only_v6: Some(only_v6),
            });
            match socket {
                Ok(socket) => assert_eq!(SockRef::from(&socket).only_v6().unwrap(), only_v6),
                Err(error) => assert!(is_off(&error), "{error}"),
            }
        }
    }

    #[test]
    fn an_address_of_a_kind_that_is_off_says_which_kind_to_use() {
        let error = BindError {
            address: "[::1]:7".parse().unwrap(),
            key: "server.listen",
            source: Errno::AFNOSUPPORT.into(),
        };
        let told = error.to_string();
        assert!(
            told.contains("[::1]:7") && told.contains("IPv4") && told.contains("`server.listen`"),
            "{told}"
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
