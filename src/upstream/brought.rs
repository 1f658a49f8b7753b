//! An upstream as a client's own login sees it: whether the login is good, and which repositories it may read.
//!
//! Such an upstream shares what it takes to reach the registry with those of other logins: connections, their bounds,
//! breakers, retries. What depends on who asks it has for itself: the login, tokens (kept by the login), what an endpoint
//! has taught about logging in, and the account that a quota is counted for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method};
use url::Url;

use super::auth::Grant;
use super::client::Upstream;
use super::credentials::{Held, Login as Shown};
use super::entitled::{Entitlements, ends};
use super::error::{ErrorKind, UpstreamError};
use super::exchange::{Answer, Ask, Endpoint};
use super::manifest;
use super::quota::Caller;
use super::refusal::{Refusal, Speaker};
use super::transport::{Outgoing, host_of};
use crate::login::{Login, LoginId, Who};
use crate::metrics::{self, RightsOutcome};
use crate::oci::{Digest, ErrorCode, MAX_MANIFEST_BYTES, Reference, RepositoryName};

/// Whose login an upstream is asked with, and what that login may see.
#[derive(Debug)]
pub(super) struct Brought {
    pub(super) login: Arc<Login>,
    pub(super) entitled: Entitlements,
    pub(super) grant_for: Duration,
}

