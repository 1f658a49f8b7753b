//! Decisions of the gate, as values that prove them.

use std::sync::Arc;

use super::{Client, Gate};
use crate::login::Login;
use crate::metrics::AccessOutcome;
use crate::oci::{Registry, Repository, RepositoryName};

/// The right to ask the mirror for a repository. It says nothing of whether there is such a repository, or of what its
/// upstream will say.
#[derive(Clone, Debug)]
pub struct Permit {
    repository: Repository,
    login: Option<Arc<Login>>,
}

/// Why a client may not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is proven of the client, and a login might help.
    #[error("a login is needed")]
    LoginNeeded,
    /// Whoever it is may not.
    #[error("this client may not pull it")]
    Denied,
}

/// What of the cached repositories a client may be told of.
#[derive(Clone, Debug)]
pub struct Visible {
    gate: Gate,
    client: Client,
    login: Option<Arc<Login>>,
}

impl Refusal {
    /// The metrics' label.
    pub fn outcome(self) -> AccessOutcome {
        match self {
            Self::LoginNeeded => AccessOutcome::LoginNeeded,
            Self::Denied => AccessOutcome::Denied,
        }
    }
}

impl Permit {
    pub(super) fn of(repository: Repository) -> Self {
        Self {
            repository,
            login: None,
        }
    }

    /// A permit that nobody was asked for.
    #[cfg(test)]
    pub(crate) fn for_tests(repository: &Repository) -> Self {
        Self::of(repository.clone())
    }

    /// The same, from the holder of a login of their own, which opens what its registry says that it does.
    #[must_use]
    pub fn with_login(self, login: Option<Arc<Login>>) -> Self {
        Self { login, ..self }
    }

    /// What may be asked for.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The client's own login there.
    pub fn login(&self) -> Option<&Arc<Login>> {
        self.login.as_ref()
    }
}

impl Visible {
    /// The same, for the holder of a login of their own.
    #[must_use]
    pub fn with_login(self, login: Option<Arc<Login>>) -> Self {
        Self { login, ..self }
    }

    /// The client's own login at some registry.
    pub fn login(&self) -> Option<&Arc<Login>> {
        self.login.as_ref()
    }

    pub(super) fn to(gate: Gate, client: Client) -> Self {
        Self {
            gate,
            client,
            login: None,
        }
    }

    /// Whether `name` in `registry` is among it.
    pub fn shows(&self, registry: &Registry, name: &RepositoryName) -> bool {
        self.gate.shows(&self.client, registry, name)
    }
}
