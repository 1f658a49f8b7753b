//! Reads `X-Forwarded-For` with `X-Forwarded-Proto`, and `Forwarded` (RFC 7239), from the end: what each proxy saw, the
//! nearest one's first. Of `X-Real-IP`, in which some proxies name a client, only whether it tells of one.
//!
//! A list is split at every comma from its end, quoted or not: what a client has put before it, an open quote say, can't
//! reach into what a proxy has added. No address has a comma in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};

use super::{ClientAddr, Scheme};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What one proxy says of who speaks to it; `None` is what it does not say, or not so that it can be read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hop {
    /// Whether it tells of anyone, in whatever way.
    pub(super) tells: bool,
    pub(super) address: Option<ClientAddr>,
    pub(super) scheme: Option<Scheme>,
}

impl Hop {
    /// Whether it tells of somebody who is not at `known`.
    pub(super) fn tells_of_another(&self, known: ClientAddr) -> bool {
        self.tells && self.address.is_none_or(|it| it.ip() != known.ip())
    }
}

/// Whether any header tells of somebody who is not at `known`: a proxy has written it, or it is made up.
pub(super) fn tell_of_another(headers: &HeaderMap, known: ClientAddr) -> bool {
    let telling = [X_FORWARDED_FOR, FORWARDED, X_REAL_IP];
    if !telling.iter().any(|name| headers.contains_key(name)) {
        return false;
    }
    let real = entries(headers, X_REAL_IP).map(|entry| Hop {
        tells: true,
        address: entry.and_then(node),
        scheme: None,
    });
    let mut hops = x_forwarded_for(headers)
        .chain(forwarded(headers))
        .chain(real);
    hops.any(|hop| hop.tells_of_another(known))
}

/// Most proxies write the scheme over, few add to it. So where there are fewer schemes than addresses, the last one that is
/// there stands for the rest.
pub(super) fn x_forwarded_for(headers: &HeaderMap) -> Box<dyn Iterator<Item = Hop> + '_> {
    let mut addresses = entries(headers, X_FORWARDED_FOR);
    let mut schemes = entries(headers, X_FORWARDED_PROTO);
    Box::new(std::iter::from_fn(move || {
        let (address, scheme) = (addresses.next(), schemes.next());
        if address.is_none() && scheme.is_none() {
            return None;
        }
        Some(Hop {
            tells: address.is_some(),
            address: address.flatten().and_then(node),
            scheme: scheme.flatten().and_then(Scheme::named),
        })
    }))
}

pub(super) fn forwarded(headers: &HeaderMap) -> Box<dyn Iterator<Item = Hop> + '_> {
    let elements = entries(headers, FORWARDED);
    Box::new(elements.map(|element| Hop {
        tells: true,
        ..element.and_then(hop).unwrap_or_default()
    }))
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

/// An element; `None` where it is malformed or says a thing twice.
fn hop(element: &str) -> Option<Hop> {
    let (mut named, mut scheme) = (None, None);
    let pairs = element
        .split(';')
        .map(|pair| pair.trim_matches([' ', '\t']));
    // Some end with a semicolon.
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let found = match name {
            name if name.eq_ignore_ascii_case("for") => &mut named,
            name if name.eq_ignore_ascii_case("proto") => &mut scheme,
            _ => continue,
        };
        if found.replace(value).is_some() {
            return None;
        }
    }
    Some(Hop {
        tells: true,
        address: named.and_then(unquoted).and_then(node),
        scheme: scheme.and_then(unquoted).and_then(Scheme::named),
    })
}

/// A value without its quotes.
fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        // A colon or a bracket has to be quoted (section 4); some leave the quotes out, and mean the same.
        None => Some(value),
    }
}

/// An address with or without a port (RFC 7239, section 6). `unknown` and names that hide an address are none.
fn node(text: &str) -> Option<ClientAddr> {
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
