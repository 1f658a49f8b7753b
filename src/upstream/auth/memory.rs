//! What an endpoint has taught about how to log in there.

use std::sync::{Arc, PoisonError, RwLock};

use moka::sync::Cache;

use super::Grant;
use crate::oci::RepositoryName;
use crate::upstream::challenge::Challenge;

/// Repositories whose other names are kept.
const MAX_STAND_INS: u64 = 1024;

/// The challenge that an endpoint last made, and the repositories that it knows under another name.
#[derive(Debug)]
pub(crate) struct Memory {
    challenge: RwLock<Option<Arc<Challenge>>>,
    stand_ins: Cache<RepositoryName, RepositoryName>,
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            challenge: RwLock::default(),
            stand_ins: Cache::new(MAX_STAND_INS),
        }
    }
}

impl Memory {
    pub(super) fn get(&self) -> Option<Arc<Challenge>> {
        self.challenge
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set(&self, challenge: Option<Arc<Challenge>>) {
        *self
            .challenge
            .write()
            .unwrap_or_else(PoisonError::into_inner) = challenge;
    }

    /// The name that tokens for a repository are asked for under.
    pub(super) fn stand_in(&self, name: &RepositoryName) -> Option<RepositoryName> {
        self.stand_ins.get(name)
    }

    /// Notes that a request for a repository has succeeded with this.
    pub(crate) fn note(&self, name: &RepositoryName, grant: &Grant) {
        grant.prove();
        if let Some(known_as) = grant.known_as().filter(|known_as| *known_as != name) {
            self.stand_ins.insert(name.clone(), known_as.clone());
        }
    }

    pub(super) fn forget_stand_in(&self, name: &RepositoryName) {
        self.stand_ins.invalidate(name);
    }
}
