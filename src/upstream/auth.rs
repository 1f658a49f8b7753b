//! From a challenge to the `Authorization` that meets it.
//!
//! What an endpoint has taught is remembered, so that later requests bring their token along instead of
//! paying for a 401 first.
//!
//! A token is asked for `repository:<name>:pull`, with the name that is asked for: the scope of a
//! challenge may be a placeholder (GHCR's is, in a ping's), and token services refuse what they do not
//! know. Only where that token does not do is the challenge's scope tried, once: a registry behind a
//! proxy that rewrites paths knows its repositories by other names, which it says there. Of that scope
//! the name alone is taken. What is asked for is `pull`, whatever the challenge offers.

mod another;
mod elsewhere;
mod grant;
mod memory;

pub(crate) use grant::Grant;
pub(crate) use memory::Memory;

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use moka::sync::Cache;
use url::Url;

use self::grant::Sent;
use super::address::Origin;
use super::challenge::{Bearer, Challenge, ChallengeError, Complaint, Fault};
use super::credentials::{Credentials, Held};
use super::error::{ErrorKind, UpstreamError};
use super::refusal::Refusal;
use super::token::{Terms, TokenKey, Tokens};
use super::token_service::{Question, fetch_token};
use super::transport::{Transport, host_of};
use crate::metrics::{self, UpstreamName, UpstreamOutcome};
use crate::oci::RepositoryName;

/// Meets the challenges of an upstream.
#[derive(Debug)]
pub(crate) struct Auth {
    credentials: Credentials,
    trusted_realms: Vec<String>,
    tokens: Tokens,
    transport: Arc<Transport>,
    label: UpstreamName,
    /// The challenges of other registries, which the upstream redirects to.
    elsewhere: Cache<Origin, Arc<Bearer>>,
}

/// Other registries whose challenges are kept.
const MAX_ELSEWHERE: u64 = 64;

impl Auth {
    pub(crate) fn new(
        credentials: Credentials,
        trusted_realms: Vec<String>,
        tokens: Tokens,
        transport: Arc<Transport>,
        label: UpstreamName,
    ) -> Auth {
        Auth {
            credentials,
            trusted_realms,
            tokens,
            transport,
            label,
            elsewhere: Cache::new(MAX_ELSEWHERE),
        }
    }

    /// The login for a repository, or without one for the registry itself.
    pub(crate) async fn login(
        &self,
        registry: &Origin,
        name: Option<&RepositoryName>,
    ) -> Result<Arc<Held>, UpstreamError> {
        self.credentials.login(registry, name).await
    }

    /// Whose login a repository is read with, as far as that can be told without asking for it.
    pub(crate) fn account(&self, registry: &Origin, name: &RepositoryName) -> String {
        self.credentials.account(registry, name)
    }

