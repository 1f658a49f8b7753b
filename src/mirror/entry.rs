//! The way into every flow: which upstream is asked, as whom, and whether whoever asks may see anything of the repository.
//!
//! Where all see what the mirror's own login may, the permit is enough. Where each client sees what is theirs
//! (`access = "passthrough"`), its login has to have proven its right to the repository to the upstream, a short while ago:
//! before anything cached is looked at, whatever state that is in. What the flows share after that, they share among those
//! who may see it. What an upstream says to one login is told to no other: a refusal or an absence that another's question
//! came to is asked for again with one's own.

use std::sync::Arc;

use url::Url;

use crate::access::Permit;
use crate::login::{Login, LoginId};
use crate::metrics::{self, LoginOutcome};
use crate::oci::{Digest, Reference, Registry, Repository, RepositoryName};
use crate::upstream::{Caller, Priority, Proof, Upstream};

use super::Mirror;
use super::error::MirrorError;
use super::flight::SingleFlight;
use super::memory::AbsentKey;
use super::rights::Kind;

/// Proofs of logins' rights under way.
pub(super) type Entries = SingleFlight<(LoginId, RepositoryName), Result<(), MirrorError>>;

/// What is asked for, which proves the right to its repository if the upstream shows it.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    Manifest(Reference),
    Blob(Digest),
    Tags,
}

impl Asked {
    fn proof(&self) -> Proof<'_> {
        match self {
            Self::Manifest(reference) => Proof::Manifest(reference),
            Self::Blob(digest) => Proof::Blob(digest),
            Self::Tags => Proof::Tags,
        }
    }

    /// How its absence is remembered.
    pub(super) fn absent(&self, upstream: &Upstream, repository: &Repository) -> Option<AbsentKey> {
        let (kind, name) = match self {
            Self::Manifest(reference) => (Kind::Manifest, reference.to_string()),
            Self::Blob(digest) => (Kind::Blob, digest.to_string()),
            Self::Tags => return None,
        };
        Some((upstream.login_id(), repository.clone(), kind, name))
    }
}

impl Mirror {
    /// The upstream of a repository that may be pulled, by the configuration. Every flow begins here, so that what is cached is
    /// refused as well.
    pub(super) fn allowed(&self, permit: &Permit) -> Result<Arc<Upstream>, MirrorError> {
        let repository = permit.repository();
        let Some(upstream) = self.inner.upstreams.get(&repository.registry) else {
            return Err(MirrorError::NotConfigured(repository.registry.clone()));
        };
        match upstream.refusal(&repository.name) {
            None => Ok(upstream),
            Some(key) => Err(MirrorError::NotAllowed {
                repository: repository.clone(),
                detail: format!(
                    "see `{key}` under [upstreams.\"{}\"] in the mirror's configuration",
                    upstream.label().as_str()
                ),
            }),
        }
    }

    /// The same, asked with the login that the permit is of, once that has proven its right.
    pub(super) async fn upstream(
        &self,
        permit: &Permit,
        asked: &Asked,
        caller: &Caller,
    ) -> Result<Arc<Upstream>, MirrorError> {
        let upstream = self.allowed(permit)?;
        let repository = permit.repository();
        if upstream.passthrough().is_none() {
            return Ok(upstream);
        }
        let of_registry = |login: &&Arc<Login>| login.registry() == &repository.registry;
        let login = permit.login().filter(of_registry);
        let Some(upstream) = login.and_then(|login| self.inner.upstreams.with_login(login)) else {
            return Err(MirrorError::login_needed(repository));
        };
        if !upstream.is_entitled(&repository.name) {
            self.entitle(&upstream, repository, asked, caller).await?;
        }
        Ok(upstream)
    }

