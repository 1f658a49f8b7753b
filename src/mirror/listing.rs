//! Lists: the tags of a repository, what refers to a manifest, and what is cached here.
//!
//! The first two are their upstream's. They are remembered as long as a tag is trusted, asked for one
//! question at a time, and served stale as a tag is: while the upstream is in trouble, never after 401, 403
//! or 404. What the mirror's own login may list in a repository, every client of that repository may, as
//! with its tags. Memory holds them, and the store's index, so that a restart costs none of them.
//!
//! - `known`: what is remembered, and where.
//! - `turns`: how many are asked for at once.
//! - [`tags`]: sorted, and paginated here, whatever the upstream does.
//! - [`referrers`]: passed through, never made up.
//! - [`catalog`]: read from the index; asks nobody.

pub mod catalog;
mod known;
pub mod referrers;
pub mod tags;
mod turns;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde::Serialize;

use crate::config::TagPolicy;
use crate::metrics;
use crate::oci::ErrorCode;
use crate::upstream::{Mark, Priority, Upstream};

use super::entry::is_anothers;
use super::error::MirrorError;
use super::freshness::{self, Decision};
use super::manifests::fetched;
use super::served::{CacheStatus, StaleReason};
use super::{Kept, Mirror};
pub(super) use known::Lists;
use known::{Answer, Known, List, Of, Subject};

/// A part of a sorted list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Most entries; all where it is not given.
    pub n: Option<u32>,
    /// The entry to go on after. It need not exist.
    pub last: Option<String>,
}

/// A part of a list, for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// How the cache took part in it.
    pub cache_status: CacheStatus,
    /// For how long a stale list has been stale.
    pub age: Option<Duration>,
    /// The names, as the inside of a JSON array.
    pub names: Bytes,
    /// The `last` of the next page, where there is one.
    pub next: Option<String>,
}

impl Listing {
    /// The inside of the JSON array that `names` are.
    fn inside(names: &[impl Serialize]) -> Result<Bytes, MirrorError> {
        let array = serde_json::to_vec(names).map_err(|_| MirrorError::Internal)?;
        let end = array.len() - 1;
        Ok(Bytes::from(array).slice(1..end))
    }
}

/// A list on its way up.
struct Found {
    known: Arc<Known>,
    status: CacheStatus,
    age: Option<Duration>,
}

impl Mirror {
    /// A list that is fresh, or that the upstream gives in time, or a stale one.
    async fn listed(
        &self,
        upstream: &Arc<Upstream>,
        subject: Subject,
    ) -> Result<Found, MirrorError> {
        let absent = (upstream.login_id(), subject.clone());
        if let Some(error) = self.inner.lists.absent.get(&absent) {
            return Err(error);
        }
        let Some(known) = self.inner.lists.known(&subject).await else {
            return self.ask_for_list(upstream, subject, None).await;
        };
        let policy = known.list.policy(upstream.tag_policy());
        match freshness::decide(SystemTime::now(), known.at, &policy) {
            Decision::Fresh => Ok(Found {
                known,
                status: CacheStatus::Hit,
                age: None,
            }),
            Decision::ServeAndRefresh => {
                self.refresh_list(upstream, subject, &known);
                Ok(known.stale(upstream, StaleReason::Revalidating))
            }
            Decision::ConfirmOrStale => self.listed_or_stale(upstream, subject, known).await,
            Decision::ConfirmOnly => self.ask_for_list(upstream, subject, Some(&known)).await,
        }
    }

    async fn listed_or_stale(
        &self,
        upstream: &Arc<Upstream>,
        subject: Subject,
        known: Arc<Known>,
    ) -> Result<Found, MirrorError> {
        let troubles = &self.inner.troubles;
        if troubles.lasts(upstream.registry(), Instant::now()) {
            self.refresh_list(upstream, subject, &known);
            return Ok(known.stale(upstream, StaleReason::Unavailable));
        }
        let asked = self.ask_for_list(upstream, subject, Some(&known));
        match tokio::time::timeout(upstream.tag_policy().confirm_wait, asked).await {
            // Not noted as trouble, nor called so: a list of many pages takes its time, and so do turns.
            Err(_) | Ok(Err(MirrorError::Busy(_))) => Ok(known.stale(upstream, StaleReason::Slow)),
            Ok(Err(error)) => match error.allows_stale() {
                Some(reason) => Ok(known.stale(upstream, reason)),
                None => Err(error),
            },
            Ok(found) => found,
        }
    }

