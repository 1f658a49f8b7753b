//! Tag records: what a tag points at, confirmed upstream one question at a time.
//!
//! A record advances only when what it points at is stored, and for an index also the children of the platforms that
//! were pulled before; until then the old one is served. Confirmations of one tag never overlap (single flight) and
//! each applies its result before it ends, so a late answer cannot overwrite a newer one.

use std::sync::Arc;
use std::time::SystemTime;

use crate::metrics::{self, TagOutcome};
use crate::oci::{Descriptor, Manifest, ManifestKind, Reference, Repository, Tag};
use crate::store::TagRecord;
use crate::upstream::Upstream;

use super::Mirror;
use super::error::MirrorError;
use super::memory::StoredManifest;

/// A record that the upstream has just confirmed.
#[derive(Debug, Clone)]
pub struct Confirmed {
    /// The record as it stands now.
    pub record: TagRecord,
    /// Whether the tag pointed elsewhere before, or was not known.
    pub moved: bool,
}

impl Mirror {
    /// What is known of a tag, from memory or disk.
    pub(super) async fn tag_record(&self, repository: &Repository, tag: &Tag) -> Option<TagRecord> {
        if let Some(record) = self.inner.memory.tag(repository, tag) {
            return Some(record);
        }
        let stored = self.inner.store.tag(repository, tag).await;
        let record = stored.unwrap_or_else(|error| {
            tracing::warn!(%repository, %tag, %error, "a tag record can't be read");
            None
        })?;
        self.inner.memory.keep_tag(repository, tag, record.clone());
        Some(record)
    }

    /// Asks the upstream what a tag points at; joins the question where one is under way.
    pub(super) async fn confirm(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
    ) -> (Result<Confirmed, MirrorError>, bool) {
        let key = (repository.clone(), tag.clone());
        match self
            .inner
            .confirmations
            .run(key, self.confirmation(upstream, repository, tag))
            .await
        {
            Ok((confirmed, joined)) => (confirmed, joined),
            Err(abandoned) => (Err(abandoned.into()), true),
        }
    }

    /// Starts the question without waiting for its answer.
    pub(super) fn refresh(&self, upstream: &Arc<Upstream>, repository: &Repository, tag: &Tag) {
        let key = (repository.clone(), tag.clone());
        let work = self.confirmation(upstream, repository, tag);
        self.inner.confirmations.start(key, work);
    }

    fn confirmation(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
    ) -> impl FnOnce() -> std::pin::Pin<
        Box<dyn Future<Output = Result<Confirmed, MirrorError>> + Send>,
    > + use<> {
        let (mirror, upstream) = (self.clone(), Arc::clone(upstream));
        let (repository, tag) = (repository.clone(), tag.clone());
        move || Box::pin(async move { mirror.ask_and_apply(&upstream, &repository, &tag).await })
    }

    async fn ask_and_apply(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Confirmed, MirrorError> {
        let old = self.tag_record(repository, tag).await;
        let now = match self.current(upstream, repository, tag, old.as_ref()).await {
            Ok(now) => now,
            Err(error) => {
                if let (MirrorError::NotFound { .. }, true) = (&error, old.is_some()) {
                    self.tag_is_gone(repository, tag).await;
                }
                return Err(error);
            }
        };
        let moved = old.is_none_or(|old| old.descriptor.digest != now.digest);
        let outcome = if moved {
            TagOutcome::Moved
        } else {
            TagOutcome::Renewed
        };
        metrics::tag(upstream.label(), outcome);
        let record = TagRecord {
            descriptor: now,
            confirmed_at: SystemTime::now(),
        };
        self.inner.memory.keep_tag(repository, tag, record.clone());
        if let Err(error) = self
            .inner
            .store
            .put_tag(repository, tag, record.clone())
            .await
        {
            tracing::warn!(%repository, %tag, %error, "a tag record could not be written down");
        }
        Ok(Confirmed { record, moved })
    }

    /// What the tag points at now, stored. HEAD where a record exists: it is free where a GET counts as a pull.
    async fn current(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
        old: Option<&TagRecord>,
    ) -> Result<Descriptor, MirrorError> {
        let by_tag = Reference::Tag(tag.clone());
        let Some(old) = old else {
            let manifest = self.fetch_shared(upstream, repository, by_tag).await?;
            return Ok(manifest.descriptor());
        };
        let head = upstream.head_manifest(&repository.name, &by_tag).await;
        let head = head.map_err(|error| MirrorError::from_manifest(&error, repository, &by_tag))?;
        let reference = match head.digest {
            Some(digest) if digest == old.descriptor.digest => return Ok(old.descriptor.clone()),
            Some(digest) => Reference::Digest(digest),
            // An upstream whose HEAD tells no digest has to be asked for the manifest itself.
            None => by_tag,
        };
        let manifest = self.fetch_shared(upstream, repository, reference).await?;
        self.fetch_pulled_platforms(upstream, repository, old, &manifest)
            .await?;
        Ok(manifest.descriptor())
    }

    /// A pull of the tag goes on to a child of its index: fetches those of the platforms pulled through the old one, so
    /// that the tag does not advance to something that can't be pulled when the upstream goes away.
    async fn fetch_pulled_platforms(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        old: &TagRecord,
        new: &StoredManifest,
    ) -> Result<(), MirrorError> {
        let Some(new) = children(new) else {
            return Ok(());
        };
        let old = self.has_manifest(repository, &old.descriptor.digest).await;
        for child in old.as_deref().and_then(children).unwrap_or_default() {
            if self.has_manifest(repository, &child.digest).await.is_none() {
                continue;
            }
            let same = new.iter().find(|new| new.platform == child.platform);
            let Some(same) = same else { continue };
            let fetched = self
                .fetch_shared(upstream, repository, Reference::Digest(same.digest))
                .await;
            match fetched {
                Err(error) if error.allows_stale().is_some() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    async fn tag_is_gone(&self, repository: &Repository, tag: &Tag) {
        self.inner.memory.forget_tag(repository, tag);
        if let Err(error) = self.inner.store.remove_tag(repository, tag).await {
            tracing::warn!(%repository, %tag, %error, "the record of a deleted tag could not be removed");
        }
    }
}

/// The children of an index; `None` for anything else.
fn children(manifest: &StoredManifest) -> Option<Vec<Descriptor>> {
    let parsed = Manifest::parse(&manifest.bytes, Some(&manifest.media_type)).ok()?;
    (parsed.kind == ManifestKind::Index).then_some(parsed.manifests)
}
