//! Reads what clients may take, and whose word on their addresses is taken.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;

use super::section::{Reported, Section};
use super::tree::Node;
use super::types::{ByteRate, Limits, Proxies, Rate};
use super::units;
use super::values::{boolean, count, duration, forwarded_header, text};

/// Longest time that a request may be held: its answer is to begin before clients give up, which the first does after
/// 30 s, and a miss has to be fetched after the wait.
const LONGEST_DELAY: Duration = Duration::from_secs(20);
/// Longest time that a rate is measured in: so long a client is remembered.
const LONGEST_RATE: Duration = Duration::from_hours(24);
/// Least bytes a second: with less, a client's connections wait so long for their turns that it takes them for dead.
const LEAST_BYTES: u64 = 64 << 10;

/// `[limits]`
pub(super) fn limits(section: &Section<'_>) -> Result<Limits, Reported> {
    let max_connections = section.optional("max_connections", count(1..=10_000_000));
    let per_client_requests = section.optional("per_client_requests", rate);
    let per_client_in_flight = section.optional("per_client_in_flight", count(1..=1_000_000));
    let per_client_bytes = section.optional("per_client_bytes", byte_rate);
    let per_client_connections = section.optional("per_client_connections", count(1..=1_000_000));
    let max_delay = section.required("max_delay", delay);
    let exempt = section.list("exempt", addresses);
    section.finish();
    Ok(Limits {
        max_connections: max_connections?,
        per_client_requests: per_client_requests?,
        per_client_in_flight: per_client_in_flight?,
        per_client_bytes: per_client_bytes?,
        per_client_connections: per_client_connections?,
        max_delay: max_delay?,
        exempt: exempt?,
    })
}

/// The keys of `[server]` that tell of proxies.
pub(super) fn proxies(section: &Section<'_>) -> Result<Proxies, Reported> {
    let trusted = section.list("trusted_proxies", addresses);
    let proxy_protocol = section.required("proxy_protocol", boolean);
    let pass_tls = section.required("proxies_pass_tls", boolean);
    let header = section.required("forwarded_header", forwarded_header);
    if let (Ok(trusted), Ok(true)) = (&trusted, &proxy_protocol)
        && trusted.is_empty()
    {
        let message = "this is for connections of `trusted_proxies`: list there who sends it";
        return Err(section.complain("proxy_protocol", message.into()));
    }
    if let (Ok(false), Ok(true)) = (&proxy_protocol, &pass_tls) {
        let message = "this is for connections that begin with a PROXY protocol header: set `proxy_protocol` too";
        return Err(section.complain("proxies_pass_tls", message.into()));
    }
    Ok(Proxies {
        trusted: trusted?,
        proxy_protocol: proxy_protocol?,
        pass_tls: pass_tls?,
        header: header?,
    })
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&units::print_rate(&self.count.to_string(), self.per))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&units::print_rate(&units::print_size(self.bytes), self.per))
    }
}

/// So many in so long.
fn rate(node: &Node) -> Result<Rate, String> {
    let (amount, per) = split(node)?;
    let count = amount
        .parse()
        .ok()
        .and_then(NonZeroU32::new)
        .filter(|count| count.get() <= 1_000_000)
        .ok_or("before the slash, write a whole number from 1 to 1000000")?;
    Ok(Rate { count, per })
}

/// So many bytes in so long.
fn byte_rate(node: &Node) -> Result<ByteRate, String> {
    let (amount, per) = split(node)?;
    let bytes = units::parse_size(amount)?;
    let in_a_second = u128::from(bytes) * 1000 / per.as_millis().max(1);
    if bytes < LEAST_BYTES || in_a_second < u128::from(LEAST_BYTES) {
        return Err("this is too little: write at least \"64KiB/s\"".into());
    }
    if bytes > units::parse_size("1TiB")? {
        return Err("this is no limit: write at most \"1TiB/s\", or leave it out".into());
    }
    Ok(ByteRate { bytes, per })
}

fn split(node: &Node) -> Result<(&str, Duration), String> {
    let (amount, per) = units::parse_rate(text(node)?)?;
    if per > LONGEST_RATE {
        return Err(format!(
            "write a rate over at most \"{}\"",
            units::print_duration(LONGEST_RATE)
        ));
    }
    Ok((amount, per))
}

fn delay(node: &Node) -> Result<Duration, String> {
    match duration(node)? {
        delay if delay <= LONGEST_DELAY => Ok(delay),
        _ => Err(format!(
            "some clients give up on a response after 30 s: write at most \"{}\"",
            units::print_duration(LONGEST_DELAY)
        )),
    }
}

/// An address, or a range of them.
pub(super) fn addresses(node: &Node) -> Result<IpNet, String> {
    addresses_of(text(node)?)
}

pub(super) fn addresses_of(text: &str) -> Result<IpNet, String> {
    let range = match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>().map_err(|_| {
            format!(
                "`{}` is neither an address nor a range of them: write \"10.0.0.0/8\", \"192.0.2.7\" or \"2001:db8::/32\"",
                text.escape_debug()
            )
        }),
    }?;
    let plain = canonical(range.trunc());
    if range == plain {
        return Ok(plain);
    }
    // What is meant can't be told: a wider range than was thought of, or one address of it.
    Err(format!(
        "`{text}` is not the begin of a range: write \"{plain}\""
    ))
}

/// Clients are known by their canonical addresses, so that a range of IPv4 addresses within IPv6 would match none.
fn canonical(range: IpNet) -> IpNet {
    match range {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.network().to_ipv4_mapped() {
            Some(v4) => IpNet::new_assert(v4.into(), v6.prefix_len() - 96),
            None => range,
        },
        _ => range,
    }
}
