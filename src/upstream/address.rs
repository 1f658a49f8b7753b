//! The address policy: which hosts a URL that came from outside may lead to.
//!
//! A registry names other hosts in challenges and redirects, so whoever controls one could point this
//! process at the network it runs in. Every such URL is judged twice: its literal host here
//! ([`check_host`]), because the HTTP connector never asks a resolver about an IP literal, and each
//! resolved address in [`super::resolver`]. Exempt is exactly what the operator configured: the
//! scheme, host and port of an endpoint, or everything where `allow_private` is set.
//!
//! Pure; owns no state.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// The longest name that there is, and its final dot.
const MAX_HOST: usize = 254;

/// Where a request goes: scheme, host and port. Two URLs with one origin share credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    secure: bool,
    host: Host<String>,
    port: u16,
}

impl Origin {
    /// The origin of an `http` or `https` URL; `None` for any other scheme, and for a host that is too long for one.
    pub(crate) fn of(url: &Url) -> Option<Origin> {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Origin {
            secure,
            host: url
                .host()
                .filter(|_| url.host_str().is_some_and(|host| host.len() <= MAX_HOST))?
                .to_owned(),
            port: url.port_or_known_default()?,
        })
    }

    /// Whether the scheme is `https`.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host, as a name or as an address.
    pub(crate) fn host(&self) -> &Host<String> {
        &self.host
    }

    /// `host`, or `host:port` where the port is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => self.host.to_string(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

impl Origin {
    /// As it is written, without a port that goes without saying.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// Why an address or a name is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// `0.0.0.0/8`, `::`.
    Unspecified,
    /// `127.0.0.0/8`, `::1`, `localhost`.
    Loopback,
    /// RFC 1918, and IPv6 unique local addresses.
    Private,
    /// `100.64.0.0/10`, shared with a carrier's or a cloud's network.
    Shared,
    /// `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// A cloud's metadata or control service.
    Metadata,
    /// Multicast and broadcast.
    Multicast,
    /// An IPv4 address in disguise: mapped, compatible, 6to4, Teredo.
    Embedded,
    /// Documentation, benchmarks, and whatever is not assigned as global unicast.
    Reserved,
}

impl Class {
    fn as_str(self) -> &'static str {
        match self {
            Class::Unspecified => "an unspecified address",
            Class::Loopback => "a loopback address",
            Class::Private => "a private address",
            Class::Shared => "a carrier-shared address",
            Class::LinkLocal => "a link-local address",
            Class::Metadata => "a cloud metadata address",
            Class::Multicast => "a multicast address",
            Class::Embedded => "an IPv4-in-IPv6 address",
            Class::Reserved => "a reserved address",
        }
    }
}

/// A host that the policy refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{host} {} {}: set allow_private for this upstream if it is meant to lead there",
    if *resolved { "resolves to" } else { "is" },
    class.as_str()
)]
pub(crate) struct Refused {
    /// The host as it was written.
    pub(crate) host: String,
    /// Whether it is a name that resolved to such an address.
    pub(crate) resolved: bool,
    /// What kind of address it is.
    pub(crate) class: Class,
}

impl Refused {
    /// The key of an upstream's table that lifts the refusal.
    pub(crate) const ALLOWED_BY: &str = "allow_private";
}

/// Judges a URL's literal host: an IP address in any of its spellings (the URL parser has already
/// turned `2130706433` and `0x7f.1` into addresses), or a name that always means this machine.
pub(crate) fn check_host(host: &Host<String>) -> Result<(), Refused> {
    let class = match host {
        Host::Ipv4(ip) => classify_v4(*ip),
        Host::Ipv6(ip) => classify_v6(*ip),
        Host::Domain(name) => classify_name(name),
    };
    match class {
        Some(class) => Err(Refused {
            host: host.to_string(),
            resolved: false,
            class,
        }),
        None => Ok(()),
    }
}

