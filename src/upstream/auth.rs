//! From a challenge to the `Authorization` that meets it.
//!
//! Owns what one endpoint has taught: the challenge that it last made, so that later requests bring
//! their token along instead of paying for a 401 first.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use http::{HeaderValue, StatusCode};
use moka::sync::Cache;
use url::Url;

use super::address::Origin;
use super::challenge::{Bearer, Challenge, ChallengeError};
use super::credentials::{Access, Credentials, Held, Login};
use super::error::{ErrorKind, UpstreamError};
use super::redirect;
use super::refusal::Refusal;
use super::token::{Obtained, Token, TokenKey, Tokens};
use super::token_service::{Question, fetch_token, without_login};
use super::transport::{Transport, host_of};
use crate::metrics::{self, UpstreamName, UpstreamOutcome};
use crate::oci::RepositoryName;

/// What is sent with a request, and what can be done when it is refused.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) header: HeaderValue,
    pub(crate) access: Access,
    login: Arc<Held>,
    token: Option<Sent>,
}

#[derive(Debug, Clone)]
struct Sent {
    key: TokenKey,
    token: Arc<Token>,
    fresh: bool,
}

impl Grant {
    /// An upstream that repeats the login in its words is not repeated.
    pub(crate) fn withhold(&self, error: UpstreamError) -> UpstreamError {
        without_login(error.without_header(&self.header), &self.login.login)
    }

    /// Notes that it has opened the way.
    pub(crate) fn prove(&self) {
        // A token says nothing of the login that is not known since it came.
        if self.token.is_none() {
            self.login.prove();
        }
    }
}

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

/// The challenge that an endpoint last made.
#[derive(Debug, Default)]
pub(crate) struct Memory(RwLock<Option<Arc<Challenge>>>);

