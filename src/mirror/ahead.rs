//! Hot tags: asked for ahead of their time, so that no pull of one waits for its upstream.
//!
//! Each waits for its time in a task of its own, and no longer than the configuration counts by which it was planned. Owns
//! nothing but the bound on them; who is hot, memory counts for as long as a record stands, and when it is time,
//! [`freshness::ahead`] says.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::config::TagPolicy;
use crate::oci::{Repository, Tag};
use crate::store::TagRecord;
use crate::upstream::{Priority, Upstream};

use super::freshness;
use super::memory::{KnownTag, Told};
use super::{Inner, Mirror};

/// Hot tags that wait for their time, at most. Others are asked for when they are due, as every tag is.
pub(super) const WAITING: usize = 4_096;

/// A tag that is hot, as it was last confirmed.
pub(super) struct Hot<'a> {
    upstream: &'a Arc<Upstream>,
    repository: &'a Repository,
    tag: &'a Tag,
    told: &'a Arc<Told>,
    confirmed_at: SystemTime,
}

impl<'a> Hot<'a> {
    /// The tag of this record, which is what is known of it.
    pub(super) fn of(
        upstream: &'a Arc<Upstream>,
        repository: &'a Repository,
        tag: &'a Tag,
        told: &'a Arc<Told>,
        record: &TagRecord,
    ) -> Self {
        Self {
            upstream,
            repository,
            tag,
            told,
            confirmed_at: record.confirmed_at,
        }
    }
}

impl Mirror {
    /// A tag was asked for while it is fresh: where it is hot, sees to it that it stays so.
    pub(super) fn asked_while_fresh(&self, hot: &Hot<'_>, policy: &TagPolicy, now: SystemTime) {
        // No login outlives the requests of its client.
        let may_stay_ahead = !policy.immutable && hot.upstream.login().is_none();
        if may_stay_ahead && freshness::is_hot(hot.told.asks.one_more()) {
            self.stay_ahead(hot, policy, now);
        }
    }

    fn stay_ahead(&self, hot: &Hot<'_>, policy: &TagPolicy, now: SystemTime) {
        let ahead = |jitter| freshness::ahead(now, hot.confirmed_at, policy, jitter);
        // Too far off even at the earliest, as nearly always: that takes no random number.
        if ahead(0.0).is_none() {
            return;
        }
        let Some(wait) = ahead(rand::random()) else {
            return;
        };
        let Ok(place) = Arc::clone(&self.inner.hot).try_acquire_owned() else {
            return;
        };
        if !hot.told.asks.plan() {
            return;
        }
        let (mirror, upstream) = (self.clone(), Arc::clone(hot.upstream));
        let told = Arc::clone(hot.told);
        let (repository, tag) = (hot.repository.clone(), hot.tag.clone());
        let confirmed_at = hot.confirmed_at;
        // Detached; a stop ends it, and so does a reload.
        self.inner.tasks.spawn(async move {
            let Inner { kept, replaced, .. } = &*mirror.inner;
            let sleep = replaced.run_until_cancelled(tokio::time::sleep(wait));
            let slept = kept.tasks.unless_stopped(sleep).await;
            drop(place);
            match slept {
                Some(Some(())) => mirror.ask_ahead(&upstream, &repository, &tag, confirmed_at),
                // Whoever asks for it next has it planned by the configuration that counts by then.
                Some(None) => told.asks.plan_again(),
                None => {}
            }
        });
    }

    /// Asks, unless the tag was confirmed meanwhile or its upstream is in trouble.
    fn ask_ahead(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
        confirmed_at: SystemTime,
    ) {
        let told = self.inner.memory.tag(repository, tag);
        let Some(told) = told else { return };
        let is_as_it_was = matches!(
            &told.known,
            KnownTag::Record(record) if record.confirmed_at == confirmed_at && !record.refused
        );
        let troubles = &self.inner.troubles;
        if is_as_it_was
            && !troubles.lasts(upstream.registry(), Instant::now())
            && !self.refresh(upstream, repository, tag, Priority::Refresh)
        {
            told.asks.plan_again();
        }
    }
}