    /// What a request can bring along on account of earlier challenges; `None` to go without.
    pub(crate) async fn foresee(
        &self,
        registry: &Origin,
        memory: &Memory,
        name: &RepositoryName,
    ) -> Result<Option<Grant>, UpstreamError> {
        let Some(challenge) = memory.get() else {
            return Ok(None);
        };
        // Without a password, repositories that need none may still be read.
        let login = self.credentials.login(registry, Some(name)).await?;
        if *challenge == Challenge::Basic && login.login.basic().is_none() {
            return Ok(None);
        }
        let stand_in = memory.stand_in(name);
        let wish = Wish {
            registry,
            known_as: stand_in.as_ref().or(Some(name)),
        };
        match self.meet(&challenge, login, wish).await {
            Ok(grant) => Ok(Some(grant)),
            Err(error) => {
                // The token service may have moved; a request without a token finds out. Where it is out of reach, that
                // is the next attempt's to do.
                let nonsense = matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Policy);
                if nonsense || matches!(error.kind(), ErrorKind::Unavailable(_)) {
                    memory.set(None);
                }
                if nonsense { Ok(None) } else { Err(error) }
            }
        }
    }

    /// What meets a refusal of a request to `asked` that brought `refused` along; `None` when nothing
    /// will. Without a repository's name it is for the registry itself, as for a ping.
    pub(crate) async fn answer(
        &self,
        registry: &Origin,
        memory: &Memory,
        asked: &Url,
        refusal: &Refusal,
        refused: Option<&Grant>,
        name: Option<&RepositoryName>,
    ) -> Result<Option<Grant>, UpstreamError> {
        let complaint = Complaint::from_headers(&refusal.headers);
        if !is_about_login(refusal, complaint.fault, refused) {
            return Ok(None);
        }
        let again = refused.is_none_or(|grant| self.forget_token(grant, complaint.fault));
        let asked_for = refused.and_then(Grant::known_as);
        let stand_in = if again {
            let remembered = || memory.stand_in(name?);
            asked_for.cloned().or_else(remembered)
        } else {
            if asked_for.is_some() && read(refusal, asked) == Ok(Challenge::Basic) {
                // It may take passwords only, from now on. Without the login it says so.
                memory.set(None);
            }
            let Some(stand_in) = next_name(memory, &complaint, asked_for, name) else {
                return Ok(None);
            };
            Some(stand_in)
        };
        let login = match refused.filter(|grant| !grant.is_token()) {
            Some(grant) => match self.credentials.another(registry, &grant.login).await {
                // Only the login's age was complained of, and that there is no newer one says nothing of the right.
                Err(error) if refusal.says_expired() => return Err(error),
                // The keeper has told the operator why. The registry has said no all the same.
                another => another.unwrap_or_default(),
            },
            None => Some(self.credentials.login(registry, name).await?),
        };
        let Some(login) = login else {
            return Ok(None);
        };
        let challenge = current(memory, asked, refusal, refused)?;
        memory.set(Some(challenge.clone()));
        let known_as = stand_in.as_ref().or(name);
        let wish = Wish { registry, known_as };
        match self.meet(&challenge, login, wish).await {
            // The other name was no better; the refusal stands.
            Err(error) if !again && !error.is_trouble() => Ok(None),
            met => met.map(Some),
        }
    }

    async fn meet(
        &self,
        challenge: &Challenge,
        login: Arc<Held>,
        wish: Wish<'_>,
    ) -> Result<Grant, UpstreamError> {
        match challenge {
            Challenge::Bearer(bearer) => self.bearer_renewed(bearer, login, wish).await,
            Challenge::Basic => match login.login.basic() {
                Some(header) => Ok(Grant {
                    header,
                    access: login.login.access(),
                    login,
                    token: None,
                }),
                None => Err(UpstreamError::new(
                    ErrorKind::Unauthorized,
                    wish.registry.host(),
                    self.no_password(),
                )),
            },
        }
    }

    fn no_password(&self) -> String {
        let advice = match self.credentials.kind() {
            Some(kind) => format!("its {kind} has none for it"),
            None => "set username and password_file, or credentials, for this upstream".to_owned(),
        };
        format!("the registry asks for a password: {advice}")
    }

    /// A token for the upstream's login. Where the service refuses the login, somebody may have logged in anew since.
    async fn bearer_renewed(
        &self,
        bearer: &Bearer,
        login: Arc<Held>,
        wish: Wish<'_>,
    ) -> Result<Grant, UpstreamError> {
        match self.bearer(bearer, login.clone(), wish).await {
            Err(error) if error.kind() == ErrorKind::Unauthorized => {
                // As in `answer`: where none is to be had, the refusal stands.
                match self.credentials.another(wish.registry, &login).await {
                    Ok(Some(login)) => self.bearer(bearer, login, wish).await,
                    Ok(None) | Err(_) => Err(error),
                }
            }
            outcome => outcome,
        }
    }

    async fn bearer(
        &self,
        bearer: &Bearer,
        login: Arc<Held>,
        wish: Wish<'_>,
    ) -> Result<Grant, UpstreamError> {
        let registry = wish.registry;
        bearer
            .check_realm(registry, &self.trusted_realms)
            .map_err(|error| {
                UpstreamError::policy(registry.host(), error.to_string(), error.allowed_by())
            })?;
        let scope = match (&bearer.scope, wish.known_as) {
            (Some(scope), _) => scope.clone(),
            (None, Some(name)) => format!("repository:{name}:pull"),
            // As `docker login` asks: such a token shows that the login is good, and opens no repository.
            (None, None) => String::new(),
        };
        let key = TokenKey {
            upstream: self.label.clone(),
            registry: registry.to_string(),
            identity: login.identity.clone(),
            realm: bearer.realm.to_string(),
            service: bearer.service.clone(),
            scope: scope.clone(),
        };
        let terms = Terms {
            issue: login.issued_at(),
            whose: login.whose(),
        };
        let fetch = || {
            let (transport, label) = (self.transport.clone(), self.label.clone());
            let question = Question {
                bearer: bearer.clone(),
                scope: scope.clone(),
                login: login.clone(),
            };
            async move {
                let fetched = fetch_token(transport, question).await;
                let outcome = fetched.as_ref().err();
                let outcome = outcome.map_or(UpstreamOutcome::Ok, UpstreamError::outcome);
                metrics::token_fetch(&label, outcome);
                fetched
            }
        };
        let (token, fresh) = self.tokens.get(&key, terms, Instant::now(), fetch).await?;
        login.prove();
        Ok(Grant {
            header: token.header.clone(),
            access: login.login.access(),
            login,
            token: Some(Sent {
                key,
                token,
                fresh,
                known_as: wish.known_as.cloned(),
            }),
        })
    }

    /// Looks for something better than what a store of bytes says the registry signed with. Whether to ask the registry once
    /// more: it signs anew even where the password is the same.
    pub(crate) async fn renew(
        &self,
        registry: &Origin,
        refused: &Grant,
    ) -> Result<bool, UpstreamError> {
        if refused.is_token() {
            return Ok(self.forget_token(refused, Fault::Unsaid));
        }
        self.credentials.another(registry, &refused.login).await?;
        Ok(true)
    }

    /// Forgets a token that was refused. False if another would be refused as well, since this one is new. A password is
    /// not forgotten.
    fn forget_token(&self, refused: &Grant, fault: Fault) -> bool {
        match &refused.token {
            // One that is too small for what it was asked for is of no use to the next request either. Else the fault may
            // be this request's, such as a method that is refused.
            Some(sent) if sent.fresh => {
                if fault == Fault::InsufficientScope {
                    self.tokens.reject(&sent.key, &sent.token);
                }
                false
            }
            Some(sent) => {
                self.tokens.reject(&sent.key, &sent.token);
                true
            }
            None => true,
        }
    }
}

