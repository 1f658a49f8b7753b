//! Reads `X-Forwarded-For` and `Forwarded` (RFC 7239) from the end: the address that each proxy saw, the nearest proxy's
//! first, and `None` for what is no address.
//!
//! A list is split at every comma from its end, quoted or not: what a client has put before it, an open quote say, can't
//! reach into what a proxy has added. No address has a comma in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};

use super::ClientAddr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// An entry of either header, where it is an address.
type Entry = Option<ClientAddr>;

pub(super) fn x_forwarded_for(headers: &HeaderMap) -> Box<dyn Iterator<Item = Entry> + '_> {
    Box::new(entries(headers, X_FORWARDED_FOR).map(|entry| node(entry?)))
}

pub(super) fn forwarded(headers: &HeaderMap) -> Box<dyn Iterator<Item = Entry> + '_> {
    Box::new(entries(headers, FORWARDED).map(|entry| node(named_for(entry?)?)))
}

/// The entries of all lines of a header, the last one first. A line that is no text is one bad entry.
fn entries(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = Option<&str>> {
    let lines = headers.get_all(name).iter().rev();
    lines.flat_map(|line| {
        let (text, bad) = match line.to_str() {
            Ok(text) => (Some(text), None),
            Err(_) => (None, Some(None)),
        };
        let parts = text.into_iter().flat_map(|text| text.rsplit(','));
        parts
            .map(|part| Some(part.trim_matches([' ', '\t'])))
            .chain(bad)
    })
}

/// The value of an element's one `for` parameter, without its quotes.
fn named_for(element: &str) -> Option<&str> {
    let mut found = None;
    let pairs = element
        .split(';')
        .map(|pair| pair.trim_matches([' ', '\t']));
    // Some end with a semicolon.
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
    }
    let value = found?;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        // A colon or a bracket has to be quoted (section 4); some leave the quotes out, and mean the same.
        None => Some(value),
    }
}

/// An address with or without a port (RFC 7239, section 6). `unknown` and names that hide an address are none.
fn node(text: &str) -> Entry {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port = match rest {
            "" => None,
            _ => Some(port(rest.strip_prefix(':')?)?),
        };
        return Some(ClientAddr::new(address.into(), port));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(ClientAddr::new(address, None));
    }
    let (address, digits) = text.split_once(':')?;
    let address: Ipv4Addr = address.parse().ok()?;
    Some(ClientAddr::new(address.into(), Some(port(digits)?)))
}

fn port(text: &str) -> Option<u16> {
    let plain = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}
