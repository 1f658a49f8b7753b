//! Confirmations: what a tag points at now, asked upstream one question at a time.
//!
//! A record advances only when what it points at is here, and for an index also the children of the platforms that were
//! pulled before; until then the old one stands. Confirmations of one tag never overlap (single flight) and each applies
//! its result before it ends, so a late answer cannot overwrite a newer one. Only those from before a reload that changes
//! whose login counts go on beside the new ones: their answer is not everyone's. Only the tag's own 404 removes its record.

use std::sync::Arc;
use std::time::SystemTime;

use crate::oci::{Descriptor, Digest, Manifest, ManifestKind, Reference, Repository, Tag};
use crate::store::TagRecord;
use crate::upstream::{Caller, Priority, Upstream};

use super::Mirror;
use super::entry::is_anothers;
use super::error::MirrorError;
use super::freshness::{self, Budget};
use super::memory::{KnownTag, StoredManifest};
use super::rights::audience;
use super::served::StaleReason;

/// A record that the upstream has just confirmed.
#[derive(Debug, Clone)]
pub struct Confirmed {
    /// What the tag points at.
    pub descriptor: Descriptor,
    /// Its manifest, where it had to be looked at.
    pub manifest: Option<Arc<StoredManifest>>,
    /// Whether the tag pointed elsewhere before, or was not known.
    pub moved: bool,
}

/// A confirmation's result, for all who wait for it.
pub type Answer = Result<Confirmed, MirrorError>;

/// What the upstream says that a tag points at.
struct Current {
    descriptor: Descriptor,
    manifest: Option<Arc<StoredManifest>>,
    /// When it said so.
    at: SystemTime,
    /// What the record may not come before.
    fetched: Vec<Digest>,
}

impl Current {
    fn new(manifest: Arc<StoredManifest>, at: SystemTime) -> Self {
        Self {
            descriptor: manifest.descriptor(),
            fetched: vec![manifest.digest],
            manifest: Some(manifest),
            at,
        }
    }
}

impl Mirror {
    /// Asks the upstream what a tag points at; joins the question where one is under way, as `true` says. It goes on
    /// when its callers lose interest, unless it only waits for a quota.
    pub(super) async fn confirm(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
        caller: &Caller,
    ) -> (Answer, bool) {
        let ask = || {
            let key = (audience(upstream), repository.clone(), tag.clone());
            let work = |hold| {
                let caller = caller.clone().held_by(hold);
                self.confirmation(upstream, repository, tag, caller)
            };
            self.inner.confirmations.run_while_wanted(key, work)
        };
        let mut answer = ask().await;
        // Another's question had to leave to others what is left of the quota; a client with nothing to be served is one.
        if matches!(answer, Ok((Err(MirrorError::TooManyRequests { .. }), true)))
            && caller.priority() == Priority::Client
        {
            answer = ask().await;
        }
        while let Ok((told, joined)) = &answer
            && is_anothers(upstream, told.as_ref().err(), *joined)
        {
            answer = ask().await;
        }
        answer.unwrap_or_else(|abandoned| (Err(abandoned.into()), true))
    }

    /// Starts the question without waiting for its answer. Only so many go on at once, since an upstream in trouble takes
    /// long to answer; beyond them it says `false`, and the next request tries again.
    pub(super) fn refresh(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
        priority: Priority,
    ) -> bool {
        let Some(place) = self.inner.refreshes.place(upstream.registry(), priority) else {
            return false;
        };
        let key = (audience(upstream), repository.clone(), tag.clone());
        let caller = Caller::impatient(priority);
        let work = self.confirmation(upstream, repository, tag, caller);
        let work = async move {
            let _place = place;
            work.await
        };
        self.inner.confirmations.start(key, || work);
        true
    }

    fn confirmation(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
        caller: Caller,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let (mirror, upstream) = (self.clone(), Arc::clone(upstream));
        let (repository, tag) = (repository.clone(), tag.clone());
        async move {
            mirror
                .ask_and_apply(&upstream, &repository, &tag, &caller)
                .await
        }
    }

