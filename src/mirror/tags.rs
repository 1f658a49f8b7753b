//! The tag flow: a record that is fresh, one that the upstream confirms in time, or a stale one.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::config::TagPolicy;
use crate::metrics::{self, TagOutcome};
use crate::oci::{Repository, Tag};
use crate::store::TagRecord;
use crate::upstream::{Caller, Priority, Upstream};

use super::Mirror;
use super::ahead::Hot;
use super::confirm::Confirmed;
use super::error::MirrorError;
use super::freshness::{self, Decision};
use super::manifests::fetched;
use super::memory::{StoredManifest, Told};
use super::rights::audience;
use super::served::{CacheStatus, Served, StaleReason};

/// An answer to a request for a tag, and how it was decided on.
pub(super) type Decided = Result<(TagOutcome, Served), MirrorError>;

/// What can be served without asking anyone.
struct Stale {
    manifest: Arc<StoredManifest>,
    confirmed_at: SystemTime,
    /// Whether it may be served although the tag is gone.
    outlives_deletion: bool,
}

impl Mirror {
    /// What is known of a tag, from memory or disk, as far as that counts for those who see `upstream` as it is.
    pub(super) async fn known_tag(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        tag: &Tag,
    ) -> Option<Arc<Told>> {
        let told = self.remembered_tag(repository, tag).await?;
        told.counts(audience(upstream)).then_some(told)
    }

    async fn remembered_tag(&self, repository: &Repository, tag: &Tag) -> Option<Arc<Told>> {
        if let Some(known) = self.inner.memory.tag(repository, tag) {
            return Some(known);
        }
        let stored = self.inner.store.tag(repository, tag).await;
        let record = stored.unwrap_or_else(|error| {
            tracing::warn!(%repository, %tag, %error, "a tag record can't be read");
            None
        })?;
        Some(self.inner.memory.load_tag(repository, tag, record))
    }

    pub(super) async fn manifest_by_tag(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
        caller: &Caller,
    ) -> Decided {
        let policy = upstream.policy_of(tag);
        let told = self.known_tag(upstream, repository, tag).await;
        let known = told
            .as_ref()
            .and_then(|told| Some((told, told.known.record()?)));
        let Some((told, record)) = known else {
            return self.serve_unknown(upstream, repository, tag, caller).await;
        };
        let now = SystemTime::now();
        let decision = freshness::decide_on(now, record, &policy);
        if decision == Decision::Fresh {
            let hot = Hot::of(upstream, repository, tag, told, record);
            self.asked_while_fresh(&hot, &policy, now);
            let digest = &record.descriptor.digest;
            let found = self.manifest_by_digest(upstream, repository, digest, caller);
            return match found.await {
                Ok((manifest, status)) => {
                    Ok((TagOutcome::Fresh, Self::serve(&manifest, status, None)))
                }
                // It was evicted here and has gone there, so that the tag points elsewhere by now, or nowhere.
                Err(MirrorError::NotFound { .. }) => {
                    self.serve_unknown(upstream, repository, tag, caller).await
                }
                Err(error) => Err(error),
            };
        }
        let stale = match decision {
            Decision::ConfirmOnly => None,
            _ => self.stale(upstream, repository, record, &policy).await,
        };
        match stale {
            None => {
                let (confirmed, _) = self.confirm(upstream, repository, tag, caller).await;
                self.serve_confirmed(upstream, repository, confirmed?, None, caller)
                    .await
            }
            Some(stale) if let Some(reason) = self.inner.held.get(repository, tag) => {
                Ok(Self::serve_stale(&stale, upstream, reason))
            }
            Some(stale) if decision == Decision::ServeAndRefresh => {
                self.refresh(upstream, repository, tag, Priority::Moved);
                Ok(Self::serve_stale(
                    &stale,
                    upstream,
                    StaleReason::Revalidating,
                ))
            }
            Some(stale) => {
                self.serve_confirmed_or_stale(upstream, repository, tag, stale, caller)
                    .await
            }
        }
    }

