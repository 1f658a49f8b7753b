//! The header of the PROXY protocol, version 1 or 2, with which a proxy begins a connection to say whose it is.
//!
//! It is read before anything else, TLS included, and not a byte beyond it. Whether there is one is settled by who connects,
//! as the protocol demands: what a client may leave out, or write by itself, would let it be whoever it likes.
//!
//! Of version 2, what follows the addresses is skipped.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What version 2 begins with; version 1 is never shorter.
pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of version 1, with its end of line.
const LONGEST_V1: usize = 107;
/// Longest header of version 2 that is read, after its first 16 bytes: names and certificates may stand in it.
const LONGEST_V2: u16 = 4096;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// That of a client at this address.
    Client(SocketAddr),
    /// The proxy's own, as when it tests whether the mirror is alive; or its client has no address.
    Proxy,
}

/// Why a connection has no header that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    /// It ended, or failed, before one was there.
    #[error("the connection ended in its PROXY protocol header: {0}")]
    Ended(#[from] io::Error),
    /// It begins with something else, or with a header that does not parse.
    #[error(
        "the connection does not begin with a PROXY protocol header; have the proxy send one, or set `proxy_protocol` in [server] to false"
    )]
    Malformed,
}

/// Reads the header of a new connection.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Source, ProxyError> {
    let mut begin = [0; SIGNATURE.len()];
    stream.read_exact(&mut begin).await?;
    if begin == SIGNATURE {
        return read_v2(stream).await;
    }
    if !begin.starts_with(b"PROXY ") {
        return Err(ProxyError::Malformed);
    }
    let mut line = begin.to_vec();
    while !line.ends_with(b"\n") {
        // What comes after the line is the client's, and is left where it is.
        let mut next = [0; LONGEST_V1];
        let seen = stream.peek(&mut next[line.len()..]).await?;
        let next = &next[line.len()..][..seen];
        let end = next.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(seen, |end| end + 1);
        if taken == 0 {
            let is_full = line.len() == LONGEST_V1;
            let ended = ProxyError::Ended(io::ErrorKind::UnexpectedEof.into());
            return Err(if is_full {
                ProxyError::Malformed
            } else {
                ended
            });
        }
        let before = line.len();
        line.resize(before + taken, 0);
        stream.read_exact(&mut line[before..]).await?;
    }
    parse_v1(&line).ok_or(ProxyError::Malformed)
}

async fn read_v2(stream: &mut TcpStream) -> Result<Source, ProxyError> {
    let mut kind = [0; 2];
    stream.read_exact(&mut kind).await?;
    let length = stream.read_u16().await?;
    if length > LONGEST_V2 {
        return Err(ProxyError::Malformed);
    }
    let mut rest = vec![0; usize::from(length)];
    stream.read_exact(&mut rest).await?;
    parse_v2(kind, &rest).ok_or(ProxyError::Malformed)
}

/// A whole line of version 1; `None` where it is malformed.
pub(super) fn parse_v1(line: &[u8]) -> Option<Source> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let rest = line.strip_prefix("PROXY ")?;
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(Source::Proxy);
    }
    let mut words = rest.split(' ');
    let mut word = || words.next();
    let is_v4 = match word()? {
        "TCP4" => true,
        "TCP6" => false,
        _ => return None,
    };
    let [source, _destination] = [address(word()?, is_v4)?, address(word()?, is_v4)?];
    let [port, _destination_port] = [port(word()?)?, port(word()?)?];
    word()
        .is_none()
        .then_some(Source::Client((source, port).into()))
}

fn address(text: &str, is_v4: bool) -> Option<IpAddr> {
    if is_v4 {
        return text.parse::<Ipv4Addr>().ok().map(IpAddr::from);
    }
    text.parse::<Ipv6Addr>().ok().map(IpAddr::from)
}

fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_padded = text.len() > 1 && text.starts_with('0');
    (is_plain && !is_padded).then(|| text.parse().ok())?
}

/// Command, family and the rest of a header of version 2; as [`parse_v1`].
pub(super) fn parse_v2([command, family]: [u8; 2], rest: &[u8]) -> Option<Source> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    const UNSPECIFIED: u8 = 0x00;
    const TCP4: u8 = 0x11;
    const TCP6: u8 = 0x21;
    const UNIX: u8 = 0x31;
    match (command, family) {
        (LOCAL, _) | (PROXY, UNSPECIFIED | UNIX) => Some(Source::Proxy),
        (PROXY, TCP4) => {
            let (source, rest) = rest.split_first_chunk::<4>()?;
            let port = port_after(rest, 4)?;
            Some(Source::Client((*source, port).into()))
        }
        (PROXY, TCP6) => {
            let (source, rest) = rest.split_first_chunk::<16>()?;
            let port = port_after(rest, 16)?;
            Some(Source::Client((*source, port).into()))
        }
        _ => None,
    }
}

/// The source's port, which stands behind the destination's address and before the destination's port.
fn port_after(rest: &[u8], address: usize) -> Option<u16> {
    let ports = rest.get(address..address + 4)?;
    Some(u16::from_be_bytes([ports[0], ports[1]]))
}

#[cfg(test)]
mod tests;
