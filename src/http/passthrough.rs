//! Logins of clients' own, for upstreams that let each client see what is theirs: the challenge that asks for one, the token
//! endpoint that takes it, and the tokens that requests bring along after that (the distribution project's token
//! specification).
//!
//! A login is shown to the registry that it is for, and to nobody else: which one that is, the challenge has said (`ns`), or
//! the scope says in the words of the request that it is for. One for no such registry gets a token that opens nothing, and
//! is shown to nobody.
//!
//! - `form`: what a client asks a token for, and with what.
//!
//! Owns the tokens that were given out.

mod form;

use std::error::Error;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body;
use serde_json::json;

use super::body::ResponseBody;
use super::client::Scheme;
use super::respond::Answer;
use super::route::{RouteError, scope_of};
use super::{address, errors};
use crate::access::Floods;
use crate::config::{Routes, Secret};
use crate::login::{Login, Session, Sessions};
use crate::mirror::{Mirror, MirrorError};
use crate::oci::Registry;
use form::Form;
pub(super) use form::FormError as TokenFormError;

/// Where tokens are to be had. No registry has a path like it.
pub(super) const TOKEN_PATH: &str = "/_/token";

/// What a request has brought along.
#[derive(Clone, Debug)]
pub(super) enum Shown {
    /// No token.
    Nothing,
    /// A token that is none of ours, or none any more.
    Stale,
    /// One that stands for a login.
    Session(Session),
}

impl Shown {
    /// The login at a registry that it stands for.
    pub(super) fn login(&self) -> Option<Arc<Login>> {
        match self {
            Self::Session(session) => session.login.clone(),
            Self::Nothing | Self::Stale => None,
        }
    }

    pub(super) fn is_session(&self) -> bool {
        matches!(self, Self::Session(_))
    }
}

/// See the file's own words.
#[derive(Clone, Debug, Default)]
pub(super) struct Passthrough {
    sessions: Sessions,
}

/// Where a login comes from, and how many from there were wrong.
#[derive(Clone, Copy)]
pub(super) struct Guesser<'a> {
    pub(super) floods: &'a Floods,
    /// `None` where none are counted.
    pub(super) address: Option<IpAddr>,
}

impl Passthrough {
    /// Tokens count on only for registries that this mirror shows clients' logins to where it did before.
    pub(super) fn go_by(&self, mirror: &Mirror) {
        self.sessions.retain(|login| {
            let endpoint = mirror.login_endpoint(login.registry());
            endpoint.is_some_and(|endpoint| login.is_for(&endpoint))
        });
    }

    /// What a request's `Authorization` says, as far as it is a token.
    pub(super) fn shown(&self, headers: &HeaderMap) -> Shown {
        let Some(token) = bearer(headers) else {
            return Shown::Nothing;
        };
        match self.sessions.find(token, Instant::now()) {
            Some(session) => Shown::Session(session),
            None => Shown::Stale,
        }
    }

    /// Answers a request for a token.
    pub(super) async fn token<B>(
        &self,
        mirror: &Mirror,
        head: &Parts,
        body: B,
        guesser: Guesser<'_>,
    ) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if !matches!(head.method, Method::GET | Method::POST) {
            return errors::of_token_method();
        }
        let form = match Form::read(head, body).await {
            Ok(form) => form,
            Err(error) => return errors::of_form_of_token(error),
        };
        let routes = mirror.routes();
        let registry = match registry_of(&form, head, routes) {
            Ok(registry) => registry,
            Err(error) => return errors::of_route(error, routes),
        };
        let Some(registry) = registry else {
            return granted(&Sessions::unbound(), Duration::from_mins(1));
        };
        let endpoint = mirror.login_endpoint(&registry);
        let login = self.sessions.login(registry, endpoint, form.who);
        match log_in(mirror, &login, guesser).await {
            Ok(until) => {
                let now = Instant::now();
                let (token, end) = self.sessions.open(login, now, until);
                granted(&token, end.saturating_duration_since(now))
            }
            Err(error) => errors::of_mirror(error, Some(login.registry()), routes),
        }
    }
}

/// Until when a login is good. Where too many from one address were wrong none of those is shown to a registry that was not
/// good before: it would take the mirror for whoever guesses.
async fn log_in(
    mirror: &Mirror,
    login: &Arc<Login>,
    guesser: Guesser<'_>,
) -> Result<Instant, MirrorError> {
    let Guesser { floods, address } = guesser;
    let now = tokio::time::Instant::now;
    if !login.is_anyone()
        && !mirror.knows(login)
        && let Some(retry_after) = address.and_then(|address| floods.refuses(address, now()))
    {
        return Err(MirrorError::TooManyRequests {
            retry_after: Some(retry_after),
            message: "too many logins from this address were wrong".to_owned(),
            quota: None,
        });
    }
    let known = mirror.log_in(login).await;
    if let (Err(MirrorError::LoginNeeded { .. }), Some(address)) = (&known, address) {
        // None may be left: others were wrong meanwhile.
        let _ = floods.take(address, now());
    }
    known
}

/// The token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let value = value.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start())
}

/// Which registry a login is for: the one that the challenge was about, else that of the scope's name, else the one that is
/// meant where none is named. `None` where that is none that takes clients' logins.
fn registry_of(form: &Form, head: &Parts, routes: &Routes) -> Result<Option<Registry>, RouteError> {
    let takes = |registry: &Registry| routes.is_passthrough(registry);
    if let Some(namespace) = &form.namespace {
        let registry: Registry = namespace.parse().map_err(RouteError::Name)?;
        return Ok(routes.registry(registry).filter(takes));
    }
    if let Some(name) = &form.name {
        let meant = address::of_name(routes, &head.headers, name);
        return Ok(meant.filter(takes));
    }
    let default = routes.default_registry();
    Ok(if takes(default) {
        Some(default.clone())
    } else {
        routes.only_passthrough().cloned()
    })
}

fn granted(token: &Secret, life: Duration) -> Answer {
    let body = json!({
        "token": token.expose(),
        "access_token": token.expose(),
        "expires_in": life.as_secs().max(1),
    });
    let mut answer = Answer::new(StatusCode::OK, ResponseBody::whole(body.to_string()));
    answer.set(CONTENT_TYPE, "application/json");
    answer.set(CACHE_CONTROL, "no-store");
    answer
}

/// Whoever may have to log in: what a challenge says back to it.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) head: &'a Parts,
    pub(super) scheme: Scheme,
    pub(super) shown: &'a Shown,
}

impl Asker<'_> {
    /// Asks for a login of `registry`, or of any where a ping is answered.
    pub(super) fn challenge(&self, answer: &mut Answer, registry: Option<&Registry>) {
        let Self {
            head,
            scheme,
            shown,
        } = *self;
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        // Without a name for this mirror there is no address to send anyone to.
        let Some(host) = host.filter(|host| !host.is_empty() && !host.contains(['"', '\\'])) else {
            return;
        };
        let realm = format!("{}://{host}{TOKEN_PATH}", scheme.as_str());
        let mut challenge = match registry {
            None => format!("Bearer realm=\"{realm}\",service=\"{host}\""),
            Some(registry) => {
                format!("Bearer realm=\"{realm}?ns={registry}\",service=\"{host}\"")
            }
        };
        if let Some(name) = registry.and_then(|_| scope_of(head.uri.path())) {
            let _ = write!(challenge, ",scope=\"repository:{name}:pull\"");
        }
        if matches!(shown, Shown::Stale) {
            challenge.push_str(",error=\"invalid_token\"");
        }
        answer.set(WWW_AUTHENTICATE, challenge);
    }
}

#[cfg(test)]
mod tests;
