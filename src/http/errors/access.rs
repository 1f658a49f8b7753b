//! What a client is told that may not ask: never whether what it asks for is there.

use http::StatusCode;
use http::header::WWW_AUTHENTICATE;

use super::{refuse, retry};
use crate::access::{Client, LoginError, Refusal};
use crate::http::respond::Answer;
use crate::oci::ErrorCode;

/// A request whose login was not taken.
pub(in crate::http) fn of_login(error: LoginError) -> Answer {
    let message = error.to_string();
    match error {
        LoginError::Wrong => challenge(refuse(
            StatusCode::UNAUTHORIZED,
            ErrorCode::Unauthorized,
            message,
            Some("log in anew at this mirror, or log out of it".into()),
        )),
        LoginError::TooMany { retry_after } => {
            let detail = "every few seconds one more is looked at; logins that were right before go on working";
            let code = ErrorCode::TooManyRequests;
            let status = StatusCode::TOO_MANY_REQUESTS;
            retry(
                refuse(status, code, message, Some(detail.into())),
                retry_after,
            )
        }
        LoginError::Busy { retry_after } => {
            let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable);
            retry(refuse(status, code, message, None), retry_after)
        }
    }
}

/// A request that its client may not make. Nothing has been looked at but its name.
pub(in crate::http) fn of_access(refusal: Refusal, client: &Client) -> Answer {
    let message = refusal.to_string();
    match refusal {
        Refusal::LoginNeeded => challenge(refuse(
            StatusCode::UNAUTHORIZED,
            ErrorCode::Unauthorized,
            message,
            Some(
                "log in at this mirror with a user or a token of [access] in its configuration"
                    .into(),
            ),
        )),
        Refusal::Denied => {
            let who = client
                .name()
                .unwrap_or_else(|| "a client without a login".to_owned());
            let detail = format!(
                "[access] of the mirror's configuration does not let {} pull it, whether it is there or not",
                who.escape_debug()
            );
            refuse(
                StatusCode::FORBIDDEN,
                ErrorCode::Denied,
                message,
                Some(detail),
            )
        }
    }
}

/// Asks for a login.
fn challenge(mut answer: Answer) -> Answer {
    answer.set(WWW_AUTHENTICATE, "Basic realm=\"forebay\"");
    answer
}
