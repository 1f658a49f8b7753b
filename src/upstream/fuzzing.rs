//! What has to hold of an upstream's answers: where it may send a login, and which bytes it may pass for which.

use std::net::IpAddr;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use url::{Host, Url};

use super::address::{Origin, check_host};
use super::challenge::{Bearer, Challenge, Complaint};
use super::range::{ByteRange, Extent, unsatisfied_total};
use super::redirect;
use crate::oci::RepositoryName;

const REGISTRY: &str = "https://registry.example.com/v2/team/app/manifests/v1";

fn registry() -> Url {
    REGISTRY.parse().expect("a URL")
}

/// A challenge, a line of the header in each line.
pub(crate) fn www_authenticate(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(16) {
        headers.extend(
            HeaderValue::from_bytes(line)
                .ok()
                .map(|value| (WWW_AUTHENTICATE, value)),
        );
    }
    let name: RepositoryName = "team/app".parse().expect("a name");
    let complaint = Complaint::from_headers(&headers);
    assert_ne!(complaint.stand_in(&name), Some(&name));
    if let Ok(Challenge::Bearer(bearer)) = Challenge::from_headers(&headers, &registry()) {
        assert!(
            bearer
                .scope
                .as_ref()
                .is_none_or(|scope| !scope.contains(':'))
        );
        asks_only_there(&bearer);
    }
}

/// The realm of a challenge.
pub(crate) fn realm_url(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    let Ok(line) = HeaderValue::from_str(&format!("Bearer realm=\"{quoted}\",service=\"s\""))
    else {
        return;
    };
    let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, line)]);
    if let Ok(Challenge::Bearer(bearer)) = Challenge::from_headers(&headers, &registry()) {
        asks_only_there(&bearer);
    }
}

/// A login for the registry goes by https, to a host of its own domain, and takes along what the realm's URL says.
fn asks_only_there(bearer: &Bearer) {
    let realm = &bearer.realm;
    assert!(realm.username().is_empty() && realm.password().is_none());
    let asked = bearer.token_url("repository:team/app:pull");
    assert_eq!(Origin::of(&asked), Origin::of(realm));
    assert_eq!(asked.path(), realm.path());
    let kept: Vec<_> = realm.query_pairs().collect();
    assert!(
        asked
            .query_pairs()
            .zip(&kept)
            .all(|(asked, kept)| asked == *kept)
    );
    let registry = Origin::of(&registry()).expect("an origin");
    if bearer.check_realm(&registry, &[]).is_ok() {
        assert_eq!(realm.scheme(), "https");
        let host = realm.host_str().expect("a realm has a host");
        // The last dot of a whole name, and capitals, make it no other.
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        assert!(
            host == "example.com" || host.ends_with(".example.com"),
            "{host}"
        );
    }
}

/// Where an answer redirects to.
pub(crate) fn redirect(input: &[u8]) {
    let Ok(location) = HeaderValue::from_bytes(input) else {
        return;
    };
    let headers = HeaderMap::from_iter([(LOCATION, location)]);
    let from = registry();
    let Ok(url) = redirect::target(&from, &headers) else {
        return;
    };
    assert_eq!(url.scheme(), "https", "it never gets less safe");
    assert!(url.username().is_empty() && url.password().is_none());
    assert!(url.fragment().is_none());
    let host = url.host().expect("there is a host").to_owned();
    let address = match &host {
        Host::Ipv4(address) => Some(IpAddr::from(*address)),
        Host::Ipv6(address) => Some(address.to_canonical()),
        Host::Domain(name) => {
            // What looks like an address is one: no resolver gets to say what `127.1` is.
            assert!(name.parse::<IpAddr>().is_err());
            None
        }
    };
    if address.is_some_and(is_local) {
        assert!(check_host(&host).is_err(), "{host} would be dialled");
    }
    if let Some(name) = redirect::repository_in(&url) {
        assert!(url.path().contains(name.as_str()));
    }
}

/// By the standard library's word, which is not the policy's own.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.is_multicast()
        }
    }
}

/// What was asked for in two numbers of eight bytes, and the lines of a 206 to it: `Content-Range`, then `Content-Length`.
pub(crate) fn content_range(input: &[u8]) {
    let Some((start, rest)) = number(input) else {
        return;
    };
    let Some((length, lines)) = number(rest) else {
        return;
    };
    let end = start.checked_add(length).filter(|end| *end > start);
    let asked = ByteRange { start, end };
    let mut headers = HeaderMap::new();
    let names = [CONTENT_RANGE, CONTENT_LENGTH, CONTENT_RANGE];
    for (name, line) in names.into_iter().zip(lines.split(|byte| *byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    if let Ok(extent) = Extent::partial(&headers, &asked) {
        let (from, to) = (extent.start, extent.end.expect("a part ends"));
        assert_eq!(from, start);
        assert!(from < to && end.is_none_or(|end| to <= end));
        assert!(extent.total.is_none_or(|total| to <= total));
        assert_eq!(extent.length(), Some(to - from));
        if let Some(written) = headers.get(CONTENT_LENGTH) {
            let written = written.to_str().ok().and_then(|text| text.parse().ok());
            assert_eq!(written, Some(to - from));
        }
        assert_eq!(headers.get_all(CONTENT_RANGE).iter().count(), 1);
        assert_eq!(unsatisfied_total(&headers), None);
    }
    if let Ok(whole) = Extent::whole(&headers) {
        assert_eq!((whole.start, whole.end), (0, whole.total));
    }
}

fn number(input: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = input.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}