/// The class of an address that must not be dialled; `None` for global unicast.
pub(crate) fn classify(ip: IpAddr) -> Option<Class> {
    match ip {
        IpAddr::V4(ip) => classify_v4(ip),
        IpAddr::V6(ip) => classify_v6(ip),
    }
}

/// Through a proxy only names can be judged, so the ones with a fixed meaning are refused as names.
fn classify_name(name: &str) -> Option<Class> {
    const METADATA: [&str; 4] = [
        "metadata.google.internal",
        "metadata.goog",
        "instance-data.ec2.internal",
        "instance-data",
    ];

    let name = name.trim_end_matches('.');
    let is = |suffix: &str| {
        name.eq_ignore_ascii_case(suffix)
            || name.len().checked_sub(suffix.len() + 1).is_some_and(|dot| {
                name.as_bytes()[dot] == b'.' && name[dot + 1..].eq_ignore_ascii_case(suffix)
            })
    };
    if is("localhost") {
        Some(Class::Loopback)
    } else if METADATA.into_iter().any(is) {
        Some(Class::Metadata)
    } else {
        None
    }
}

fn classify_v4(ip: Ipv4Addr) -> Option<Class> {
    /// Azure's control service, a public address by its number.
    const AZURE_WIRE_SERVER: [u8; 4] = [168, 63, 129, 16];
    /// Alibaba Cloud's and Oracle Cloud's metadata, outside `169.254.0.0/16`.
    const OTHER_METADATA: [[u8; 4]; 2] = [[100, 100, 100, 200], [192, 0, 0, 192]];

    let octets = ip.octets();
    if octets == [169, 254, 169, 254]
        || octets == AZURE_WIRE_SERVER
        || OTHER_METADATA.contains(&octets)
    {
        return Some(Class::Metadata);
    }
    match octets {
        [0, ..] => Some(Class::Unspecified),
        [127, ..] => Some(Class::Loopback),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(Class::Private),
        [100, 64..=127, ..] => Some(Class::Shared),
        [169, 254, ..] => Some(Class::LinkLocal),
        [224..=239, ..] | [255, 255, 255, 255] => Some(Class::Multicast),
        // Protocol assignments, documentation, 6to4 relays, benchmarks, class E.
        [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [240..=255, ..] => Some(Class::Reserved),
        _ => None,
    }
}

fn classify_v6(ip: Ipv6Addr) -> Option<Class> {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(Class::Unspecified),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(Class::Loopback),
        // Mapped and compatible forms, 6to4, Teredo: no honest resolver answers with one.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x2002, ..] | [0x2001, 0, ..] => Some(Class::Embedded),
        // NAT64: all that an IPv6-only network has for IPv4 hosts, so the embedded address decides.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            classify_v4(Ipv4Addr::new(a, b, c, d))
        }
        // The metadata of Amazon's and Google's machines.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            Some(Class::Metadata)
        }
        [0xfc00..=0xfdff, ..] => Some(Class::Private),
        [0xfe80..=0xfebf, ..] => Some(Class::LinkLocal),
        [0xff00..=0xffff, ..] => Some(Class::Multicast),
        // Inside global unicast: protocol assignments and documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(Class::Reserved),
        [0x2000..=0x3fff, ..] => None,
        _ => Some(Class::Reserved),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(url: &str) -> Option<Class> {
        let url = Url::parse(url).unwrap();
        check_host(&url.host().unwrap().to_owned())
            .err()
            .map(|refused| refused.class)
    }

    #[test]
    fn literal_spellings_of_forbidden_addresses_are_refused() {
        for (url, class) in [
            ("https://127.0.0.1/", Class::Loopback),
            ("https://2130706433/", Class::Loopback),
            ("https://0x7f.1/", Class::Loopback),
            ("https://0177.0.0.1/", Class::Loopback),
            ("https://127.0.0.1./", Class::Loopback),
            ("https://0/", Class::Unspecified),
            ("https://10.1.2.3/", Class::Private),
            ("https://172.31.255.255/", Class::Private),
            ("https://192.168.0.1/", Class::Private),
            ("https://100.64.0.1/", Class::Shared),
            ("https://169.254.1.1/", Class::LinkLocal),
            ("https://169.254.169.254/", Class::Metadata),
            ("https://2852039166/", Class::Metadata),
            ("https://168.63.129.16/", Class::Metadata),
            ("https://100.100.100.200/", Class::Metadata),
            ("https://224.0.0.1/", Class::Multicast),
            ("https://255.255.255.255/", Class::Multicast),
            ("https://240.0.0.1/", Class::Reserved),
            ("https://198.18.0.1/", Class::Reserved),
            ("https://[::]/", Class::Unspecified),
            ("https://[::1]/", Class::Loopback),
            ("https://[::ffff:127.0.0.1]/", Class::Embedded),
            ("https://[::ffff:8.8.8.8]/", Class::Embedded),
            ("https://[::127.0.0.1]/", Class::Embedded),
            ("https://[2002:7f00:1::]/", Class::Embedded),
            ("https://[2001:0:1::1]/", Class::Embedded),
            ("https://[64:ff9b::127.0.0.1]/", Class::Loopback),
            ("https://[64:ff9b::a9fe:a9fe]/", Class::Metadata),
            ("https://[64:ff9b:1::1]/", Class::Reserved),
            ("https://[fd00:ec2::254]/", Class::Metadata),
            ("https://[fd20:ce::254]/", Class::Metadata),
            ("https://[fd00:ec2::255]/", Class::Private),
            ("https://[fe80::1]/", Class::LinkLocal),
            ("https://[fec0::1]/", Class::Reserved),
            ("https://[ff02::1]/", Class::Multicast),
            ("https://[2001:db8::1]/", Class::Reserved),
            ("https://[100::1]/", Class::Reserved),
            ("https://localhost/", Class::Loopback),
            ("https://LOCALHOST./", Class::Loopback),
            ("https://a.localhost/", Class::Loopback),
            ("https://metadata.google.internal/", Class::Metadata),
            ("https://Metadata.Google.Internal./", Class::Metadata),
            ("https://metadata.goog/", Class::Metadata),
            ("https://instance-data/", Class::Metadata),
        ] {
            assert_eq!(verdict(url), Some(class), "{url}");
        }
    }

    #[test]
    fn public_hosts_are_let_through() {
        for url in [
            "https://8.8.8.8/",
            "https://100.128.0.1/",
            "https://172.32.0.1/",
            "https://[2606:4700::1111]/",
            "https://[64:ff9b::8.8.8.8]/",
            "https://registry-1.docker.io/",
            "https://notlocalhost/",
            "https://localhost.example.com/",
        ] {
            assert_eq!(verdict(url), None, "{url}");
        }
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let of = |url: &str| Origin::of(&Url::parse(url).unwrap());
        assert_eq!(of("https://a.io/x"), of("https://A.io:443/y?z"));
        assert_ne!(of("https://a.io/"), of("http://a.io/"));
        assert_ne!(of("https://a.io/"), of("https://a.io:444/"));
        assert_ne!(of("https://a.io/"), of("https://b.io/"));
        assert_eq!(of("ftp://a.io/"), None);
        let named = |length: usize| of(&format!("https://{}.io/", "a".repeat(length - 3)));
        assert!(named(MAX_HOST).is_some());
        assert_eq!(named(MAX_HOST + 1), None);
    }

    proptest::proptest! {
        #[test]
        fn no_embedding_of_a_forbidden_v4_address_gets_through(
            octets in proptest::array::uniform4(proptest::num::u8::ANY)
        ) {
            let v4 = Ipv4Addr::from(octets);
            let [a, b] = [
                u16::from_be_bytes([octets[0], octets[1]]),
                u16::from_be_bytes([octets[2], octets[3]]),
            ];
            if classify_v4(v4).is_some() {
                for v6 in [
                    v4.to_ipv6_mapped(),
                    v4.to_ipv6_compatible(),
                    Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b),
                    Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1),
                ] {
                    proptest::prop_assert!(classify_v6(v6).is_some(), "{v6}");
                }
            }
        }
    }
}
