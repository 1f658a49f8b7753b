//! Refuses requests whose form no registry client uses, and which proxies in between might read
//! differently than we do.
//!
//! hyper has already refused a head that does not parse, differing `Content-Length`s, and
//! `Transfer-Encoding` on HTTP/1.0 or other than chunked; of a request with both lengths it has
//! dropped `Content-Length`, so that here any `Transfer-Encoding` is refused. A refused request's
//! connection closes, so that nothing after it is taken for another request.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Version};

use super::headers::Headers;
use super::passthrough::TOKEN_PATH;

/// Why a request is refused for its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    /// `CONNECT`.
    #[error("this is no proxy for CONNECT")]
    Connect,
    /// `GET http://host/path`.
    #[error("the request target must be a path, not a whole URL")]
    AbsoluteForm,
    /// RFC 9112, section 3.2.
    #[error("exactly one valid Host header is required")]
    Host,
    /// A chunked body of a GET or HEAD, or of what is read to its end.
    #[error("Transfer-Encoding is not accepted")]
    TransferEncoding,
}

/// Checks a request's form.
pub(super) fn vet(request: &Parts, headers: Headers<'_>) -> Result<(), FormError> {
    if request.method == Method::CONNECT {
        return Err(FormError::Connect);
    }
    if request.uri.scheme().is_some() || request.uri.authority().is_some() {
        return Err(FormError::AbsoluteForm);
    }
    if !has_valid_host(request) {
        return Err(FormError::Host);
    }
    // Any other body is not read, and ends its connection.
    let is_followed = is_read(&request.method) || request.uri.path() == TOKEN_PATH;
    if is_followed && headers.notable.contains_key(TRANSFER_ENCODING) {
        return Err(FormError::TransferEncoding);
    }
    Ok(())
}

/// Whether the connection has to close after the answer, since what follows the head is not, or not
/// surely, another request's.
pub(super) fn must_close(method: &Method, headers: Headers<'_>) -> bool {
    let headers = headers.notable;
    let has_body = headers
        .get(CONTENT_LENGTH)
        .is_some_and(|length| length != "0");
    headers.contains_key(TRANSFER_ENCODING)
        || headers.contains_key(UPGRADE)
        || headers.contains_key(EXPECT)
        || (has_body && !is_read(method))
}

/// Whether the method is one that this server answers.
pub(super) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The request's one `Host`, without its port.
pub(super) fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(HOST)?.to_str().ok()?;
    let authority: &str = match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    (!authority.is_empty()).then_some(authority)
}

fn has_valid_host(request: &Parts) -> bool {
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        // HTTP/1.0 knows no Host.
        (None, _) => request.version == Version::HTTP_10,
        (Some(host), None) => host.is_empty() || host.to_str().is_ok_and(is_host),
        (Some(_), Some(_)) => false,
    }
}

/// A comma may stand in a name, but no host has one, and two that somebody has joined look like that.
fn is_host(text: &str) -> bool {
    // A name or an address with a port at the most, as nearly all are: no parser is needed to see that.
    let (host, port) = text.split_once(':').unwrap_or((text, "80"));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if !host.is_empty() && host.bytes().all(is_plain) && port.parse::<u16>().is_ok() {
        return true;
    }
    !text.contains(['@', ',']) && text.parse::<Authority>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn forms_that_invite_confusion_are_refused() {
        let host = ("host", "mirror:5000");
        for (request, refused) in [
            (request(Method::GET, "/v2/", &[host]), None),
            (request(Method::GET, "/v2/", &[("host", "")]), None),
            (
                request(Method::GET, "/v2/", &[("host", "[::1]:5000")]),
                None,
            ),
            (
                request(Method::CONNECT, "mirror:5000", &[host]),
                Some(FormError::Connect),
            ),
            (
                request(Method::GET, "http://mirror/v2/", &[host]),
                Some(FormError::AbsoluteForm),
            ),
            (request(Method::GET, "/v2/", &[]), Some(FormError::Host)),
            (
                request(Method::GET, "/v2/", &[host, host]),
                Some(FormError::Host),
            ),
            (
                request(Method::GET, "/v2/", &[("host", "a b")]),
                Some(FormError::Host),
            ),
            (
                request(Method::GET, "/v2/", &[("host", "u@h")]),
                Some(FormError::Host),
            ),
            (
                request(
                    Method::GET,
                    "/v2/",
                    &[host, ("transfer-encoding", "chunked")],
                ),
                Some(FormError::TransferEncoding),
            ),
            (
                request(
                    Method::POST,
                    "/v2/",
                    &[host, ("transfer-encoding", "chunked")],
                ),
                None,
            ),
            (
                request(
                    Method::POST,
                    "/_/token?service=m",
                    &[host, ("transfer-encoding", "chunked")],
                ),
                Some(FormError::TransferEncoding),
            ),
        ] {
            let headers = Headers::of(&request.headers);
            assert_eq!(vet(&request, headers).err(), refused, "{request:?}");
        }
    }

    #[test]
    fn what_may_be_followed_by_a_body_closes() {
        let must_close =
            |request: &Parts| must_close(&request.method, Headers::of(&request.headers));
        assert!(!must_close(&request(Method::GET, "/v2/", &[])));
        assert!(!must_close(&request(
            Method::POST,
            "/v2/",
            &[("content-length", "0")]
        )));
        assert!(must_close(&request(
            Method::POST,
            "/v2/",
            &[("content-length", "1")]
        )));
        assert!(must_close(&request(
            Method::GET,
            "/v2/",
            &[("upgrade", "h2c")]
        )));
        assert!(must_close(&request(
            Method::GET,
            "/v2/",
            &[("expect", "100-continue")]
        )));
    }

    #[test]
    fn a_host_loses_its_port_and_keeps_its_brackets() {
        for (given, bare) in [
            ("a.b:5000", "a.b"),
            ("a.b", "a.b"),
            ("[::1]:5", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            let request = request(Method::GET, "/", &[("host", given)]);
            assert_eq!(host(&request.headers), Some(bare));
        }
    }
}
