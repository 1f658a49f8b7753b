//! Which proxy leads to a URL, and what an operator is told when that is what fails.
//!
//! An error names the proxy and the key that chose it, and never its login: a URL of a proxy is only ever handled here
//! without one.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{ClientBuilder, Response};
use url::Url;

use super::error::{ErrorKind, Trouble, UpstreamError};
use crate::config::{Proxy, ProxyServer};

/// The way from here to an upstream's hosts.
#[derive(Debug, Clone)]
pub(crate) struct Proxies {
    chosen: Proxy,
    matcher: Arc<Matcher>,
}

/// A proxy on the way to somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Via {
    /// Scheme, host and port.
    proxy: String,
    /// What chose it.
    key: &'static str,
}

impl Proxies {
    pub(crate) fn new(chosen: &Proxy) -> Proxies {
        let matcher = match chosen {
            Proxy::System => Matcher::from_system(),
            Proxy::Direct => Matcher::builder().build(),
            Proxy::Server(server) => Matcher::builder().all(server.url().to_string()).build(),
        };
        Proxies {
            chosen: chosen.clone(),
            matcher: Arc::new(matcher),
        }
    }

    /// Has a client go the same way.
    pub(crate) fn lead(&self, builder: ClientBuilder) -> reqwest::Result<ClientBuilder> {
        Ok(match &self.chosen {
            Proxy::System => builder,
            Proxy::Direct => builder.no_proxy(),
            Proxy::Server(server) => {
                let proxy = reqwest::Proxy::all(server.url().clone())?;
                builder.proxy(match basic(server) {
                    Some(login) => proxy.custom_http_auth(login),
                    None => proxy,
                })
            }
        })
    }

    /// The proxy that a request for `url` goes through.
    pub(crate) fn to(&self, url: &Url) -> Option<Via> {
        let uri = url.as_str().parse::<Uri>().ok()?;
        let intercepted = self.matcher.intercept(&uri)?;
        Some(Via {
            proxy: intercepted.uri().to_string().trim_end_matches('/').into(),
            key: match self.chosen {
                Proxy::Server(_) => "http_proxy",
                Proxy::System | Proxy::Direct => "the environment's proxy",
            },
        })
    }
}

/// `Proxy-Authorization`, which never leaves the client that it is given to but for the proxy.
fn basic(server: &ProxyServer) -> Option<HeaderValue> {
    let (username, password) = server.login.as_ref()?;
    let pair = STANDARD.encode(format!("{username}:{}", password.expose()));
    let mut login = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
    login.set_sensitive(true);
    Some(login)
}

impl Via {
    /// Whether TLS is spoken with the proxy itself.
    pub(crate) fn is_tls(&self) -> bool {
        self.proxy.starts_with("https://")
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "through {} ({})", self.proxy, self.key)
    }
}

/// The error of a request for `url` that went through a proxy and has no answer.
pub(crate) fn failure(url: &Url, place: String, error: reqwest::Error) -> UpstreamError {
    let tunnel = tunnel_error(&error);
    if tunnel.as_deref() == Some(WANTS_LOGIN) {
        return wants_login(place);
    }
    // Without a tunnel every connection is one to the proxy.
    let is_away = match &tunnel {
        Some(tunnel) => tunnel == AWAY,
        None => url.scheme() == "http" && error.is_connect(),
    };
    let error = UpstreamError::from_send(place, error);
    if is_away {
        error.reworded(|cause| format!("the proxy can't be reached: {cause}"))
    } else if tunnel.is_some() {
        error.reworded(|cause| format!("the proxy makes no connection to it ({cause})"))
    } else {
        error
    }
}

/// The error that an answer means which is the proxy's own, whatever was asked for.
pub(crate) fn refusal(url: &Url, place: &str, response: &Response) -> Option<UpstreamError> {
    // In a tunnel it is not heard.
    let is_its_own =
        url.scheme() == "http" && response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    is_its_own.then(|| wants_login(place.to_owned()))
}

/// Asking again with the same login could lock its account.
fn wants_login(place: String) -> UpstreamError {
    let message = "the proxy wants a login, or another one (http://USER:PASSWORD@HOST:PORT)";
    UpstreamError::new(ErrorKind::Unavailable(Trouble::Proxy), place, message)
}

/// What a tunnel's error says when the proxy can't be connected to, and when it answers 407. The type is not public.
const AWAY: &str = "tunnel error: failed to create underlying connection";
const WANTS_LOGIN: &str = "tunnel error: proxy authorization required";

fn tunnel_error(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if text.starts_with("tunnel error: ") {
            return Some(text);
        }
        cause = error.source();
    }
    None
}
