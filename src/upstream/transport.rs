//! One HTTP exchange with a host: a request made of the few headers that forebay sends, the address
//! policy, the timeouts, and the checks that every answer has to pass.
//!
//! Owns the connections. There are three clients. One is for exactly the configured endpoints: it has no
//! address filter, and it alone shows the upstream's client certificate. The two others are for all other
//! hosts, with the filter and without, since a resolver is told a name without its port. Where a proxy
//! leads there, it resolves the name, and only the name and literal addresses can be judged here; such
//! requests go through a client without the filter, which may then reach a proxy at a private address.

use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue,
    RANGE, TRANSFER_ENCODING,
};
use http::{Method, StatusCode};
use reqwest::{Client, Response};
use tokio::time::timeout;
use url::Url;

use super::address::{Origin, Refused, check_host};
use super::breaker::{Breakers, HostState};
use super::error::{ErrorKind, Trouble, UpstreamError};
use super::proxy::{self, Proxies, Via};
use super::range::ByteRange;
use super::resolver::Guarded;
use super::tls::Tls;
use crate::config::Timeouts;

const USER_AGENT: &str = concat!("forebay/", env!("CARGO_PKG_VERSION"));
/// Idle connections kept to a host.
const MAX_IDLE: usize = 32;
const IDLE_FOR: Duration = Duration::from_mins(1);

/// A request: nothing in it comes from a client's headers.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) accept: Option<&'static str>,
    pub(crate) range: Option<ByteRange>,
    /// The fields of a form to send with a POST, encoded.
    pub(crate) form: Option<String>,
    /// Whether it shows a client's login of which nothing is known. What the host makes of that says nothing of the host.
    pub(crate) unproven: bool,
}

/// The clients, which the members of a family share.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    endpoints: Client,
    unguarded: Client,
    guarded: Client,
    proxies: Proxies,
}

impl Clients {
    pub(crate) fn new(tls: &Tls, proxies: Proxies, connect: Duration) -> reqwest::Result<Clients> {
        let builder = |tls: &rustls::ClientConfig| {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(USER_AGENT)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .http1_only()
                .connect_timeout(connect)
                .pool_max_idle_per_host(MAX_IDLE)
                .pool_idle_timeout(IDLE_FOR)
        };
        let unguarded = proxies.lead(builder(&tls.others))?.build()?;
        Ok(Clients {
            endpoints: match &tls.endpoints {
                Some(tls) => proxies.lead(builder(tls))?.build()?,
                None => unguarded.clone(),
            },
            unguarded,
            guarded: builder(&tls.others)
                .no_proxy()
                .dns_resolver(Guarded)
                .build()?,
            proxies,
        })
    }
}

/// The clients of an upstream and the rules for using them.
#[derive(Debug)]
pub(crate) struct Transport {
    clients: Clients,
    /// The endpoints that the operator configured, to the letter.
    endpoints: Vec<Origin>,
    allow_private: bool,
    timeouts: Timeouts,
    breakers: Breakers,
}

impl Transport {
    pub(crate) fn new(
        clients: Clients,
        endpoints: Vec<Origin>,
        allow_private: bool,
        timeouts: Timeouts,
        breakers: Breakers,
    ) -> Transport {
        Transport {
            clients,
            endpoints,
            allow_private,
            timeouts,
            breakers,
        }
    }

    /// A client for services that the operator named on the upstream's side, such as the API that gives out its passwords:
    /// with its proxy and its trusted certificates, and without its client certificate.
    #[cfg(feature = "aws")]
    pub(crate) fn unguarded(&self) -> &Client {
        &self.clients.unguarded
    }

    /// Whether a host is left alone, since it has kept failing, or others are looking whether it is back.
    pub(crate) fn is_left_alone(&self, origin: &Origin) -> bool {
        self.breakers.keeps_from(origin)
    }

    /// The hosts that were asked, and whether they still are.
    pub(crate) fn hosts(&self) -> Vec<(Origin, HostState, Option<String>)> {
        self.breakers.hosts()
    }

    pub(crate) fn body_idle(&self) -> Duration {
        self.timeouts.body_idle
    }

