//! Hot tags: asked for ahead of their time, so that no pull of one waits for its upstream.
//!
//! Each waits for its time in a task of its own. Owns nothing but the bound on them; who is hot, memory counts for as long
//! as a record stands, and when it is time, [`freshness::ahead`] says.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::config::TagPolicy;
use crate::oci::{Repository, Tag};
use crate::upstream::{Priority, Upstream};

use super::Mirror;
use super::freshness;
use super::memory::{Asks, KnownTag, Told};

/// Hot tags that wait for their time, at most. Others are asked for when they are due, as every tag is.
pub(super) const WAITING: usize = 4_096;

/// A tag that is hot, as it was last confirmed.
pub(super) struct Hot<'a> {
    pub(super) upstream: &'a Arc<Upstream>,
    pub(super) repository: &'a Repository,
    pub(super) tag: &'a Tag,
    pub(super) confirmed_at: SystemTime,
}

impl Mirror {
    /// A hot tag was asked for while it is fresh: sees to it that it stays so.
    pub(super) fn stay_ahead(
        &self,
        hot: &Hot<'_>,
        asks: &Asks,
        policy: &TagPolicy,
        now: SystemTime,
    ) {
        let wait = freshness::ahead(now, hot.confirmed_at, policy, rand::random());
        let Some(wait) = wait else { return };
        let Ok(place) = Arc::clone(&self.inner.hot).try_acquire_owned() else {
            return;
        };
        if !asks.plan() {
            return;
        }
        let (mirror, upstream) = (self.clone(), Arc::clone(hot.upstream));
        let (repository, tag) = (hot.repository.clone(), hot.tag.clone());
        let confirmed_at = hot.confirmed_at;
        // Detached; a stop ends it.
        self.inner.tasks.spawn(async move {
            let tasks = &mirror.inner.tasks;
            let slept = tasks.unless_stopped(tokio::time::sleep(wait)).await;
            drop(place);
            if slept.is_some() {
                mirror.ask_ahead(&upstream, &repository, &tag, confirmed_at);
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
        let Some(Told { known, asks }) = told else {
            return;
        };
        let is_as_it_was = matches!(
            known,
            KnownTag::Record(record) if record.confirmed_at == confirmed_at && !record.refused
        );
        let troubles = &self.inner.troubles;
        if is_as_it_was
            && !troubles.lasts(upstream.registry(), Instant::now())
            && !self.refresh(upstream, repository, tag, Priority::Refresh)
        {
            asks.plan_again();
        }
    }
}
