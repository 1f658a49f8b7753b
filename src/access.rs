//! Who may pull what. A request is for a client, and the [`Gate`] says what that client may ask the mirror for.
//!
//! The mirror's flows take a [`Permit`], and only a gate makes one: a new endpoint that forgets to ask does not compile.
//! The gate decides by who asks and by the repository's name alone, before anyone looks at a cache or asks an upstream, so
//! that a refusal can't tell whether there is such a repository.
//!
//! - [`client`]: who asks, and what rules can say of it.
//! - [`attempt`]: what a client logs in with.
//! - [`permit`]: what a decision looks like.
//! - `logins`: whose login it is; `passwords`, checked at a bounded cost: a `queue` for turns at the cores, [`floods`] of
//!   wrong ones, both in maps that forget (`recent`); `files`, read again when they change.
//!
//! Owns what is known of logins: verdicts on passwords for a while, and where wrong ones come from.

pub mod attempt;
pub mod client;
mod files;
pub mod floods;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod logins;
mod passwords;
pub mod permit;
mod queue;
mod recent;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{AccessRule, Config};
use crate::metrics::{self, AccessOutcome};
use crate::oci::{Registry, Repository, RepositoryName};

pub use attempt::{Attempt, Malformed, user_and_password};
pub use client::{Account, Client, Facts};
pub use files::Trouble;
pub use floods::Floods;
use logins::Logins;
use passwords::Passwords;
pub use permit::{Permit, Refusal, Visible};
use queue::SOON;

/// Decides who may pull what. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` where everybody may pull everything.
    access: Option<Access>,
    /// What is known of logins, whatever the configuration.
    passwords: Arc<Passwords>,
}

#[derive(Debug)]
struct Access {
    trusted: Vec<ipnet::IpNet>,
    rules: Vec<AccessRule>,
    logins: Option<Logins>,
}

/// Why a login was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Nobody's. It is not said whether there is such a user.
    #[error("the login is wrong")]
    Wrong,
    /// Where it comes from, too many were wrong.
    #[error("too many wrong logins come from this address")]
    TooMany {
        /// When one will be looked at again.
        retry_after: Duration,
    },
    /// Too many wait to be looked at.
    #[error("too many logins wait to be checked")]
    Busy {
        /// When to come back.
        retry_after: Duration,
    },
}

impl LoginError {
    /// The metrics' label.
    pub fn outcome(self) -> AccessOutcome {
        match self {
            Self::Wrong => AccessOutcome::WrongLogin,
            Self::TooMany { .. } => AccessOutcome::TooMany,
            Self::Busy { .. } => AccessOutcome::Busy,
        }
    }
}