    /// Sends one request and waits for the head of its answer. Follows nothing.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Result<Response, UpstreamError> {
        let url = outgoing.url.clone();
        let via = self.via(&url);
        let (client, origin) = self.client_for(&url, via.as_ref())?;
        let host = place(&url, via.as_ref());
        let passage = self.breakers.admit(&origin).await?;
        let unproven = outgoing.unproven;
        let answer = self.head(client, outgoing, via, &host).await;
        match failure_of_host(&answer, &host) {
            Some(_) if unproven && answer.is_ok() => drop(passage),
            Some(error) => passage.failed(&error),
            None => passage.answered(),
        }
        let response = answer?;
        check_encoding(response.headers()).map_err(|what| UpstreamError::invalid(host, what))?;
        Ok(response)
    }

    async fn head(
        &self,
        client: &Client,
        outgoing: Outgoing,
        via: Option<Via>,
        host: &str,
    ) -> Result<Response, UpstreamError> {
        let url = outgoing.url.clone();
        let head = timeout(
            self.timeouts.connect + self.timeouts.first_byte,
            client.execute(request(outgoing)),
        );
        let response = match head.await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                return Err(match via {
                    Some(_) => proxy::failure(&url, host.to_owned(), error),
                    None => UpstreamError::from_send(host, error),
                });
            }
            Err(_) => {
                let message = format!("no answer within {:?}", self.timeouts.first_byte);
                return Err(UpstreamError::timeout(host, message));
            }
        };
        match via.and_then(|_| proxy::refusal(&url, host, &response)) {
            Some(refusal) => Err(refusal),
            None => Ok(response),
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.timeouts.connect
    }

    /// Whether the address policy lets requests to it be.
    pub(crate) fn is_exempt(&self, origin: &Origin) -> bool {
        self.allow_private || self.endpoints.contains(origin)
    }

    /// The proxy that requests to this URL go through.
    pub(crate) fn via(&self, url: &Url) -> Option<Via> {
        self.clients.proxies.to(url)
    }

    /// The client for a URL that may be asked, and where it leads.
    fn client_for(&self, url: &Url, via: Option<&Via>) -> Result<(&Client, Origin), UpstreamError> {
        let refused = |message: &str, key| UpstreamError::policy(host_of(url), message, key);
        let origin = Origin::of(url).ok_or_else(|| refused("not an http or https URL", None))?;
        let client = if self.endpoints.contains(&origin) {
            &self.clients.endpoints
        } else if self.allow_private {
            &self.clients.unguarded
        } else {
            check_host(origin.host())
                .map_err(|error| refused(&error.to_string(), Some(Refused::ALLOWED_BY)))?;
            if via.is_some() {
                &self.clients.unguarded
            } else {
                &self.clients.guarded
            }
        };
        Ok((client, origin))
    }

    /// How errors name the place that a URL is at: [`host_of`], and the proxy that leads there.
    pub(crate) fn place(&self, url: &Url) -> String {
        place(url, self.via(url).as_ref())
    }
}

fn place(url: &Url, via: Option<&Via>) -> String {
    let host = host_of(url);
    via.map_or_else(|| host.clone(), |via| format!("{host} {via}"))
}

fn request(outgoing: Outgoing) -> reqwest::Request {
    let mut request = reqwest::Request::new(outgoing.method, outgoing.url);
    let headers = request.headers_mut();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(accept) = outgoing.accept {
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
    }
    if let Some(authorization) = outgoing.authorization {
        headers.insert(AUTHORIZATION, authorization);
    }
    if let Some(range) = outgoing.range {
        headers.insert(RANGE, range.header());
    }
    if let Some(form) = outgoing.form {
        let encoded = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, encoded);
        *request.body_mut() = Some(form.into());
    }
    request
}

/// What an answer says of the host, where it is about that and not about what it was asked for. What breaks the protocol or
/// leads where it must not has answered.
fn failure_of_host(answer: &Result<Response, UpstreamError>, host: &str) -> Option<UpstreamError> {
    match answer {
        Ok(response) => {
            let status = response.status();
            // Not to know a method is no trouble. What lies before a registry has numbers of its own, such as 520 to 526.
            let fails = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
            let kind = ErrorKind::Unavailable(Trouble::Status(status.as_u16()));
            fails.then(|| UpstreamError::new(kind, host, format!("answers with {status}")))
        }
        Err(error) => error.is_failure_of_host().then(|| error.clone()),
    }
}

/// Bytes go to clients as they are hashed; an encoding on the way would make them others.
fn check_encoding(headers: &HeaderMap) -> Result<(), &'static str> {
    let only = |name, allowed: &str| {
        headers.get_all(name).iter().all(|value| {
            value
                .as_bytes()
                .trim_ascii()
                .eq_ignore_ascii_case(allowed.as_bytes())
        })
    };
    if only(CONTENT_ENCODING, "identity") && only(TRANSFER_ENCODING, "chunked") {
        Ok(())
    } else {
        Err("answers with an encoded body though asked for identity")
    }
}

/// How errors name a place: host, and port where it is not the usual one.
pub(crate) fn host_of(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::ErrorKind;
    use super::super::tls;
    use super::*;
    use crate::config::Proxy;

    #[tokio::test]
    async fn a_name_that_resolves_to_a_private_address_is_never_dialled() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let tls = Tls {
            endpoints: None,
            others: tls::shared().unwrap(),
        };
        let proxies = Proxies::new(&Proxy::System);
        let clients = Clients::new(&tls, proxies, Duration::from_secs(2)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let request = clients.guarded.get(format!("http://localhost:{port}/"));
        let answer = timeout(Duration::from_secs(5), request.send()).await;
        let error = answer.expect("a refusal takes no time").unwrap_err();
        let error = UpstreamError::from_send("localhost", error);
        assert_eq!(error.kind(), ErrorKind::Policy, "{error}");
        assert!(listener.accept().is_err(), "nobody has called");
    }

    #[test]
    fn encoded_answers_are_refused() {
        let check = |name, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            check_encoding(&headers).is_ok()
        };
        assert!(check_encoding(&HeaderMap::new()).is_ok());
        assert!(check(CONTENT_ENCODING, "Identity"));
        assert!(!check(CONTENT_ENCODING, "gzip"));
        assert!(!check(CONTENT_ENCODING, "identity, gzip"));
        assert!(check(TRANSFER_ENCODING, "chunked"));
        assert!(!check(TRANSFER_ENCODING, "gzip, chunked"));
    }
}
