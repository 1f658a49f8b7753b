//! An answer that is neither the thing asked for nor a redirect, and the error that it means.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use reqwest::Response;
use tokio::time::timeout;

use super::error::{ErrorKind, Trouble, UpstreamError, printable};
use super::{range, retry_after};
use crate::oci::{ErrorCode, WireErrors};

/// Where a refusal came from, which decides what it may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// A registry, asked for something whose absence has this code.
    Registry(ErrorCode),
    /// A store of bytes that a registry redirected to. Nothing it says is about rights or existence.
    Store,
    /// A token service.
    TokenService,
}

/// A refused request, its body read as far as it is of use.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

impl Refusal {
    /// Reads the rest of a refusal, which also frees its connection for the next request.
    pub(crate) async fn read(response: Response) -> Refusal {
        let status = response.status();
        let headers = response.headers().clone();
        let body = read_prefix(response).await;
        Refusal {
            status,
            headers,
            body,
        }
    }

    /// Whether the registry says that a login is too old. ECR does so with a 403 and no challenge. The phrases are such as
    /// no name or tag that a registry repeats can hold.
    pub(crate) fn says_expired(&self) -> bool {
        const PHRASES: [&str; 3] = ["has expired", "is expired", "token expired"];
        if !matches!(self.status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN) {
            return false;
        }
        let body = String::from_utf8_lossy(&self.body).to_ascii_lowercase();
        PHRASES.iter().any(|phrase| body.contains(phrase))
    }

    /// Whether it is a 403 that does not say why: no body, as in every answer to a HEAD, and no challenge.
    pub(crate) fn is_mute_denial(&self) -> bool {
        self.status == StatusCode::FORBIDDEN
            && self.body.is_empty()
            && !self.headers.contains_key(WWW_AUTHENTICATE)
    }

    /// Whether ECR Public means with it that a token is too old: a 400, whatever its body.
    pub(crate) fn is_expiry_at_ecr_public(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST
    }

    /// Whether a store of bytes says that the registry signed with a login that is too old, as S3 does behind ECR.
    pub(crate) fn says_token_expired(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST
            && String::from_utf8_lossy(&self.body).contains("ExpiredToken")
    }

    /// The error that this refusal means.
    pub(crate) fn into_error(self, host: &str, speaker: Speaker) -> UpstreamError {
        let wire = WireErrors::parse(&self.body);
        let code = wire.code();
        let message = self.message(&wire, speaker);
        let kind = match speaker {
            Speaker::Registry(absent) => self.registry_kind(code, absent),
            Speaker::Store => self.store_kind(),
            Speaker::TokenService => self.token_kind(code),
        };
        UpstreamError::new(kind, host, message).with_retry_after(self.retry_after(&wire))
    }

    fn registry_kind(&self, code: Option<ErrorCode>, absent: ErrorCode) -> ErrorKind {
        match self.status {
            StatusCode::NOT_FOUND => ErrorKind::NotFound {
                code: code.filter(|code| is_absence(*code)).unwrap_or(absent),
            },
            StatusCode::UNAUTHORIZED => ErrorKind::Unauthorized,
            StatusCode::FORBIDDEN if code == Some(ErrorCode::TooManyRequests) => {
                ErrorKind::TooManyRequests
            }
            StatusCode::FORBIDDEN => ErrorKind::Denied,
            StatusCode::RANGE_NOT_SATISFIABLE => ErrorKind::RangeUnsatisfiable {
                size: range::unsatisfied_total(&self.headers),
            },
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => ErrorKind::Unsupported,
            _ => self.common_kind(),
        }
    }

    fn store_kind(&self) -> ErrorKind {
        match self.status {
            StatusCode::RANGE_NOT_SATISFIABLE => ErrorKind::RangeUnsatisfiable {
                size: range::unsatisfied_total(&self.headers),
            },
            _ => self.common_kind(),
        }
    }

    fn token_kind(&self, code: Option<ErrorCode>) -> ErrorKind {
        match self.status {
            _ if code == Some(ErrorCode::TooManyRequests) => ErrorKind::TooManyRequests,
            StatusCode::UNAUTHORIZED => ErrorKind::Unauthorized,
            StatusCode::FORBIDDEN => ErrorKind::Denied,
            StatusCode::BAD_REQUEST if self.refuses_grant() => ErrorKind::Unauthorized,
            _ => self.common_kind(),
        }
    }

    /// Whether a token service says of an identity token that it is expired or revoked (RFC 6749 section 5.2).
    fn refuses_grant(&self) -> bool {
        #[derive(serde::Deserialize)]
        struct Complaint {
            error: String,
        }
        serde_json::from_slice(&self.body).is_ok_and(|Complaint { error }| {
            matches!(
                error.as_str(),
                "invalid_grant" | "invalid_client" | "unauthorized_client"
            )
        })
    }

