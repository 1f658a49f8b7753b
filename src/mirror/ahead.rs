//! Hot tags: asked for ahead of their time, so that no pull of one waits for its upstream.
//!
//! Each waits for its time in a task of its own. Owns nothing but the bound on them; who is hot, memory counts for as long
//! as a record stands, and when it is time, [`freshness::ahead`] says.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::config::TagPolicy;
use crate::oci::{Repository, Tag};
use crate::store::TagRecord;
use crate::upstream::{Priority, Upstream};

use super::Mirror;
use super::freshness;
use super::memory::KnownTag;

/// Hot tags that wait for their time, at most. Others are asked for when they are due, as every tag is.
pub(super) const WAITING: usize = 4_096;

impl Mirror {
    /// A fresh tag was asked for: sees to it that it stays so, if it is hot.
    pub(super) fn stay_ahead(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
        record: &TagRecord,
        policy: &TagPolicy,
    ) {
        if policy.immutable || policy.fresh_for.is_zero() {
            return;
        }
        let inner = &self.inner;
        let Some(asks) = inner.memory.asked(repository, tag) else {
            return;
        };
        let (now, jitter) = (SystemTime::now(), rand::random());
        let confirmed_at = record.confirmed_at;
        let wait = freshness::ahead(now, confirmed_at, policy, asks.so_far(), jitter);
        let Some(wait) = wait else { return };
        let Ok(place) = Arc::clone(&inner.hot).try_acquire_owned() else {
            return;
        };
        if !asks.plan() {
            return;
        }
        let (mirror, upstream) = (self.clone(), Arc::clone(upstream));
        let (repository, tag) = (repository.clone(), tag.clone());
        // Detached; a stop ends it.
        inner.tasks.spawn(async move {
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
        let known = self.inner.memory.tag(repository, tag);
        let is_as_it_was = matches!(
            known,
            Some(KnownTag::Record(record)) if record.confirmed_at == confirmed_at && !record.refused
        );
        let troubles = &self.inner.troubles;
        if is_as_it_was && !troubles.lasts(upstream.registry(), Instant::now()) {
            self.refresh(upstream, repository, tag, Priority::Refresh);
        }
    }
}
