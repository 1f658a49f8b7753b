//! What has to hold of a request's target and headers, whoever sends it.

use std::net::IpAddr;
use std::sync::LazyLock;

use http::header::{FORWARDED, HOST, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::client::{Caller, ClientAddr, Peer, Scheme};
use super::range::requested;
use super::route::{Action, Route};
use crate::config::{Config, ForwardedHeader, Proxies, Routes};
use crate::mirror::RangeSpec;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The lines of an input, each as a value of the header; what no server would take for one is left out.
fn lines(name: &HeaderName, input: &[u8]) -> HeaderMap {
    let values = input.split(|byte| *byte == b'\n');
    let values = values.filter_map(|line| HeaderValue::from_bytes(line).ok());
    let mut headers = HeaderMap::new();
    for value in values.take(64) {
        headers.append(name, value);
    }
    headers
}

/// `Range`: what is given lies in the body, and is there where it is said to be.
pub(crate) fn range(input: &[u8]) {
    let headers = lines(&RANGE, input);
    let Some(spec) = requested(&headers, "\"etag\"") else {
        return;
    };
    assert_eq!(headers.len(), 1, "several lines are ignored");
    for size in [0, 1, 2, 1_000, 1 << 40, u64::MAX] {
        match spec.resolve(size) {
            Ok(range) => {
                assert!(range.start < range.end && range.end <= size);
                match spec {
                    RangeSpec::From { first, last } => {
                        assert_eq!(range.start, first);
                        assert!(last.is_none_or(|last| range.end - 1 <= last));
                    }
                    RangeSpec::Suffix(length) => assert!(range.end - range.start <= length),
                }
            }
            Err(refused) => assert_eq!(refused.size, size),
        }
    }
}

/// `X-Forwarded-For` and `Forwarded`, and after a NUL `X-Forwarded-Proto`: what a client writes into them is of no account,
/// once a proxy has added to it.
pub(crate) fn forwarded(input: &[u8]) {
    let Some((kind, written)) = input.split_first() else {
        return;
    };
    let mut parts = written.splitn(2, |byte| *byte == 0);
    let (written, schemes) = (parts.next().unwrap_or_default(), parts.next());
    let (header, name, added) = match kind % 2 {
        0 => (
            ForwardedHeader::XForwardedFor,
            X_FORWARDED_FOR,
            "203.0.113.9",
        ),
        _ => (
            ForwardedHeader::Forwarded,
            FORWARDED,
            "for=203.0.113.9;proto=https",
        ),
    };
    let proxies = Proxies {
        trusted: vec!["10.0.0.0/8".parse().expect("a network")],
        proxy_protocol: false,
        pass_tls: false,
        header,
    };
    let find = |peer: IpAddr, headers: &HeaderMap| {
        let peer = Peer::from(ClientAddr::from(std::net::SocketAddr::from((peer, 1))));
        Caller::find(peer, headers, &proxies)
    };
    let (proxy, client, stranger): (IpAddr, IpAddr, IpAddr) = (
        [10, 0, 0, 1].into(),
        [203, 0, 113, 9].into(),
        [198, 51, 100, 7].into(),
    );
    let mut headers = lines(&name, written);
    headers.extend(lines(&X_FORWARDED_PROTO, schemes.unwrap_or_default()));
    // Nobody but a proxy is believed.
    let direct = find(stranger, &headers);
    assert_eq!(
        (direct.address.ip(), direct.scheme),
        (stranger, Scheme::Http)
    );
    // Whom it names has a key, unless it is a proxy.
    let named = find(proxy, &headers);
    assert_eq!(named.key.is_none(), named.address.is_in(&proxies.trusted));
    // The proxy adds a line of its own, or adds to the last.
    headers.append(&name, HeaderValue::from_static(added));
    assert_eq!(find(proxy, &headers).address.ip(), client);
    // And so it does with how the client speaks to it, or writes that over.
    headers.append(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    assert_eq!(find(proxy, &headers).scheme, Scheme::Https);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("HTTPS"));
    assert_eq!(find(proxy, &headers).scheme, Scheme::Https);
    let joined = [written, b", ", added.as_bytes()].concat();
    let last = joined
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    // A line that is no text is no address, whatever ends it.
    if HeaderValue::from_bytes(last).is_ok_and(|value| value.to_str().is_ok()) {
        assert_eq!(find(proxy, &lines(&name, last)).address.ip(), client);
    }
}

static ROUTES: LazyLock<Routes> = LazyLock::new(|| {
    let hosts = "[upstreams.\"quay.io\"]\nhosts = [\"quay.mirror.example.com\"]";
    Routes::new(&Config::from_toml(hosts).expect("a configuration"))
});

/// A target, then a line with `Host` and one with `OCI-Namespace`: where it leads is configured, and what it is answered
/// with can be no header of its own making.
pub(crate) fn route(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let Ok(uri) = Uri::try_from(lines.next().unwrap_or_default()) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for name in [HOST, HeaderName::from_static("oci-namespace")] {
        let value = lines
            .next()
            .and_then(|line| HeaderValue::from_bytes(line).ok());
        headers.extend(value.map(|value| (name, value)));
    }
    for write in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        assert!(super::route::route(&ROUTES, &write, &uri, &headers).is_err());
    }
    match super::route::route(&ROUTES, &Method::GET, &uri, &headers) {
        Ok(Route::Of(target)) => {
            let registry = &target.repository.registry;
            assert!(
                ROUTES.upstream_for(registry).is_some(),
                "{registry} is not configured"
            );
            let text = target.repository.to_string();
            assert_eq!(text.parse().as_ref(), Ok(&target.repository));
            if let Action::Tags(tags) = &target.action {
                assert!(HeaderValue::from_str(&tags.here.with_query("last=a&n=1")).is_ok());
            }
        }
        Ok(Route::Catalog(catalog)) => {
            let registry = catalog.registry;
            assert!(registry.is_none_or(|registry| ROUTES.upstream_for(&registry).is_some()));
            assert!(HeaderValue::from_str(&catalog.here.with_query("last=a&n=1")).is_ok());
        }
        Ok(_) => {}
        Err(error) => {
            let answer = super::errors::of_route(error, &ROUTES);
            assert!(answer.status.is_client_error());
        }
    }
}
