//! What a request says of its client, for the gate: where it comes from, what certificate it has shown, and its login.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::Terms;
use super::client::{Caller, PeerCertificate, Remote};
use crate::access::{Attempt, Facts, Malformed};

/// What is known beside the login. A certificate that a proxy has shown is the proxy's own.
pub(super) fn facts(remote: &Remote, caller: &Caller, terms: &Terms) -> Facts {
    let certificate = remote.certificate();
    let names = certificate
        .filter(|_| terms.proves_itself(&remote.peer))
        .map(PeerCertificate::shared);
    let address = caller.address.ip();
    Facts {
        // The address of a proxy that names nobody stands for all of its clients, and says nothing of any.
        address: caller.key.is_some().then_some(address),
        counted_at: Some(address),
        passed_on: caller.passed_on,
        certificate: names.unwrap_or_default(),
    }
}

/// Whether there is a login, be it one or not.
pub(super) fn is_brought(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION)
}

/// The login, if there is one.
pub(super) fn attempt(headers: &HeaderMap) -> Result<Option<Attempt>, Malformed> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Attempt::parse(value.as_bytes()),
        (Some(_), Some(_)) => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::HeaderValue;

    use super::*;
    use crate::config::Config;
    use crate::http::{Certified, ClientAddr, Clients, Peer};

    fn facts_of(peer: &str, forwarded: Option<&'static str>) -> Facts {
        let config = "[server]\ntrusted_proxies = ['10.0.0.0/8']\n";
        let peer = ClientAddr::from(peer.parse::<SocketAddr>().unwrap());
        facts_behind(config, Peer::from(peer), forwarded)
    }

    fn facts_behind(config: &str, peer: Peer, forwarded: Option<&'static str>) -> Facts {
        let terms = Clients::new(&Config::from_toml(config).unwrap()).terms();
        let mut request = http::Request::new(());
        if let Some(value) = forwarded {
            let value = HeaderValue::from_static(value);
            request.headers_mut().insert("x-forwarded-for", value);
        }
        let shown = PeerCertificate::new(vec!["node.example".to_owned()]);
        let remote = Remote {
            certified: Certified::By(shown),
            ..peer.into()
        };
        let caller = terms.caller(peer, request.headers());
        facts(&remote, &caller, &terms)
    }

    #[test]
    fn a_proxys_own_certificate_and_address_are_no_clients() {
        let direct = facts_of("192.0.2.1:1", Some("198.51.100.1"));
        assert_eq!(*direct.certificate, ["node.example"]);
        assert_eq!(direct.address, Some("192.0.2.1".parse().unwrap()));
        let named = facts_of("10.0.0.1:1", Some("198.51.100.1"));
        assert!(named.certificate.is_empty());
        assert_eq!(named.address, Some("198.51.100.1".parse().unwrap()));
        let unnamed = facts_of("10.0.0.1:1", None);
        assert!(unnamed.certificate.is_empty());
        assert_eq!(unnamed.address, None);
        assert_eq!(unnamed.counted_at, Some("10.0.0.1".parse().unwrap()));
    }

    /// A proxy that speaks TLS to the mirror shows the same certificate for each of its clients.
    #[test]
    fn behind_a_proxy_protocol_header_a_certificate_counts_only_where_tls_is_passed_on() {
        for (pass_tls, counts) in [(false, false), (true, true)] {
            let config = format!(
                "[server]\ntrusted_proxies = ['10.0.0.0/8']\nproxy_protocol = true\nproxies_pass_tls = {pass_tls}\n"
            );
            let known = |peer: &str| {
                let peer = ClientAddr::from(peer.parse::<SocketAddr>().unwrap());
                let facts = facts_behind(&config, Peer::from(peer).introduced(), None);
                !facts.certificate.is_empty()
            };
            assert_eq!(known("192.0.2.1:1"), counts);
            assert!(!known("10.0.0.2:1"), "another proxy is its client");
        }
    }

    #[test]
    fn two_logins_are_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(attempt(&headers), Ok(None));
        for _ in 0..2 {
            headers.append(AUTHORIZATION, HeaderValue::from_static("Basic YTpi"));
        }
        assert_eq!(attempt(&headers), Err(Malformed));
    }
}
