//! What is sent with a request on account of a challenge, and what it means when that is refused.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;

use crate::oci::RepositoryName;
use crate::upstream::challenge::Fault;
use crate::upstream::credentials::{Access, Held};
use crate::upstream::error::{ErrorKind, UpstreamError};
use crate::upstream::refusal::Refusal;
use crate::upstream::token::{Token, TokenKey};
use crate::upstream::token_service::without_login;

/// What the tokens of ECR Public are for.
const ECR_PUBLIC: &str = "public.ecr.aws";

/// What is sent with a request, and what can be done when it is refused.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) header: HeaderValue,
    pub(crate) access: Access,
    pub(super) login: Arc<Held>,
    pub(super) token: Option<Sent>,
}

/// A token that is sent.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) key: TokenKey,
    pub(super) token: Arc<Token>,
    pub(super) fresh: bool,
    /// The repository that it was asked for.
    pub(super) known_as: Option<RepositoryName>,
}

impl Grant {
    /// Notes that it has opened the way.
    pub(super) fn prove(&self) {
        // A token says nothing of the login that is not known since it came.
        if self.token.is_none() {
            self.login.prove();
        }
    }

    /// Whether it is a token, rather than a password.
    pub(super) fn is_token(&self) -> bool {
        self.token.is_some()
    }

    /// Until when it opens the way, where that is known: a password has no end.
    pub(crate) fn good_until(&self) -> Option<Instant> {
        Some(self.token.as_ref()?.token.good_until())
    }

    /// The repository that its token was asked for.
    pub(super) fn known_as(&self) -> Option<&RepositoryName> {
        self.token.as_ref()?.known_as.as_ref()
    }

    /// Whether a refusal without a challenge means that it has come to its end, or may mean it: its source is then asked
    /// whether there is another, once in a while, and it serves on where there is none.
    pub(super) fn is_too_old_by(&self, refusal: &Refusal) -> bool {
        let sent = self.token.as_ref();
        let service = sent.and_then(|sent| sent.key.service.as_deref());
        // ECR's answer to a HEAD is its 403 without the words.
        let perhaps = self.token.is_none() && self.login.ends() && refusal.is_mute_denial();
        refusal.says_expired()
            || perhaps
            || (service == Some(ECR_PUBLIC) && refusal.is_expiry_at_ecr_public())
    }

    /// An upstream that repeats the login in its words is not repeated.
    pub(crate) fn withhold(&self, error: UpstreamError) -> UpstreamError {
        without_login(error.without_header(&self.header), &self.login.login)
    }

    /// Says what a registry's final refusal means for the login: a wrong password and a missing right
    /// are mended in different places. What went wrong with the token is said with the refusal.
    pub(crate) fn explain(
        &self,
        error: UpstreamError,
        fault: Fault,
        name: &RepositoryName,
    ) -> UpstreamError {
        use Access::{Anonymous, Credentialed};
        use ErrorKind::{Denied, Unauthorized};

        let error = self.withhold(error);
        let may_not = format!("the login is accepted, but may not pull {name}, if that exists");
        let (kind, what) = match (error.kind(), &self.token, self.access) {
            (Unauthorized, Some(_), _) if fault == Fault::Invalid => (
                Unauthorized,
                "the registry calls the token invalid that its token service has just given out"
                    .into(),
            ),
            (kind @ (Unauthorized | Denied), _, Anonymous) => (
                kind,
                format!("{name}, if that exists, can't be pulled without a login"),
            ),
            // A token is proof that its service knows the login.
            (Unauthorized, Some(_), Credentialed) | (Denied, _, Credentialed) => (Denied, may_not),
            (Unauthorized, None, Credentialed) => (
                Unauthorized,
                "the registry refuses the login: check the credentials of this upstream".into(),
            ),
            _ => return error,
        };
        error.explained(kind, what)
    }
}