    /// Asks the upstream whether the login may see the repository. One question at a time; who waits for another's, of the
    /// same login, asks for itself where that one was about something that is not there.
    async fn entitle(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        asked: &Asked,
        caller: &Caller,
    ) -> Result<(), MirrorError> {
        let Some(login) = upstream.login_id() else {
            return Ok(());
        };
        let absent = asked.absent(upstream, repository);
        if let Some(error) = absent.as_ref().and_then(|key| self.inner.absent.get(key)) {
            return Err(error);
        }
        let work = || {
            let (upstream, repository) = (Arc::clone(upstream), repository.clone());
            let (asked, caller) = (asked.clone(), caller.clone());
            async move { prove(&upstream, &repository, &asked, &caller).await }
        };
        let key = (login, repository.name.clone());
        let mut proven = self.inner.entries.run(key, work).await?;
        if let (Err(_), true) = proven {
            proven.0 = work().await;
        }
        if let (Err(error @ MirrorError::NotFound { .. }), Some(key)) = (&proven.0, absent) {
            let lifetime = upstream.tag_policy().negative_for;
            self.inner.absent.insert(key, error.clone(), lifetime);
        }
        proven.0.map_err(|error| told(upstream, repository, error))
    }

    /// Where clients' logins of a registry are shown; `None` where it takes none.
    pub fn login_endpoint(&self, registry: &Registry) -> Option<Url> {
        self.inner.upstreams.login_endpoint(registry)
    }

    /// Whether a client's login was good a while ago.
    pub fn knows(&self, login: &Login) -> bool {
        self.inner.upstreams.knows(login)
    }

    /// Until when a client's login is good at its registry, as that one says now.
    pub async fn log_in(&self, login: &Arc<Login>) -> Result<std::time::Instant, MirrorError> {
        let registry = login.registry();
        let Some(upstream) = self.inner.upstreams.to_prove(login) else {
            return Err(MirrorError::NotConfigured(registry.clone()));
        };
        let now = std::time::Instant::now();
        let end = now + upstream.passthrough().unwrap_or_default();
        if login.is_anyone() {
            return Ok(end);
        }
        let known = upstream.log_in().await;
        let outcome = match &known {
            Ok(_) => LoginOutcome::Accepted,
            Err(error) if error.is_refusal() => LoginOutcome::Refused,
            Err(_) => LoginOutcome::Failed,
        };
        metrics::login(upstream.label(), outcome);
        match known {
            Ok(until) => {
                self.inner.upstreams.keep(login, upstream);
                Ok(until.map_or(end, |until| until.min(end)))
            }
            Err(error) => Err(MirrorError::from_login(&error, registry)),
        }
    }
}

async fn prove(
    upstream: &Upstream,
    repository: &Repository,
    asked: &Asked,
    caller: &Caller,
) -> Result<(), MirrorError> {
    let proven = upstream.entitle(&repository.name, asked.proof(), caller);
    let failed = |error| match asked {
        Asked::Manifest(reference) => MirrorError::from_manifest(&error, repository, reference),
        Asked::Blob(digest) => MirrorError::from_blob(&error, repository, digest),
        Asked::Tags => MirrorError::from_listing(&error, repository),
    };
    proven.await.map_err(failed)
}

/// What a flow's error means to whoever asked with a login of their own. An upstream's words are about that login, and in them
/// the mirror's own configuration is advised on.
pub(super) fn told(
    upstream: &Upstream,
    repository: &Repository,
    error: MirrorError,
) -> MirrorError {
    match (error, upstream.login()) {
        (MirrorError::Denied { .. }, Some(login)) if login.is_anyone() => {
            MirrorError::login_needed(repository)
        }
        (MirrorError::Denied { .. }, Some(_)) => MirrorError::login_denied(repository),
        (error, _) => error,
    }
}

/// Whether an answer to another's question has to be asked for again with one's own login: it may be about the other's.
pub(super) fn is_anothers(upstream: &Upstream, error: Option<&MirrorError>, joined: bool) -> bool {
    joined
        && upstream.login().is_some()
        && error.is_some_and(|error| {
            matches!(
                error,
                MirrorError::NotFound { .. }
                    | MirrorError::Denied { .. }
                    | MirrorError::NoLogin { .. }
                    | MirrorError::TooManyRequests { .. }
            )
        })
}

/// Whoever asks for what costs no pull.
pub(super) fn without_pull() -> Caller {
    Caller::impatient(Priority::Client)
}