    /// Asks the upstream for something newer than what was `seen`, or joins who does. The question goes on
    /// when its callers lose interest.
    async fn ask_for_list(
        &self,
        upstream: &Arc<Upstream>,
        subject: Subject,
        seen: Option<&Arc<Known>>,
    ) -> Result<Found, MirrorError> {
        let ask = || {
            let work = || self.list_question(upstream, &subject, seen);
            self.inner.lists.questions.run(subject.clone(), work)
        };
        let (mut answer, mut joined) = ask().await?;
        while is_anothers(upstream, answer.as_ref().err(), joined) {
            (answer, joined) = ask().await?;
        }
        Ok(Found {
            known: answer?,
            status: fetched(joined),
            age: None,
        })
    }

    /// Asks without waiting for the answer, unless too many such questions are under way.
    fn refresh_list(&self, upstream: &Arc<Upstream>, subject: Subject, seen: &Arc<Known>) {
        let Some(place) = self
            .inner
            .refreshes
            .place(upstream.registry(), Priority::Moved)
        else {
            return;
        };
        let work = self.list_question(upstream, &subject, Some(seen));
        let work = async move {
            let _place = place;
            work.await
        };
        self.inner.lists.questions.start(subject, || work);
    }

    fn list_question(
        &self,
        upstream: &Arc<Upstream>,
        subject: &Subject,
        seen: Option<&Arc<Known>>,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let (mirror, upstream, subject) = (self.clone(), Arc::clone(upstream), subject.clone());
        let seen = seen.cloned();
        async move {
            // Who looked before an earlier question ended, and came here after, finds its answer.
            if let Some(known) = mirror.inner.lists.newer(&subject, seen.as_ref()) {
                return Ok(known);
            }
            let _turn = mirror.inner.lists.turns.of(&subject).await?;
            let repository = &subject.repository;
            let list = match &subject.of {
                Of::Tags => {
                    let policy = upstream.tag_policy();
                    let seen = seen.as_deref();
                    let stands = seen.is_some_and(|seen| seen.stands(SystemTime::now(), policy));
                    let mark = seen.and_then(Known::mark);
                    tags::fetch(&upstream, repository, stands, mark).await
                }
                Of::Referrers(digest, artifact_type) => {
                    referrers::fetch(&upstream, repository, digest, artifact_type.as_deref()).await
                }
            };
            mirror.apply_list(&upstream, &subject, list)
        }
    }

    /// Keeps what the upstream said. Questions of one list do not overlap, so it is newer than what is kept.
    fn apply_list(
        &self,
        upstream: &Upstream,
        subject: &Subject,
        list: Result<List, MirrorError>,
    ) -> Answer {
        let Kept {
            lists, troubles, ..
        } = &*self.inner.kept;
        troubles.heard(upstream.registry(), list.as_ref().err());
        let list = list.inspect_err(|error| {
            let login = upstream.login_id();
            // What one login may not see, others may.
            if error.is_refusal() && login.is_none() {
                lists.forget(subject);
            }
            if let MirrorError::NotFound { code, .. } = error {
                if *code == ErrorCode::NameUnknown {
                    upstream.disentitle(&subject.repository.name);
                }
                let lifetime = upstream.tag_policy().negative_for;
                let absent = (login, subject.clone());
                lists.absent.insert(absent, error.clone(), lifetime);
            }
        })?;
        Ok(lists.learn(subject, list, &upstream.tag_policy()))
    }
}

impl Known {
    /// Whether this is a whole list that may be served while the upstream is in trouble.
    fn stands(&self, now: SystemTime, policy: TagPolicy) -> bool {
        let policy = self.list.policy(policy);
        matches!(self.list, List::Tags(_))
            && freshness::decide(now, self.at, &policy) != Decision::ConfirmOnly
    }

    fn mark(&self) -> Option<&Mark> {
        match &self.list {
            List::TooLong(mark) => mark.as_ref(),
            _ => None,
        }
    }

    fn stale(self: Arc<Self>, upstream: &Upstream, reason: StaleReason) -> Found {
        metrics::stale_served(upstream.label(), reason);
        Found {
            age: Some(freshness::stale_age(SystemTime::now(), self.at)),
            known: self,
            status: CacheStatus::Stale(reason),
        }
    }
}
