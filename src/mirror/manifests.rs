//! The manifest flow: by digest from the cache or upstream, by tag through its record.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::metrics::{self, TagOutcome};
use crate::oci::{Algorithm, Digest, Manifest, Reference, Repository, Tag, Verified};
use crate::store::TagRecord;
use crate::upstream::{FetchedManifest, Upstream};

use super::Mirror;
use super::error::MirrorError;
use super::freshness::{self, Decision};
use super::memory::StoredManifest;
use super::rights::Kind;
use super::served::{Body, CacheStatus, Served, StaleReason};

/// A manifest on its way up.
type Found = (Arc<StoredManifest>, CacheStatus);

impl Mirror {
    /// A manifest by tag or digest.
    pub async fn manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Served, MirrorError> {
        let upstream = self.upstream(repository)?;
        let absent = (repository.clone(), Kind::Manifest, reference.to_string());
        if let Some(error) = self.inner.absent.get(&absent) {
            return Err(error);
        }
        let served = match reference {
            Reference::Digest(digest) => {
                let found = self.manifest_by_digest(&upstream, repository, digest).await;
                found.map(|(manifest, status)| served(&manifest, status, None))
            }
            Reference::Tag(tag) => self.manifest_by_tag(&upstream, repository, tag).await,
        };
        if let Err(error @ MirrorError::NotFound { .. }) = &served {
            let lifetime = upstream.tag_policy().negative_for;
            self.inner.absent.insert(absent, error.clone(), lifetime);
        }
        served
    }