impl Gate {
    /// The gate of a configuration: without `[access]`, an open one.
    pub fn new(config: &Config) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with(config, Arc::new(Passwords::new(cores)))
    }

    /// The gate of another configuration, where what was right and wrong before still counts.
    #[must_use]
    pub fn reconfigured(&self, config: &Config) -> Self {
        Self::with(config, Arc::clone(&self.0.passwords))
    }

    fn with(config: &Config, passwords: Arc<Passwords>) -> Self {
        let access = config.access.as_ref().map(|access| Access {
            trusted: access.trusted.clone(),
            rules: access.rules.clone(),
            logins: (access.has_logins()).then(|| Logins::new(access, Arc::clone(&passwords))),
        });
        Self(Arc::new(Inner { access, passwords }))
    }

    /// Wrong logins, by where they come from.
    pub fn floods(&self) -> &Floods {
        &self.0.passwords.floods
    }

    /// Whether anybody may be kept out.
    pub fn is_closed(&self) -> bool {
        self.0.access.is_some()
    }

    /// Who asks, if that can be told until then. A login counts only where the mirror has logins of its own: whatever else is
    /// sent is not for it.
    pub async fn identify(
        &self,
        facts: Facts,
        login: Result<Option<Attempt>, Malformed>,
        until: Instant,
    ) -> Result<Client, LoginError> {
        let account = match (self.logins(), login) {
            (None, _) | (Some(_), Ok(None)) => None,
            (Some(logins), Ok(Some(attempt))) => {
                let whose = logins.whose(&attempt, facts.counted_at);
                let whose = tokio::time::timeout_at(until, whose).await;
                Some(whose.map_err(|_| LoginError::Busy { retry_after: SOON })??)
            }
            (Some(_), Err(Malformed)) => return Err(LoginError::Wrong),
        };
        Ok(self.client(facts, account))
    }

    /// Who asks, where that is told without a look at a login: as [`Gate::identify`] would.
    pub fn known(&self, facts: Facts, brings_login: bool) -> Option<Client> {
        let is_plain = !brings_login || self.logins().is_none();
        is_plain.then(|| self.client(facts, None))
    }

    fn client(&self, facts: Facts, account: Option<Account>) -> Client {
        let access = self.0.access.as_ref();
        let trusted = access.map_or(&[][..], |access| &access.trusted);
        Client::new(facts, account, trusted)
    }

    /// The logins of the mirror's own, where it has any.
    fn logins(&self) -> Option<&Logins> {
        self.0.access.as_ref()?.logins.as_ref()
    }

    /// What `client` needs to ask for anything of `repository`.
    pub fn permit(&self, client: &Client, repository: &Repository) -> Result<Permit, Refusal> {
        let Some(access) = &self.0.access else {
            return Ok(Permit::of(repository.clone()));
        };
        if access.allows(client, &repository.registry, &repository.name) {
            Ok(Permit::of(repository.clone()))
        } else {
            Err(access.refusal(client))
        }
    }

    /// What `client` may see of what is cached.
    pub fn visible(&self, client: &Client) -> Result<Visible, Refusal> {
        self.admits(client)?;
        Ok(Visible::to(self.clone(), client.clone()))
    }

    /// Refuses a client that may pull nothing at all. Such a one is not even told which registries there are.
    pub fn admits(&self, client: &Client) -> Result<(), Refusal> {
        match &self.0.access {
            Some(access) if !access.may_pull_some(client) => Err(access.refusal(client)),
            _ => Ok(()),
        }
    }

    /// Refuses a ping for the sake of clients that learn from its answer alone how to log in, but not where that would keep
    /// those out that have no login and need none.
    pub fn admits_ping(&self, client: &Client) -> Result<(), Refusal> {
        match self.admits(client) {
            Err(Refusal::LoginNeeded) => Err(Refusal::LoginNeeded),
            // Podman takes a 403 there for a mirror that is broken, and its user is not told why.
            Err(Refusal::Denied) | Ok(()) => Ok(()),
        }
    }

    /// Counts what became of a request.
    pub fn count(&self, outcome: AccessOutcome) {
        if self.is_closed() {
            metrics::access(outcome);
        }
    }

    /// Why files of passwords and tokens do not count as they are.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.logins().map(Logins::troubles).unwrap_or_default()
    }

    /// Reads files of passwords and tokens again when they change, for as long as there are any. To be a task of its own.
    pub async fn upkeep(self) {
        if let Some(logins) = self.logins() {
            logins.keep_up().await;
        }
    }

    fn shows(&self, client: &Client, registry: &Registry, name: &RepositoryName) -> bool {
        let access = self.0.access.as_ref();
        access.is_none_or(|access| access.allows(client, registry, name))
    }
}

impl Access {
    fn allows(&self, client: &Client, registry: &Registry, name: &RepositoryName) -> bool {
        if self.rules.is_empty() {
            return client.is_known();
        }
        let mut rules = self.rules.iter().filter(|rule| is_for(rule, client));
        let first = rules.find(|rule| rule.is_about(registry, name));
        first.is_some_and(|rule| rule.allow)
    }

    /// Whether there is anything that it may pull, as far as that can be told without going through all names.
    fn may_pull_some(&self, client: &Client) -> bool {
        if self.rules.is_empty() {
            return client.is_known();
        }
        let mut rules = self.rules.iter().filter(|rule| is_for(rule, client));
        let first = rules.find(|rule| rule.allow || rule.is_about_all());
        first.is_some_and(|rule| rule.allow)
    }

    fn refusal(&self, client: &Client) -> Refusal {
        if self.logins.is_some() && !client.has_login() {
            Refusal::LoginNeeded
        } else {
            Refusal::Denied
        }
    }
}

fn is_for(rule: &AccessRule, client: &Client) -> bool {
    let mut patterns = rule.clients.iter();
    patterns.any(|pattern| client.is(pattern, rule.allow))
}

#[cfg(test)]
mod tests;
