//! Token services that have refused for load, and until when they are left alone: clients ask again and again, and a service
//! that is asked on and on turns a refusal into a ban. A refusal of any login that a client has brought counts for all of them
//! that have not been proven: whoever makes up logins would else always have one more to ask with.
//!
//! Owns those times. Pure otherwise: the caller says what time it is.

use std::time::{Duration, Instant};

use moka::sync::Cache;

use super::{Flight, TokenKey, Whose};
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
    /// None stands for all clients whose logins have not been proven.
    identity: Option<Identity>,
    realm: String,
}

impl Asker {
    fn of(key: &TokenKey) -> Asker {
        Asker {
            upstream: key.upstream.clone(),
            identity: Some(key.identity.clone()),
            realm: key.realm.clone(),
        }
    }

    fn unproven(key: &TokenKey) -> Asker {
        Asker {
            identity: None,
            ..Asker::of(key)
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
    pub(super) fn note(&self, flight: &Flight, error: &UpstreamError, now: Instant) {
        let key = &flight.key;
        if error.kind() == ErrorKind::TooManyRequests {
            let wait = error.retry_after().unwrap_or(UNSAID).min(LONGEST);
            let refusal = (error.clone(), now + wait);
            if flight.whose != Whose::Own {
                self.0.insert(Asker::unproven(key), refusal.clone());
            }
            self.0.insert(Asker::of(key), refusal);
        }
    }

    /// The refusal that still counts, with what is left to wait.
    pub(super) fn get(&self, flight: &Flight, now: Instant) -> Option<UpstreamError> {
        let key = &flight.key;
        let left = |asker: Asker| {
            let (error, until) = self.0.get(&asker)?;
            let left = until.checked_duration_since(now)?;
            (!left.is_zero()).then(|| error.with_retry_after(Some(left)))
        };
        let of_all = || (flight.whose == Whose::Unproven).then(|| left(Asker::unproven(key)));
        left(Asker::of(key)).or_else(|| of_all().flatten())
    }
}