    /// A digest never changes, so what is cached is served without asking, once the right to it is known.
    async fn manifest_by_digest(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Found, MirrorError> {
        let granted = self.inner.rights.known(repository, digest).await;
        if let Some(manifest) = self.cached_manifest(repository, digest).await {
            if granted.is_none() {
                let rights = &self.inner.rights;
                rights
                    .prove(upstream, &repository.name, Kind::Manifest, digest)
                    .await?;
            }
            return Ok((manifest, CacheStatus::Hit));
        }
        self.fetch_by_digest(upstream, repository, digest).await
    }

    /// From memory or disk. Its caller makes sure of the right.
    async fn cached_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Option<Arc<StoredManifest>> {
        if let Some(manifest) = self.inner.memory.manifest(digest) {
            return Some(manifest);
        }
        let stored = self.inner.store.manifest(digest).await;
        let stored = stored.unwrap_or_else(|error| {
            tracing::warn!(%digest, %error, "a cached manifest can't be read");
            None
        });
        let (media_type, bytes) = stored?;
        let parsed = Manifest::parse(&bytes, Some(&media_type)).ok()?;
        let manifest = Arc::new(StoredManifest {
            digest: *digest,
            media_type,
            bytes,
        });
        self.inner
            .memory
            .keep_manifest(repository, &manifest, &parsed);
        Some(manifest)
    }

    async fn fetch_by_digest(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Found, MirrorError> {
        let key = (repository.clone(), Reference::Digest(*digest));
        let (mirror, upstream, repository) =
            (self.clone(), Arc::clone(upstream), repository.clone());
        let reference = key.1.clone();
        let work = move || async move { mirror.fetch(&upstream, &repository, &reference).await };
        let (manifest, joined) = self.inner.manifests.run(key, work).await?;
        Ok((manifest?, fetched(joined)))
    }

    /// Fetches, verifies and stores a manifest. Bytes that don't match are asked for once more.
    async fn fetch(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Arc<StoredManifest>, MirrorError> {
        let mut wrong = None;
        for _ in 0..2 {
            let answer = upstream.get_manifest(&repository.name, reference).await;
            let answer = answer
                .map_err(|error| MirrorError::from_manifest(&error, repository, reference))?;
            match verify(&answer, reference) {
                Ok(verified) => return self.keep(upstream, repository, answer, verified).await,
                Err(error) => {
                    tracing::warn!(%repository, %reference, %error, "a manifest does not match its digest");
                    wrong = Some(error);
                }
            }
        }
        Err(wrong.unwrap_or(MirrorError::Internal))
    }

    async fn keep(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        answer: FetchedManifest,
        verified: Verified,
    ) -> Result<Arc<StoredManifest>, MirrorError> {
        let digest = verified.digest();
        let parsed = Manifest::parse(&answer.bytes, Some(&answer.media_type))
            .map_err(|error| MirrorError::bad_manifest(repository, &digest, &error))?;
        let manifest = Arc::new(StoredManifest {
            digest,
            media_type: parsed.media_type().clone(),
            bytes: answer.bytes,
        });
        let inner = &self.inner;
        inner
            .rights
            .remember(upstream, &repository.name, &digest, answer.access);
        inner.memory.keep_manifest(repository, &manifest, &parsed);
        let (bytes, media_type) = (manifest.bytes.clone(), manifest.media_type.clone());
        match inner.store.put(verified, bytes, Some(media_type)).await {
            Ok(()) => inner.rights.persist(&digest).await,
            Err(error) => {
                inner.rights.forget_unwritten(&digest);
                tracing::warn!(%repository, %digest, %error, "a manifest could not be kept on disk");
            }
        }
        Ok(manifest)
    }

    async fn manifest_by_tag(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Served, MirrorError> {
        let Some(record) = self.tag_record(repository, tag).await else {
            let (record, joined) = self.confirm(upstream, repository, tag).await;
            let digest = record?.record.descriptor.digest;
            let (manifest, _) = self
                .manifest_by_digest(upstream, repository, &digest)
                .await?;
            metrics::tag(upstream.label(), TagOutcome::Missing);
            return Ok(served(&manifest, fetched(joined), None));
        };
        let now = SystemTime::now();
        match freshness::decide(now, record.confirmed_at, &upstream.tag_policy()) {
            Decision::Fresh => {
                let (manifest, status) = self
                    .manifest_by_digest(upstream, repository, &record.descriptor.digest)
                    .await?;
                Ok(served(&manifest, status, None))
            }
            Decision::ServeAndRefresh => {
                self.refresh(upstream, repository, tag);
                self.serve_stale(upstream, repository, &record, StaleReason::Revalidating)
                    .await
            }
            decision => {
                let (confirmed, _) = self.confirm(upstream, repository, tag).await;
                self.serve_confirmed(upstream, repository, &record, decision, confirmed)
                    .await
            }
        }
    }

    async fn serve_confirmed(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        old: &TagRecord,
        decision: Decision,
        confirmed: Result<super::tags::Confirmed, MirrorError>,
    ) -> Result<Served, MirrorError> {
        let error = match confirmed {
            Ok(confirmed) => {
                let digest = confirmed.record.descriptor.digest;
                let (manifest, _) = self
                    .manifest_by_digest(upstream, repository, &digest)
                    .await?;
                let status = if confirmed.moved {
                    CacheStatus::Miss
                } else {
                    CacheStatus::Revalidated
                };
                return Ok(served(&manifest, status, None));
            }
            Err(error) => error,
        };
        match error.allows_stale() {
            Some(reason) if decision != Decision::TooOld => {
                self.serve_stale(upstream, repository, old, reason).await
            }
            _ => Err(error),
        }
    }

    async fn serve_stale(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        record: &TagRecord,
        reason: StaleReason,
    ) -> Result<Served, MirrorError> {
        let (manifest, _) = self
            .manifest_by_digest(upstream, repository, &record.descriptor.digest)
            .await?;
        metrics::stale_served(upstream.label(), reason.into());
        let age = freshness::stale_age(SystemTime::now(), record.confirmed_at);
        Ok(served(&manifest, CacheStatus::Stale(reason), Some(age)))
    }

    /// Fetches what `reference` names, one fetch at a time.
    pub(super) async fn fetch_shared(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        reference: Reference,
    ) -> Result<Arc<StoredManifest>, MirrorError> {
        match reference {
            Reference::Digest(digest) => {
                let (manifest, _) = self
                    .manifest_by_digest(upstream, repository, &digest)
                    .await?;
                Ok(manifest)
            }
            // A tag's fetch runs inside its confirmation, which is one at a time already.
            Reference::Tag(_) => self.fetch(upstream, repository, &reference).await,
        }
    }

    /// Whether a manifest is in the cache.
    pub(super) async fn has_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Option<Arc<StoredManifest>> {
        self.cached_manifest(repository, digest).await
    }
}

/// The bytes against the digest asked for, or, for a tag, against the one that the upstream claims.
fn verify(answer: &FetchedManifest, reference: &Reference) -> Result<Verified, MirrorError> {
    let expected = match (reference, answer.claimed) {
        (Reference::Digest(digest), _) => *digest,
        (Reference::Tag(_), Some(claimed)) => claimed,
        (Reference::Tag(_), None) => Digest::of(Algorithm::Sha256, &answer.bytes),
    };
    expected
        .verify(&answer.bytes)
        .map_err(|_| MirrorError::wrong_bytes(&expected))
}

fn fetched(joined: bool) -> CacheStatus {
    if joined {
        CacheStatus::Collapsed
    } else {
        CacheStatus::Miss
    }
}

fn served(manifest: &StoredManifest, cache_status: CacheStatus, age: Option<Duration>) -> Served {
    Served {
        cache_status,
        media_type: manifest.media_type.clone(),
        digest: Some(manifest.digest),
        size: manifest.bytes.len() as u64,
        slice: None,
        age,
        filters_applied: None,
        next_page: None,
        body: Body::Bytes(manifest.bytes.clone()),
    }
}