    /// What a record points at, where it can be served as things stand: a stale answer must not wait for the upstream
    /// whose answer it replaces.
    async fn stale(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        record: &TagRecord,
        policy: &TagPolicy,
    ) -> Option<Stale> {
        let digest = &record.descriptor.digest;
        Some(Stale {
            manifest: self.readable(upstream, repository, digest).await?,
            confirmed_at: record.confirmed_at,
            // To a login, what it may not see any more may look deleted.
            outlives_deletion: upstream.login().is_none()
                && freshness::outlives_deletion(SystemTime::now(), record, policy),
        })
    }

    async fn serve_unknown(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
        caller: &Caller,
    ) -> Decided {
        let (confirmed, joined) = self.confirm(upstream, repository, tag, caller).await;
        let confirmed = confirmed?;
        let (outcome, mut served) = self
            .serve_confirmed(upstream, repository, confirmed, None, caller)
            .await?;
        served.cache_status = fetched(joined);
        Ok((outcome, served))
    }

    /// Waits for the upstream as long as a client has patience for what is cached; where it was in trouble a moment ago,
    /// not at all.
    async fn serve_confirmed_or_stale(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
        stale: Stale,
        caller: &Caller,
    ) -> Decided {
        let troubles = &self.inner.troubles;
        if troubles.lasts(upstream.registry(), Instant::now()) {
            self.refresh(upstream, repository, tag, Priority::Moved);
            return Ok(Self::serve_stale(
                &stale,
                upstream,
                StaleReason::Unavailable,
            ));
        }
        // What it points at now is not worth waiting for a quota, nor the last of one.
        let moved = Caller::impatient(Priority::Moved);
        let confirmed = self.confirm(upstream, repository, tag, &moved);
        match tokio::time::timeout(upstream.tag_policy().confirm_wait, confirmed).await {
            Err(_) => {
                troubles.note(upstream.registry());
                Ok(Self::serve_stale(
                    &stale,
                    upstream,
                    StaleReason::Unavailable,
                ))
            }
            Ok((Ok(confirmed), _)) => {
                self.serve_confirmed(upstream, repository, confirmed, Some(&stale), caller)
                    .await
            }
            Ok((Err(error), _)) => match error.allows_stale() {
                Some(reason) => Ok(Self::serve_stale(&stale, upstream, reason)),
                None if stale.outlives_deletion
                    && matches!(error, MirrorError::NotFound { .. }) =>
                {
                    Ok(Self::serve_stale(&stale, upstream, StaleReason::Deleted))
                }
                None => Err(error),
            },
        }
    }

    async fn serve_confirmed(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        confirmed: Confirmed,
        held: Option<&Stale>,
        caller: &Caller,
    ) -> Decided {
        let digest = &confirmed.descriptor.digest;
        let held = held.filter(|held| held.manifest.digest == *digest);
        let manifest = match (confirmed.manifest, held) {
            (Some(manifest), _) => manifest,
            (None, Some(held)) => Arc::clone(&held.manifest),
            (None, None) => {
                let found = self
                    .manifest_by_digest(upstream, repository, digest, caller)
                    .await;
                found?.0
            }
        };
        let (outcome, status) = if confirmed.moved {
            (TagOutcome::Moved, CacheStatus::Miss)
        } else {
            (TagOutcome::Renewed, CacheStatus::Revalidated)
        };
        Ok((outcome, Self::serve(&manifest, status, None)))
    }

    fn serve_stale(
        stale: &Stale,
        upstream: &Upstream,
        reason: StaleReason,
    ) -> (TagOutcome, Served) {
        metrics::stale_served(upstream.label(), reason);
        let age = freshness::stale_age(SystemTime::now(), stale.confirmed_at);
        let served = Self::serve(&stale.manifest, CacheStatus::Stale(reason), Some(age));
        (TagOutcome::Stale, served)
    }
}

/// What a request for a tag counts as.
pub(super) fn outcome(decided: &Decided) -> TagOutcome {
    match decided {
        Ok((outcome, _)) => *outcome,
        Err(MirrorError::NotFound { .. }) => TagOutcome::Missing,
        Err(_) => TagOutcome::Failed,
    }
}
