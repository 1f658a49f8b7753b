//! One question to a token service: the token for a scope, anonymously or with a password (the
//! distribution project's token specification).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use url::Url;

use super::address::Origin;
use super::body::read_small;
use super::challenge::Bearer;
use super::credentials::{Held, Login, basic};
use super::error::{ErrorKind, UpstreamError};
use super::redirect::{self, Astray};
use super::refusal::{Refusal, Speaker};
use super::token::{MAX_TOKEN_BYTES, Token, Whose};
use super::transport::{Outgoing, Transport, host_of};

/// How long before its end a token is renewed, in milliseconds; spread, so that many tokens that
/// were issued together are not renewed together.
const EARLY: std::ops::Range<u64> = 5_000..10_000;
/// From the question to the token, however many redirects lie between.
const PATIENCE: Duration = Duration::from_secs(20);

/// A question for a token.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) bearer: Bearer,
    pub(crate) scope: String,
    pub(crate) login: Arc<Held>,
}

/// Asks for a token. Redirects are followed within the service's origin only, so that the login
/// stays there.
pub(crate) async fn fetch_token(
    transport: Arc<Transport>,
    question: Question,
) -> Result<Token, UpstreamError> {
    let host = host_of(&question.bearer.realm);
    match tokio::time::timeout(PATIENCE, ask(&transport, &question)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(UpstreamError::timeout(
            host,
            "the token service is too slow",
        )),
    }
}

async fn ask(transport: &Transport, question: &Question) -> Result<Token, UpstreamError> {
    let asked_at = Instant::now();
    let Question {
        bearer,
        scope,
        login,
    } = question;
    let url = bearer.token_url(scope);
    let unproven = login.whose() == Whose::Unproven;
    let get = |login: Option<HeaderValue>| Outgoing {
        authorization: login,
        unproven,
        ..outgoing(Method::GET, url.clone())
    };
    let answer = match &login.login {
        Login::IdentityToken(token) => {
            let post = Outgoing {
                form: Some(bearer.refresh_form(scope, token.expose())),
                unproven,
                ..outgoing(Method::POST, bearer.realm.clone())
            };
            match send(transport, post).await? {
                // A service that knows the older way only.
                Reply::Refusal(refusal) if is_unknown_method(refusal.status) => {
                    send(transport, get(Some(basic("<token>", token)))).await?
                }
                answer => answer,
            }
        }
        login => send(transport, get(login.basic())).await?,
    };
    let host = host_of(&bearer.realm);
    match answer {
        Reply::Body(body) => {
            let early = Duration::from_millis(rand::random_range(EARLY));
            Token::parse(&body, asked_at, early).map_err(|what| UpstreamError::invalid(host, what))
        }
        Reply::Refusal(refusal) => Err(explain(
            refusal.into_error(&host, Speaker::TokenService),
            question,
        )),
    }
}

fn is_unknown_method(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
    )
}

fn outgoing(method: Method, url: Url) -> Outgoing {
    Outgoing {
        method,
        url,
        authorization: None,
        accept: None,
        range: None,
        form: None,
        unproven: false,
    }
}

/// What a token service said.
enum Reply {
    Body(Bytes),
    Refusal(Refusal),
}

/// Sends a question, to wherever it is redirected within its origin.
async fn send(transport: &Transport, mut question: Outgoing) -> Result<Reply, UpstreamError> {
    let host = host_of(&question.url);
    let home = Origin::of(&question.url);
    for _ in 0..=redirect::MAX_REDIRECTS {
        let mut response = transport.send(question.clone()).await?;
        if response.status().is_redirection() {
            question.url = redirect::target(&question.url, response.headers())
                .map_err(|astray| astray.at_token_service(&host))?;
            if Origin::of(&question.url) != home {
                let message = "the token service redirects to another host";
                return Err(UpstreamError::policy(host, message, None));
            }
            continue;
        }
        if !response.status().is_success() {
            return Ok(Reply::Refusal(Refusal::read(response).await));
        }
        return read_small(&mut response, MAX_TOKEN_BYTES, transport.body_idle())
            .await
            .map(Reply::Body);
    }
    Err(Astray::TooFar.at_token_service(host))
}

/// Says what to do about a refusal. Services differ in whether it is the login or the wish that they refuse with 403.
fn explain(error: UpstreamError, question: &Question) -> UpstreamError {
    let token = match question.scope.as_str() {
        "" => "token".to_owned(),
        scope => format!("token for {scope}"),
    };
    let error = without_login(error, &question.login.login);
    match (error.kind(), &question.login.login) {
        (kind @ (ErrorKind::Unauthorized | ErrorKind::Denied), Login::Anonymous) => {
            let what = format!("without a login there is no {token}");
            error.explained(kind, what)
        }
        (ErrorKind::Unauthorized, _) => UpstreamError::new(
            ErrorKind::Unauthorized,
            error.host(),
            "the token service refuses the login: check the credentials of this upstream",
        ),
        (ErrorKind::Denied, _) => {
            let what =
                format!("the login gets no {token}: it has no right to it, or is no longer valid");
            error.explained(ErrorKind::Denied, what)
        }
        _ => error,
    }
}

/// An upstream that repeats a login in its words is not repeated.
pub(crate) fn without_login(error: UpstreamError, login: &Login) -> UpstreamError {
    match login {
        Login::Anonymous => error,
        Login::Password { password, .. } => {
            let error = error.without(password.expose());
            match login.basic() {
                Some(header) => error.without_header(&header),
                None => error,
            }
        }
        Login::IdentityToken(token) => error.without(token.expose()),
    }
}
