//! What an endpoint has taught about how to log in there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::Grant;
use crate::oci::RepositoryName;
use crate::sync::lock;
use crate::upstream::challenge::Challenge;

/// Repositories whose other names are kept.
const MAX_STAND_INS: usize = 1024;

/// The challenge that an endpoint last made, and the repositories that it knows under another name.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    challenge: RwLock<Option<Arc<Challenge>>>,
    /// Few registries have any, and there is a memory for each client's login.
    stand_ins: Mutex<HashMap<RepositoryName, RepositoryName>>,
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
        lock(&self.stand_ins).get(name).cloned()
    }

    /// Notes that a request for a repository has succeeded with this.
    pub(crate) fn note(&self, name: &RepositoryName, grant: &Grant) {
        grant.prove();
        if let Some(known_as) = grant.known_as().filter(|known_as| *known_as != name) {
            let mut stand_ins = lock(&self.stand_ins);
            if stand_ins.len() >= MAX_STAND_INS {
                // They are learned again.
                stand_ins.clear();
            }
            stand_ins.insert(name.clone(), known_as.clone());
        }
    }

    pub(super) fn forget_stand_in(&self, name: &RepositoryName) {
        lock(&self.stand_ins).remove(name);
    }
}