    async fn ask_and_apply(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
        caller: &Caller,
    ) -> Answer {
        let known = self.known_tag(upstream, repository, tag).await;
        let old = known.and_then(|told| told.known.record().cloned());
        let current = self
            .current(upstream, repository, tag, old.as_ref(), caller)
            .await;
        let troubles = &self.inner.troubles;
        troubles.heard(upstream.registry(), current.as_ref().err());
        match (current, old) {
            (Ok(current), old) => {
                Ok(self.advance(upstream, repository, tag, current, old.as_ref()))
            }
            (Err(error), Some(old)) => {
                self.hold_back(upstream, repository, tag, old, &error, caller.priority());
                Err(error)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// What the tag points at now, fetched. HEAD where a record exists: it is free where a GET counts as a pull.
    async fn current(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
        old: Option<&TagRecord>,
        caller: &Caller,
    ) -> Result<Current, MirrorError> {
        let by_tag = Reference::Tag(tag.clone());
        let Some(old) = old else {
            let manifest = self.fetch(upstream, repository, &by_tag, caller).await?;
            return Ok(Current::new(manifest, SystemTime::now()));
        };
        let head = upstream.head_manifest(&repository.name, &by_tag).await;
        let at = SystemTime::now();
        let head = head.map_err(|error| MirrorError::from_manifest(&error, repository, &by_tag))?;
        let by_digest = match head.digest {
            Some(digest) if digest == old.descriptor.digest => {
                return Ok(Current {
                    descriptor: old.descriptor.clone(),
                    manifest: None,
                    at,
                    fetched: Vec::new(),
                });
            }
            digest
                if self
                    .puts_off(upstream, repository, tag, old, digest.as_ref(), caller)
                    .await =>
            {
                return Err(MirrorError::put_off(repository, tag));
            }
            Some(digest) => {
                self.pointed_at(upstream, repository, &digest, caller)
                    .await?
            }
            // An upstream whose HEAD tells no digest has to be asked for the manifest itself.
            None => None,
        };
        let mut current = if let Some(manifest) = by_digest {
            Current::new(manifest, at)
        } else {
            let manifest = self.fetch(upstream, repository, &by_tag, caller).await?;
            Current::new(manifest, SystemTime::now())
        };
        self.fetch_pulled_platforms(upstream, repository, old, &mut current, caller)
            .await?;
        Ok(current)
    }

    /// Whether to follow a move has to wait, since little is left of the upstream's quota: not for a client that has
    /// nothing else to be served, nor to what is here and costs nothing.
    async fn puts_off(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        tag: &Tag,
        old: &TagRecord,
        digest: Option<&Digest>,
        caller: &Caller,
    ) -> bool {
        let standing = upstream.quota(&repository.name);
        let budget = standing.and_then(|standing| {
            Some(Budget {
                left: standing.left?,
                limit: standing.limit?,
                window: standing.window,
            })
        });
        let policy = upstream.policy_of(tag);
        if caller.priority() == Priority::Client
            || freshness::follows(SystemTime::now(), old.confirmed_at, &policy, budget)
        {
            return false;
        }
        match digest {
            Some(digest) => self.readable(upstream, repository, digest).await.is_none(),
            None => true,
        }
    }

    /// What the upstream says that the tag points at. That it is not there does not say that the tag is gone: it may have
    /// moved once more, and only the tag itself can tell.
    async fn pointed_at(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Option<Arc<StoredManifest>>, MirrorError> {
        let found = self.manifest_by_digest(upstream, repository, digest, caller);
        match found.await {
            Ok((manifest, _)) => Ok(Some(manifest)),
            Err(MirrorError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A pull of the tag goes on to a child of its index: fetches those of the platforms pulled through the old one, so
    /// that the tag does not advance to something that can't be pulled when the upstream goes away.
    async fn fetch_pulled_platforms(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        old: &TagRecord,
        current: &mut Current,
        caller: &Caller,
    ) -> Result<(), MirrorError> {
        let Some(new) = current.manifest.as_deref().and_then(children) else {
            return Ok(());
        };
        let old = self
            .readable(upstream, repository, &old.descriptor.digest)
            .await;
        for child in old.as_deref().and_then(children).unwrap_or_default() {
            if !self.has_manifest(&child.digest).await {
                continue;
            }
            let same = new.iter().find(|new| new.platform == child.platform);
            let Some(same) = same else { continue };
            let fetched = self.manifest_by_digest(upstream, repository, &same.digest, caller);
            match fetched.await {
                Ok(_) => current.fetched.push(same.digest),
                Err(error) if error.allows_stale().is_some() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn advance(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        tag: &Tag,
        current: Current,
        old: Option<&TagRecord>,
    ) -> Confirmed {
        let moved = old.is_none_or(|old| old.descriptor.digest != current.descriptor.digest);
        let record = TagRecord {
            descriptor: current.descriptor.clone(),
            confirmed_at: current.at,
            refused: false,
            audience: audience(upstream),
        };
        let inner = &self.inner;
        inner.held.remove(repository, tag);
        inner
            .memory
            .learn_tag(repository, tag, KnownTag::Record(record.clone()));
        inner
            .keeping
            .keep_tag(repository, tag, Some(record), current.fetched);
        Confirmed {
            descriptor: current.descriptor,
            manifest: current.manifest,
            moved,
        }
    }

    /// After a refusal the record is not served any more, whoever asks for it next.
    fn hold_back(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        tag: &Tag,
        mut old: TagRecord,
        error: &MirrorError,
        priority: Priority,
    ) {
        let inner = &self.inner;
        let policy = upstream.policy_of(tag);
        if upstream.login().is_some() {
            // It is about that login, which is refused all the same from now on; the record is others' too.
            if matches!(error, MirrorError::NotFound { .. }) {
                upstream.disentitle(&repository.name);
            }
            return;
        }
        match error {
            MirrorError::NotFound { .. }
                if freshness::outlives_deletion(SystemTime::now(), &old, &policy) =>
            {
                let lifetime = policy.negative_for;
                inner
                    .held
                    .insert(repository, tag, StaleReason::Deleted, lifetime);
            }
            // One ahead of its time has only gone without; when the tag is due it is asked for in earnest.
            MirrorError::TooManyRequests { .. } if priority == Priority::Moved => {
                let lifetime = freshness::held_for(&policy);
                inner
                    .held
                    .insert(repository, tag, StaleReason::Quota, lifetime);
            }
            MirrorError::NotFound { .. } => {
                inner.memory.learn_tag(repository, tag, KnownTag::Gone);
                inner.keeping.keep_tag(repository, tag, None, Vec::new());
            }
            MirrorError::Denied { .. } => {
                old.refused = true;
                let refused = KnownTag::Record(old.clone());
                inner.memory.learn_tag(repository, tag, refused);
                inner
                    .keeping
                    .keep_tag(repository, tag, Some(old), Vec::new());
            }
            _ => {}
        }
    }
}

/// The children of an index; `None` for anything else.
fn children(manifest: &StoredManifest) -> Option<Vec<Descriptor>> {
    let parsed = Manifest::parse(&manifest.bytes, Some(&manifest.media_type)).ok()?;
    (parsed.kind == ManifestKind::Index).then_some(parsed.manifests)
}