/// What a login's right to a repository is proven by: what its client has asked for anyway.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// A manifest is there.
    Manifest(&'a Reference),
    /// A blob is there.
    Blob(&'a Digest),
    /// Its tags may be listed.
    Tags,
}

/// What a registry is shown by a client's login.
pub(super) fn held(login: &Login) -> Held {
    let shown = match login.who() {
        Who::Anyone => Shown::Anonymous,
        Who::User { name, password } => Shown::Password {
            username: name.clone(),
            password: password.clone(),
        },
        Who::Holder(token) => Shown::IdentityToken(token.clone()),
    };
    Held::brought(shown, &login.id().to_hex())
}

impl Upstream {
    /// Whose login it is asked with, where that is a client's.
    pub fn login(&self) -> Option<&Arc<Login>> {
        self.brought().map(|brought| &brought.login)
    }

    /// What stands for that login.
    pub fn login_id(&self) -> Option<LoginId> {
        self.login().map(|login| login.id())
    }

    /// Whether its login is known to have the right to a repository. It takes none where the login is the mirror's own.
    pub fn is_entitled(&self, name: &RepositoryName) -> bool {
        self.brought().is_none_or(|brought| {
            let now = Instant::now();
            brought.entitled.holds(brought.login.id(), name, now)
        })
    }

    /// The upstream has said no to something of a repository, as far as its login goes.
    pub fn disentitle(&self, name: &RepositoryName) {
        if let Some(brought) = self.brought() {
            let now = Instant::now();
            brought.entitled.refuse(brought.login.id(), name, now);
        }
    }

    /// Asks whether its login has the right to a repository, which it has for a while if the answer is what it was asked for.
    pub async fn entitle(
        &self,
        name: &RepositoryName,
        proof: Proof<'_>,
        caller: &Caller,
    ) -> Result<(), UpstreamError> {
        let Some(brought) = self.brought() else {
            return Ok(());
        };
        let id = brought.login.id();
        let proving = brought.entitled.ask(id, name, Instant::now());
        let told = match proof {
            Proof::Manifest(reference) => self.sees_manifest(name, reference, caller).await,
            Proof::Blob(digest) => {
                let confirmed = self.confirm_blob(name, digest).await;
                confirmed.map(|confirmed| confirmed.good_until)
            }
            Proof::Tags => self.sees_tags(name).await,
        };
        metrics::entitlement(
            self.label(),
            match &told {
                Ok(_) => RightsOutcome::Confirmed,
                Err(error) if error.is_refusal() => RightsOutcome::Refused,
                Err(_) => RightsOutcome::Failed,
            },
        );
        let until = ends(Instant::now(), brought.grant_for, told?);
        proving.proven(until);
        Ok(())
    }

    async fn sees_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Option<Instant>, UpstreamError> {
        let head = manifest::question(Method::HEAD, name, reference);
        match self.ask(&head).await {
            Ok(answer) if manifest::is_of_manifest(&answer) => return Ok(answer.good_until),
            // It says too little, or there is no HEAD.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            Err(error) => return Err(error),
        }
        let get = Ask {
            body: Some(MAX_MANIFEST_BYTES),
            ..manifest::question(Method::GET, name, reference)
        };
        let answer: Answer = self.ask_for(&get, Some(caller)).await?;
        if manifest::is_of_manifest(&answer) {
            Ok(answer.good_until)
        } else {
            Err(answer.invalid("what is no manifest"))
        }
    }

    /// Until when its login is good, where that has an end, as `docker login` asks: with a token of no scope, or a password
    /// that the registry takes. One that asks for no login says nothing of it; what it opens is asked of each repository.
    pub async fn log_in(&self) -> Result<Option<Instant>, UpstreamError> {
        let Some(endpoint) = self.endpoints().first() else {
            let message = "no host has this name, so that it can't be asked";
            return Err(UpstreamError::new(
                ErrorKind::Policy,
                self.registry(),
                message,
            ));
        };
        let log_in = async {
            // Whoever makes up logins has those of its kind wait, and nobody else.
            let _place = self.bounds().unproven().await;
            self.log_in_at(endpoint).await
        };
        match tokio::time::timeout(self.patience(), log_in).await {
            Ok(told) => told,
            Err(_) => Err(self.too_slow(self.patience())),
        }
    }

    async fn log_in_at(&self, endpoint: &Endpoint) -> Result<Option<Instant>, UpstreamError> {
        let mut url = endpoint.base.clone();
        url.set_path("/v2/");
        let Endpoint { origin, memory, .. } = endpoint;
        let foreseen = self.auth().foresee_at_registry(origin, memory).await?;
        let grant = match foreseen {
            Some(grant) => grant,
            None => match self.greeted(&url, None).await? {
                None => return Ok(None),
                Some(refusal) => {
                    let auth = self.auth();
                    let met = auth.answer(origin, memory, &url, &refusal, None, None);
                    met.await?.ok_or_else(|| {
                        UpstreamError::invalid(host_of(&url), "its challenge can't be met")
                    })?
                }
            },
        };
        if grant.good_until().is_some() {
            // The token service knows the login.
            return Ok(grant.good_until());
        }
        match self.greeted(&url, Some(&grant)).await? {
            None => Ok(None),
            Some(refusal) => {
                let speaker = Speaker::Registry(ErrorCode::Unsupported);
                let error = refusal.into_error(&host_of(&url), speaker);
                Err(grant.withhold(error))
            }
        }
    }

    /// `GET /v2/`: the challenge that answers it, if one does.
    async fn greeted(
        &self,
        url: &Url,
        grant: Option<&Grant>,
    ) -> Result<Option<Refusal>, UpstreamError> {
        let header: Option<HeaderValue> = grant.map(|grant| grant.header.clone());
        let outgoing = Outgoing {
            method: Method::GET,
            url: url.clone(),
            authorization: header,
            accept: None,
            range: None,
            form: None,
            unproven: grant.is_some(),
        };
        let response = self.transport().send(outgoing).await?;
        let status = response.status();
        let refusal = Refusal::read(response).await;
        match status {
            status if status.is_success() => Ok(None),
            http::StatusCode::UNAUTHORIZED => Ok(Some(refusal)),
            _ => {
                let speaker = Speaker::Registry(ErrorCode::Unsupported);
                let error = refusal.into_error(&host_of(url), speaker);
                Err(match grant {
                    Some(grant) => grant.withhold(error),
                    None => error,
                })
            }
        }
    }
}