    fn common_kind(&self) -> ErrorKind {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => ErrorKind::TooManyRequests,
            StatusCode::REQUEST_TIMEOUT => ErrorKind::Unavailable(Trouble::Status(408)),
            status if status.is_server_error() => {
                ErrorKind::Unavailable(Trouble::Status(status.as_u16()))
            }
            _ => ErrorKind::Invalid,
        }
    }

    fn retry_after(&self, wire: &WireErrors) -> Option<Duration> {
        let now = SystemTime::now();
        let header = self
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
            .and_then(|value| retry_after::parse(value, now));
        header.or_else(|| {
            wire.as_slice()
                .iter()
                .find_map(|error| retry_after::in_message(&error.message, now))
        })
    }

    /// A store's body is left out: it may hold parts of the signed URL.
    fn message(&self, wire: &WireErrors, speaker: Speaker) -> String {
        let status = self.status.as_u16();
        let who = match speaker {
            Speaker::Registry(_) => "registry",
            Speaker::Store => "blob store",
            Speaker::TokenService => "token service",
        };
        match (speaker, wire.as_slice().first()) {
            (Speaker::Store, _) | (_, None) => format!("the {who} answered {status}"),
            (_, Some(error)) => format!(
                "the {who} answered {status} {}",
                printable(&error.to_string())
            ),
        }
    }
}

fn is_absence(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NameUnknown | ErrorCode::ManifestUnknown | ErrorCode::BlobUnknown
    )
}

/// The beginning of a body, for what it is worth.
async fn read_prefix(mut response: Response) -> Bytes {
    const LIMIT: usize = 16 << 10;
    const PATIENCE: Duration = Duration::from_secs(2);

    let mut body = BytesMut::new();
    let read = async {
        while body.len() < LIMIT
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
    };
    // What came until then is as good as the rest.
    let _ = timeout(PATIENCE, read).await;
    body.truncate(LIMIT);
    body.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn kind(status: u16, body: &str, speaker: Speaker) -> ErrorKind {
        refusal(status, body).into_error("a.io", speaker).kind()
    }

    const REGISTRY: Speaker = Speaker::Registry(ErrorCode::ManifestUnknown);

    #[test]
    fn only_a_registrys_404_means_that_a_thing_is_not_there() {
        let name_unknown = r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#;
        let odd = r#"{"errors":[{"code":"DENIED"}]}"#;
        let absent = |code| ErrorKind::NotFound { code };
        assert_eq!(
            kind(404, name_unknown, REGISTRY),
            absent(ErrorCode::NameUnknown)
        );
        assert_eq!(kind(404, odd, REGISTRY), absent(ErrorCode::ManifestUnknown));
        assert_eq!(
            kind(404, "<html>", REGISTRY),
            absent(ErrorCode::ManifestUnknown)
        );
        assert_eq!(kind(404, name_unknown, Speaker::Store), ErrorKind::Invalid);
        assert_eq!(
            kind(404, name_unknown, Speaker::TokenService),
            ErrorKind::Invalid
        );
        for status in [400, 401, 403, 429, 500, 502, 503, 504] {
            for speaker in [REGISTRY, Speaker::Store, Speaker::TokenService] {
                let kind = kind(status, name_unknown, speaker);
                assert!(
                    !matches!(kind, ErrorKind::NotFound { .. }),
                    "{status} {speaker:?}"
                );
            }
        }
    }

    #[test]
    fn both_kinds_of_429_are_refusals_for_load() {
        let quota = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 985.86µs, allowed: 44000/minute"}]}"#;
        let error = refusal(429, quota).into_error("ghcr.io", REGISTRY);
        assert_eq!(error.kind(), ErrorKind::TooManyRequests);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(
            kind(429, "Too Many Requests", REGISTRY),
            ErrorKind::TooManyRequests
        );
    }

    #[test]
    fn a_stores_refusal_of_a_signed_url_says_nothing_about_rights() {
        assert_eq!(kind(403, "", Speaker::Store), ErrorKind::Invalid);
        assert_eq!(kind(401, "", Speaker::Store), ErrorKind::Invalid);
        let leak = r#"{"errors":[{"code":"DENIED","message":"signature abc123 expired"}]}"#;
        let error = refusal(403, leak).into_error("cdn.io", Speaker::Store);
        assert!(!error.to_string().contains("abc123"), "{error}");
    }

    #[test]
    fn an_expired_login_is_recognised_without_a_challenge() {
        let expired = r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}"#;
        assert!(refusal(403, expired).says_expired());
        assert!(refusal(400, "The token is expired").says_expired());
        assert!(!refusal(400, "").says_expired());
        assert!(!refusal(403, "no").says_expired());
        assert!(refusal(403, "").is_mute_denial());
        assert!(!refusal(403, expired).is_mute_denial() && !refusal(401, "").is_mute_denial());
        let repeated = r#"{"errors":[{"code":"TAG_INVALID","message":"no tag expired"}]}"#;
        assert!(!refusal(400, repeated).says_expired());
        assert!(!refusal(404, expired).says_expired());
    }

    /// It was an answer that can't be used: a 502, without a word of the login, and nobody looked for another.
    #[test]
    fn an_identity_token_that_is_no_longer_valid_is_a_refused_login() {
        let kind = |status, body: &str| {
            let error = refusal(status, body).into_error("a.io", Speaker::TokenService);
            error.kind()
        };
        for error in ["invalid_grant", "invalid_client", "unauthorized_client"] {
            let body = format!("{{\"error\":\"{error}\",\"error_description\":\"x\"}}");
            assert_eq!(kind(400, &body), ErrorKind::Unauthorized, "{error}");
        }
        for body in ["", "invalid_grant", r#"{"error":"invalid_request"}"#] {
            assert_eq!(kind(400, body), ErrorKind::Invalid, "{body}");
        }
    }
}
