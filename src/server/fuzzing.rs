//! What has to hold of the header that a proxy begins a connection with.

use std::net::SocketAddr;

use super::proxy::{SIGNATURE, Source, parse_v1, parse_v2};

/// A PROXY header of either version: whoever it names is written in it, in so many bytes.
pub(crate) fn proxy_header(input: &[u8]) {
    match input.strip_prefix(&SIGNATURE) {
        Some([command, family, high, low, rest @ ..]) => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let addresses = &rest[..length.min(rest.len())];
            let source = parse_v2([*command, *family], addresses);
            if let Some(Source::Client(client)) = source {
                stands_in(client, addresses);
            }
        }
        Some(_) => {}
        None => {
            if let Some(Source::Client(client)) = parse_v1(input) {
                is_written_in(client, input);
            }
        }
    }
}

/// Source, destination, the source's port, the destination's.
fn stands_in(client: SocketAddr, addresses: &[u8]) {
    let source = match client {
        SocketAddr::V4(client) => client.ip().octets().to_vec(),
        SocketAddr::V6(client) => client.ip().octets().to_vec(),
    };
    assert!(addresses.starts_with(&source));
    assert!(addresses[2 * source.len()..].starts_with(&client.port().to_be_bytes()));
}

/// The words of version 1 are those of one line.
fn is_written_in(client: SocketAddr, line: &[u8]) {
    let line = std::str::from_utf8(line).expect("a header is text");
    let line = line.strip_suffix("\r\n").expect("it ends its line");
    let words: Vec<_> = line.split(' ').collect();
    let [proxy, family, source, _, port, _] = words[..] else {
        panic!("{line:?}");
    };
    let own = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    assert_eq!((proxy, family), ("PROXY", own));
    assert_eq!(source.parse().ok(), Some(client.ip()));
    assert_eq!(port, client.port().to_string());
}
