//! Token services that have refused for load, and until when they are left alone: clients ask again
//! and again, and a service that is asked on and on turns a refusal into a ban.
//!
//! Owns those times. Pure otherwise: the caller says what time it is.

use std::time::{Duration, Instant};

use moka::sync::Cache;

use super::TokenKey;
use crate::metrics::UpstreamName;
use crate::upstream::credentials::Identity;
use crate::upstream::error::{ErrorKind, UpstreamError};

/// How long a service is left alone that does not say for how long.
const UNSAID: Duration = Duration::from_secs(5);
/// A service is asked again after this, whatever it said, since some say nonsense.
const LONGEST: Duration = Duration::from_mins(5);
/// Services that are left alone at a time.
const MOST: u64 = 1024;

/// Whom a service limits: the one who asks, whatever it is that is asked for.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Asker {
    upstream: UpstreamName,
    identity: Identity,
    realm: String,
}

impl Asker {
    fn of(key: &TokenKey) -> Asker {
        Asker {
            upstream: key.upstream.clone(),
            identity: key.identity.clone(),
            realm: key.realm.clone(),
        }
    }
}

/// The refusals that still count.
#[derive(Debug)]
pub(super) struct Pauses(Cache<Asker, (UpstreamError, Instant)>);

impl Pauses {
    pub(super) fn new() -> Pauses {
        Pauses(Cache::new(MOST))
    }

    /// Notes a failure, if it is such a refusal.
    pub(super) fn note(&self, key: &TokenKey, error: &UpstreamError, now: Instant) {
        if error.kind() == ErrorKind::TooManyRequests {
            let wait = error.retry_after().unwrap_or(UNSAID).min(LONGEST);
            self.0.insert(Asker::of(key), (error.clone(), now + wait));
        }
    }

    /// The refusal that still counts, with what is left to wait.
    pub(super) fn get(&self, key: &TokenKey, now: Instant) -> Option<UpstreamError> {
        let (error, until) = self.0.get(&Asker::of(key))?;
        let left = until.checked_duration_since(now)?;
        (!left.is_zero()).then(|| error.with_retry_after(Some(left)))
    }
}
