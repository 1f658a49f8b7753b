//! Where clients reach the mirror, in the spellings that their files want.

use std::net::SocketAddr;
use std::str::FromStr;

use url::{Host, Url};

/// The mirror's address: scheme, host and port, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror(Url);

impl Mirror {
    /// The mirror behind a listener of this machine, with TLS or without; `None` where the address names no host.
    pub fn listening(address: SocketAddr, has_tls: bool) -> Option<Self> {
        if address.ip().is_unspecified() || address.port() == 0 {
            return None;
        }
        let scheme = if has_tls { "https" } else { "http" };
        Url::parse(&format!("{scheme}://{address}")).ok().map(Self)
    }

    /// `http://HOST:PORT`, without a slash at its end.
    pub fn url(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// `HOST:PORT`, without a port that the scheme implies.
    pub fn authority(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.into(),
        }
    }

    /// The first part of an image's reference. What has neither a dot nor a colon would be read as part of the image's
    /// name, so a port is written where nothing else says that this is a host.
    pub fn reference_host(&self) -> String {
        let authority = self.authority();
        if authority.contains(['.', ':']) || authority == "localhost" {
            return authority;
        }
        let port = self.0.port_or_known_default().unwrap_or(443);
        format!("{authority}:{port}")
    }

    /// Whether it speaks HTTP without TLS.
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// Whether it is on the client's own machine.
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }
}

impl FromStr for Mirror {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "such as http://mirror.example.com:5000";
        let url = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                format!("this is not the URL of a mirror: write scheme, host and port, {example}")
            })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!(
                "clients send no login to a mirror: write scheme, host and port only, {example}"
            ));
        }
        let mirror = Self(url);
        if mirror.0.path() != "/" || mirror.0.query().is_some() || mirror.0.fragment().is_some() {
            return Err(format!(
                "clients don't agree on what a path in a mirror's address means: write {}",
                mirror.url()
            ));
        }
        match mirror.0.host() {
            Some(Host::Ipv4(address)) if address.is_unspecified() => {}
            Some(Host::Ipv6(address)) if address.is_unspecified() => {}
            _ => return Ok(mirror),
        }
        Err("this address means every interface of the mirror, and no client can reach it: write the mirror's name or \
             address as clients see it"
            .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(text: &str) -> Mirror {
        text.parse().unwrap()
    }

    #[test]
    fn each_spelling_is_what_clients_read() {
        for (text, url, authority, reference) in [
            (
                "http://m.lan:5000",
                "http://m.lan:5000",
                "m.lan:5000",
                "m.lan:5000",
            ),
            ("https://m.lan/", "https://m.lan", "m.lan", "m.lan"),
            ("https://m.lan:443", "https://m.lan", "m.lan", "m.lan"),
            ("http://mirror", "http://mirror", "mirror", "mirror:80"),
            ("https://mirror", "https://mirror", "mirror", "mirror:443"),
            (
                "http://localhost",
                "http://localhost",
                "localhost",
                "localhost",
            ),
            (
                "http://[::1]:5000",
                "http://[::1]:5000",
                "[::1]:5000",
                "[::1]:5000",
            ),
        ] {
            let mirror = mirror(text);
            assert_eq!(mirror.url(), url);
            assert_eq!(mirror.authority(), authority);
            assert_eq!(mirror.reference_host(), reference);
        }
    }

    #[test]
    fn what_no_client_could_use_is_refused_with_what_to_write() {
        for (text, advice) in [
            ("mirror:5000", "scheme"),
            ("ftp://mirror", "scheme"),
            ("http://u:secret@mirror", "login"),
            ("http://m:5000/docker.io", "write http://m:5000"),
            ("http://0.0.0.0:5000", "every interface"),
            ("http://[::]:5000", "every interface"),
        ] {
            let message = text.parse::<Mirror>().unwrap_err();
            assert!(message.contains(advice), "{text}: {message}");
            assert!(!message.contains("secret"));
        }
    }

    #[test]
    fn loopback_is_known_in_each_form() {
        for text in ["http://127.0.0.9:1", "http://[::1]:1", "http://localhost:1"] {
            assert!(mirror(text).is_loopback());
        }
        assert!(!mirror("http://10.0.0.1:1").is_loopback());
    }

    #[test]
    fn a_listener_is_an_address_only_where_it_names_a_host() {
        let at = |text: &str, has_tls| Mirror::listening(text.parse().unwrap(), has_tls);
        let listening = |text: &str| at(text, false).map(|mirror| mirror.url());
        let with_tls = at("127.0.0.1:5000", true).unwrap();
        assert_eq!(with_tls.url(), "https://127.0.0.1:5000");
        assert_eq!(
            listening("127.0.0.1:5000").unwrap(),
            "http://127.0.0.1:5000"
        );
        assert_eq!(listening("[::1]:5000").unwrap(), "http://[::1]:5000");
        assert_eq!(listening("0.0.0.0:5000"), None);
        assert_eq!(listening("[::]:5000"), None);
        assert_eq!(listening("127.0.0.1:0"), None);
    }
}