/// What a token is asked for.
#[derive(Debug, Clone, Copy)]
struct Wish<'a> {
    registry: &'a Origin,
    /// The name that its registry and the token service have for the repository; none for the registry itself.
    known_as: Option<&'a RepositoryName>,
}

/// Whether a refusal may be one of the login, or for want of one: 401; 403 that says so, as RFC 6750 has it; or whatever
/// says that the login has expired.
fn is_about_login(refusal: &Refusal, fault: Fault, refused: Option<&Grant>) -> bool {
    match refusal.status {
        StatusCode::UNAUTHORIZED => true,
        StatusCode::FORBIDDEN if fault == Fault::InsufficientScope => true,
        _ => refused.is_some_and(|grant| grant.is_too_old_by(refusal)),
    }
}

/// The name to ask a token under, where a new one for `asked_for` was refused.
fn next_name(
    memory: &Memory,
    complaint: &Complaint,
    asked_for: Option<&RepositoryName>,
    name: Option<&RepositoryName>,
) -> Option<RepositoryName> {
    let name = name?;
    memory.forget_stand_in(name);
    let stand_in = complaint.stand_in(name)?;
    (asked_for == Some(name)).then(|| stand_in.clone())
}

fn read(refusal: &Refusal, asked: &Url) -> Result<Challenge, ChallengeError> {
    Challenge::from_headers(&refusal.headers, asked)
}

/// The challenge that a refusal makes; the one before where it makes none.
fn current(
    memory: &Memory,
    asked: &Url,
    refusal: &Refusal,
    refused: Option<&Grant>,
) -> Result<Arc<Challenge>, UpstreamError> {
    match (read(refusal, asked), memory.get()) {
        // Harbor asks for a password where a token is not good any more. Not all have one, and for those who do it is
        // checked anew with each request.
        (Ok(Challenge::Basic), Some(before)) if refused.is_some_and(Grant::is_token) => Ok(before),
        (Ok(challenge), _) => Ok(Arc::new(challenge)),
        (Err(ChallengeError::Missing), Some(before)) => Ok(before),
        (Err(error), _) => Err(refused_challenge(asked, &error)),
    }
}

fn refused_challenge(asked: &Url, error: &ChallengeError) -> UpstreamError {
    let kind = match error {
        ChallengeError::Missing | ChallengeError::BadRealm => ErrorKind::Unauthorized,
        ChallengeError::Downgrade | ChallengeError::ForeignRealm(_) => ErrorKind::Policy,
    };
    UpstreamError::new(kind, host_of(asked), error.to_string())
}
