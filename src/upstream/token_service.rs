//! One question to a token service: the token for a scope, anonymously or with a password (the
//! distribution project's token specification).

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method};
use url::Url;

use super::address::Origin;
use super::body::read_small;
use super::error::{ErrorKind, UpstreamError};
use super::redirect;
use super::refusal::{Refusal, Speaker};
use super::token::{MAX_TOKEN_BYTES, Token};
use super::transport::{Outgoing, Transport, host_of};

/// How long before its end a token is renewed, in milliseconds; spread, so that many tokens that
/// were issued together are not renewed together.
const EARLY: std::ops::Range<u64> = 5_000..10_000;
/// From the question to the token, however many redirects lie between.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks for a token. Redirects are followed within the service's origin only, so that the login
/// stays there.
pub(crate) async fn fetch_token(
    transport: Arc<Transport>,
    url: Url,
    login: Option<HeaderValue>,
) -> Result<Token, UpstreamError> {
    let host = host_of(&url);
    match tokio::time::timeout(PATIENCE, ask(&transport, url, login.as_ref())).await {
        Ok(outcome) => outcome,
        Err(_) => Err(UpstreamError::timeout(
            host,
            "the token service is too slow",
        )),
    }
}

async fn ask(
    transport: &Transport,
    mut url: Url,
    login: Option<&HeaderValue>,
) -> Result<Token, UpstreamError> {
    let host = host_of(&url);
    let home = Origin::of(&url);
    let asked_at = Instant::now();
    for _ in 0..=redirect::MAX_REDIRECTS {
        let outgoing = Outgoing {
            method: Method::GET,
            url: url.clone(),
            authorization: login.cloned(),
            accept: None,
            range: None,
        };
        let mut response = transport.send(outgoing).await?;
        if response.status().is_redirection() {
            url = redirect::target(&url, response.headers()).map_err(|what| {
                UpstreamError::invalid(&host, format!("the token service {what}"))
            })?;
            if Origin::of(&url) != home {
                let message = "the token service redirects to another host";
                return Err(UpstreamError::new(ErrorKind::Policy, host, message));
            }
            continue;
        }
        if !response.status().is_success() {
            let refusal = Refusal::read(response).await;
            return Err(explain(
                refusal.into_error(&host, Speaker::TokenService),
                login,
            ));
        }
        let body = read_small(&mut response, MAX_TOKEN_BYTES, transport.body_idle()).await?;
        let early = Duration::from_millis(rand::random_range(EARLY));
        return Token::parse(&body, asked_at, early)
            .map_err(|what| UpstreamError::invalid(&host, what));
    }
    let message = "the token service redirects without end";
    Err(UpstreamError::invalid(host, message))
}

/// Says what to do about a login that was refused.
fn explain(error: UpstreamError, login: Option<&HeaderValue>) -> UpstreamError {
    match (error.kind(), login) {
        (ErrorKind::Unauthorized, Some(_)) => UpstreamError::new(
            ErrorKind::Unauthorized,
            error.host(),
            "the token service refuses the login: check username and password of this upstream",
        ),
        (_, Some(login)) => error.without(login),
        (_, None) => error,
    }
}