impl Memory {
    fn get(&self) -> Option<Arc<Challenge>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, challenge: Option<Arc<Challenge>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = challenge;
    }
}

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
        let name = Some(name);
        // Without a password, repositories that need none may still be read.
        let login = self.credentials.login(registry, name).await?;
        if *challenge == Challenge::Basic && login.login.basic().is_none() {
            return Ok(None);
        }
        match self.meet(registry, &challenge, login, name).await {
            Ok(grant) => Ok(Some(grant)),
            // The token service may have moved; a request without a token finds out.
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Policy) => {
                memory.set(None);
                Ok(None)
            }
            Err(error) => Err(error),
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
        if !self.may_be_met(refusal, refused) {
            return Ok(None);
        }
        let challenge = match Challenge::from_headers(&refusal.headers, asked) {
            Ok(challenge) => Arc::new(challenge),
            Err(ChallengeError::Missing) => match memory.get() {
                Some(challenge) => challenge,
                None => return Err(refused_challenge(asked, &ChallengeError::Missing)),
            },
            Err(error) => return Err(refused_challenge(asked, &error)),
        };
        memory.set(Some(challenge.clone()));
        let login = self.credentials.login(registry, name).await?;
        self.meet(registry, &challenge, login, name).await.map(Some)
    }

    /// Whether another login may help where `refused` was refused. If so, that one is forgotten.
    fn may_be_met(&self, refusal: &Refusal, refused: Option<&Grant>) -> bool {
        let expired = refused.is_some() && refusal.says_expired();
        (refusal.status == StatusCode::UNAUTHORIZED || expired)
            && refused.is_none_or(|grant| self.reject(grant))
    }

    /// What a request to another registry, which the upstream redirected to, can bring along on account of earlier
    /// challenges: an anonymous token of that registry, or nothing. forebay's own credentials are never offered.
    pub(crate) async fn foresee_elsewhere(
        &self,
        asked: &Url,
    ) -> Result<Option<Grant>, UpstreamError> {
        let (Some(registry), Some(name)) = (Origin::of(asked), redirect::repository_in(asked))
        else {
            return Ok(None);
        };
        let Some(bearer) = self.elsewhere.get(&registry) else {
            return Ok(None);
        };
        match self.anonymous(&registry, &bearer, &name).await {
            Ok(grant) => Ok(Some(grant)),
            // As in `foresee`.
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Policy) => {
                self.elsewhere.invalidate(&registry);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What meets the challenge of another registry, as [`Auth::answer`] does at home, anonymously.
    pub(crate) async fn answer_elsewhere(
        &self,
        asked: &Url,
        refusal: &Refusal,
        refused: Option<&Grant>,
    ) -> Result<Option<Grant>, UpstreamError> {
        let (Some(registry), Some(name)) = (Origin::of(asked), redirect::repository_in(asked))
        else {
            return Ok(None);
        };
        if !self.may_be_met(refusal, refused) {
            return Ok(None);
        }
        let bearer = match Challenge::from_headers(&refusal.headers, asked) {
            Ok(Challenge::Bearer(bearer)) => Some(Arc::new(bearer)),
            Err(ChallengeError::Missing) => self.elsewhere.get(&registry),
            _ => None,
        };
        let Some(bearer) = bearer else {
            return Ok(None);
        };
        let grant = self.anonymous(&registry, &bearer, &name).await?;
        self.elsewhere.insert(registry, bearer);
        Ok(Some(grant))
    }

    async fn anonymous(
        &self,
        registry: &Origin,
        bearer: &Bearer,
        name: &RepositoryName,
    ) -> Result<Grant, UpstreamError> {
        let nobody = Arc::new(Held::fixed(Login::Anonymous));
        self.bearer(registry, bearer, nobody, Some(name)).await
    }

    async fn meet(
        &self,
        registry: &Origin,
        challenge: &Challenge,
        login: Arc<Held>,
        name: Option<&RepositoryName>,
    ) -> Result<Grant, UpstreamError> {
        match challenge {
            Challenge::Bearer(bearer) => self.bearer_renewed(registry, bearer, login, name).await,
            Challenge::Basic => match login.login.basic() {
                Some(header) => Ok(Grant {
                    header,
                    access: login.login.access(),
                    login,
                    token: None,
                }),
                None => Err(UpstreamError::new(
                    ErrorKind::Unauthorized,
                    registry.host(),
                    "the registry asks for a password: set username and password_file for this upstream",
                )),
            },
        }
    }

    /// A token for the upstream's login. Where the service refuses the login, somebody may have logged in anew since.
    async fn bearer_renewed(
        &self,
        registry: &Origin,
        bearer: &Bearer,
        login: Arc<Held>,
        name: Option<&RepositoryName>,
    ) -> Result<Grant, UpstreamError> {
        match self.bearer(registry, bearer, login.clone(), name).await {
            Err(error)
                if error.kind() == ErrorKind::Unauthorized && self.credentials.reject(&login) =>
            {
                let login = self.credentials.login(registry, name).await?;
                self.bearer(registry, bearer, login, name).await
            }
            outcome => outcome,
        }
    }

    async fn bearer(
        &self,
        registry: &Origin,
        bearer: &Bearer,
        login: Arc<Held>,
        name: Option<&RepositoryName>,
    ) -> Result<Grant, UpstreamError> {
        bearer
            .check_realm(registry, &self.trusted_realms)
            .map_err(|error| {
                UpstreamError::policy(registry.host(), error.to_string(), error.allowed_by())
            })?;
        let scope = match (&bearer.scope, name) {
            (Some(scope), _) => scope.clone(),
            (None, Some(name)) => format!("repository:{name}:pull"),
            // As `docker login` asks: such a token shows that the login is good, and opens no repository.
            (None, None) => String::new(),
        };
        let key = TokenKey {
            registry: registry.to_string(),
            identity: login.identity.clone(),
            realm: bearer.realm.to_string(),
            service: bearer.service.clone(),
            scope: scope.clone(),
        };
        let fetch = || {
            let (transport, label) = (self.transport.clone(), self.label.clone());
            let question = Question {
                bearer: bearer.clone(),
                scope,
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
        let (token, fresh): Obtained = self.tokens.get(&key, Instant::now(), fetch).await?;
        login.prove();
        Ok(Grant {
            header: token.header.clone(),
            access: login.login.access(),
            login,
            token: Some(Sent { key, token, fresh }),
        })
    }

    /// Forgets what was refused. False if another would be refused as well, since this one is new.
    pub(crate) fn reject(&self, grant: &Grant) -> bool {
        match &grant.token {
            Some(sent) if sent.fresh => false,
            Some(sent) => {
                self.tokens.reject(&sent.key, &sent.token);
                true
            }
            None => self.credentials.reject(&grant.login),
        }
    }
}

fn refused_challenge(asked: &Url, error: &ChallengeError) -> UpstreamError {
    let kind = match error {
        ChallengeError::Missing | ChallengeError::BadRealm => ErrorKind::Unauthorized,
        ChallengeError::Downgrade | ChallengeError::ForeignRealm(_) => ErrorKind::Policy,
    };
    UpstreamError::new(kind, host_of(asked), error.to_string())
}
