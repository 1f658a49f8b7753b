//! What upstreams said a moment ago, or did not say: for seconds it is not asked again.

use std::hash::Hash;
use std::time::{Duration, Instant};

use moka::sync::Cache;

use super::super::error::MirrorError;
use super::super::freshness;
use super::super::rights::Kind;
use super::super::served::StaleReason;
use crate::login::LoginId;
use crate::oci::{Registry, Repository, Tag};

/// Absences, at most.
const ABSENCES: u64 = 10_000;
/// Upstreams in trouble, at most.
const TROUBLES: u64 = 1_000;

/// What a moment ago did not exist upstream, for whom: the login where it is a client's own, repository, kind, and tag or
/// digest.
pub type AbsentKey = (Option<LoginId>, Repository, Kind, String);

/// Answers that stay negative for seconds. Only a true 404 comes here, never trouble.
#[derive(Debug)]
pub struct Absent<K: Hash + Eq + Send + Sync + 'static = AbsentKey>(
    Cache<K, (Instant, MirrorError)>,
);

impl<K: Hash + Eq + Send + Sync + 'static> Default for Absent<K> {
    fn default() -> Self {
        Self(Cache::new(ABSENCES))
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> Absent<K> {
    /// The answer, while it lasts.
    pub fn get(&self, key: &K) -> Option<MirrorError> {
        self.get_at(key, Instant::now())
    }

    /// Remembers `error` for `lifetime`.
    pub fn insert(&self, key: K, error: MirrorError, lifetime: Duration) {
        if let Some(until) = Instant::now().checked_add(lifetime) {
            self.0.insert(key, (until, error));
        }
    }

    fn get_at(&self, key: &K, now: Instant) -> Option<MirrorError> {
        let (until, error) = self.0.get(key)?;
        (now < until).then_some(error)
    }
}

/// Tags of which an upstream said a moment ago what leaves the old answer standing, and why that is stale. It would say the
/// same again, so that it is not asked for a while.
#[derive(Debug)]
pub struct Held(Cache<(Repository, Tag), (Instant, StaleReason)>);

impl Default for Held {
    fn default() -> Self {
        Self(Cache::new(ABSENCES))
    }
}

impl Held {
    /// Why the old answer stands, while it does.
    pub fn get(&self, repository: &Repository, tag: &Tag) -> Option<StaleReason> {
        let (until, reason) = self.0.get(&(repository.clone(), tag.clone()))?;
        (Instant::now() < until).then_some(reason)
    }

    /// The old answer stands for `lifetime`.
    pub fn insert(
        &self,
        repository: &Repository,
        tag: &Tag,
        reason: StaleReason,
        lifetime: Duration,
    ) {
        if let Some(until) = Instant::now().checked_add(lifetime) {
            let key = (repository.clone(), tag.clone());
            self.0.insert(key, (until, reason));
        }
    }

    /// The upstream has said something else.
    pub fn remove(&self, repository: &Repository, tag: &Tag) {
        self.0.invalidate(&(repository.clone(), tag.clone()));
    }
}

/// When upstreams were last seen in trouble.
#[derive(Debug)]
pub struct Troubles(Cache<Registry, Instant>);

impl Default for Troubles {
    fn default() -> Self {
        Self(Cache::new(TROUBLES))
    }
}

impl Troubles {
    /// The upstream did not answer, or not in time.
    pub fn note(&self, registry: &Registry) {
        self.0.insert(registry.clone(), Instant::now());
    }

    /// What came of a question to the upstream.
    pub fn heard(&self, registry: &Registry, error: Option<&MirrorError>) {
        match error {
            Some(MirrorError::Unavailable { .. }) => self.note(registry),
            // Of our own making: they say nothing of the upstream.
            Some(MirrorError::Busy(_) | MirrorError::Internal) => {}
            _ => self.clear(registry),
        }
    }

    /// The upstream has answered.
    fn clear(&self, registry: &Registry) {
        self.0.invalidate(registry);
    }

    /// Whether it is not worth waiting for the upstream at `now`.
    pub fn lasts(&self, registry: &Registry, now: Instant) -> bool {
        let seen = self.0.get(registry);
        seen.is_some_and(|seen| freshness::in_trouble(now, seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_is_forgotten_when_its_time_is_over() {
        let absent = Absent::<u8>::default();
        let lifetime = Duration::from_secs(10);
        let before = Instant::now();
        absent.insert(1, MirrorError::Internal, lifetime);
        let after = Instant::now();
        assert!(absent.get_at(&1, before).is_some());
        assert!(absent.get_at(&1, after + lifetime).is_none());
        assert!(absent.get_at(&2, before).is_none());
    }

    #[test]
    fn trouble_lasts_until_the_upstream_answers_or_its_time_is_over() {
        let troubles = Troubles::default();
        let (docker, quay) = ("docker.io".parse().unwrap(), "quay.io".parse().unwrap());
        troubles.note(&docker);
        let now = Instant::now();
        assert!(troubles.lasts(&docker, now));
        assert!(!troubles.lasts(&quay, now), "each upstream has its own");
        assert!(!troubles.lasts(&docker, now + Duration::from_mins(1)));
        troubles.clear(&docker);
        assert!(!troubles.lasts(&docker, now));
    }
}
