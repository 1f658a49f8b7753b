//! The manifest flow: by digest from the cache or upstream. What a tag means is for [`super::tags`].

use std::sync::Arc;
use std::time::Duration;

use crate::access::Permit;
use crate::metrics::{self, TagOutcome};
use crate::oci::{Algorithm, Digest, Manifest, Reference, Repository, Verified};
use crate::upstream::{Caller, FetchedManifest, Upstream};

use super::blobs::Wanted;
use super::entry::{Asked, is_anothers, told};
use super::error::MirrorError;
use super::flight::Abandoned;
use super::memory::StoredManifest;
use super::rights::{Granted, Kind, audience};
use super::served::{Body, CacheStatus, Served};
use super::tags;
use super::{Mirror, Waiter};

/// A manifest on its way up.
type Found = (Arc<StoredManifest>, CacheStatus);

impl Mirror {
    /// A manifest by tag or digest. What it refers to is kept for the requests that follow a GET. None has to follow a
    /// HEAD: whoever looks for updates asks for hundreds of images and pulls none, and whoever is about to pull
    /// comes back with a GET.
    pub async fn manifest(
        &self,
        permit: &Permit,
        reference: &Reference,
        wanted: Wanted,
        waiter: Waiter,
    ) -> Result<Served, MirrorError> {
        let caller = Caller::client(waiter.key, self.until(waiter));
        let mut served = self.find_manifest(permit, reference, &caller).await?;
        if caller.has_waited() && served.cache_status == CacheStatus::Miss {
            served.cache_status = CacheStatus::MissAfterWait;
        }
        if wanted == Wanted::Body
            && let Some(references) = &served.references
        {
            self.inner.store.served(references);
        }
        Ok(served)
    }

    async fn find_manifest(
        &self,
        permit: &Permit,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Served, MirrorError> {
        let asked = Asked::Manifest(reference.clone());
        let upstream = self.upstream(permit, &asked, caller).await?;
        let repository = permit.repository();
        let absent = asked.absent(&upstream, repository);
        if let Some(error) = absent.as_ref().and_then(|key| self.inner.absent.get(key)) {
            if let Reference::Tag(_) = reference {
                metrics::tag(upstream.label(), TagOutcome::Missing);
            }
            return Err(error);
        }
        let served = match reference {
            Reference::Digest(digest) => {
                let found = self
                    .manifest_by_digest(&upstream, repository, digest, caller)
                    .await;
                if matches!(found, Err(MirrorError::NotFound { .. })) {
                    upstream.disentitle(&repository.name);
                }
                found.map(|(manifest, status)| Self::serve(&manifest, status, None))
            }
            Reference::Tag(tag) => {
                let decided = self
                    .manifest_by_tag(&upstream, repository, tag, caller)
                    .await;
                metrics::tag(upstream.label(), tags::outcome(&decided));
                decided.map(|(_, served)| served)
            }
        };
        if let (Err(error @ MirrorError::NotFound { .. }), Some(absent)) = (&served, absent) {
            let policy = match reference {
                Reference::Tag(tag) => upstream.policy_of(tag),
                Reference::Digest(_) => upstream.tag_policy(),
            };
            let lifetime = policy.negative_for;
            self.inner.absent.insert(absent, error.clone(), lifetime);
        }
        served.map_err(|error| told(&upstream, repository, error))
    }

    /// A digest never changes, so what is cached is served without asking, once the right to it is known.
    pub(super) async fn manifest_by_digest(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Found, MirrorError> {
        let rights = &self.inner.rights;
        let granted = match rights.known(upstream, repository, digest).await {
            None if self.has_manifest(digest).await => {
                let name = &repository.name;
                let proven = rights
                    .prove(upstream, name, Kind::Manifest, digest, caller)
                    .await;
                Some(proven?.0)
            }
            known => known,
        };
        if let Some(granted) = granted
            && let Some(manifest) = self.open(repository, &granted).await
        {
            return Ok((manifest, CacheStatus::Hit));
        }
        self.fetch_by_digest(upstream, repository, digest, caller)
            .await
    }

    /// A cached manifest to which `repository` is known to have the right. Asks nobody.
    pub(super) async fn readable(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        digest: &Digest,
    ) -> Option<Arc<StoredManifest>> {
        let rights = &self.inner.rights;
        let granted = rights.known(upstream, repository, digest).await?;
        self.open(repository, &granted).await
    }

    /// From memory, from the way to the disk, or from there.
    async fn open(
        &self,
        repository: &Repository,
        granted: &Granted,
    ) -> Option<Arc<StoredManifest>> {
        let inner = &self.inner;
        let digest = granted.digest();
        let held = inner.memory.manifest(granted);
        if let Some(manifest) = held.or_else(|| inner.keeping.manifest(granted)) {
            return Some(manifest);
        }
        let stored = inner.store.manifest(digest).await;
        let stored = stored.unwrap_or_else(|error| {
            tracing::warn!(%digest, %error, "a cached manifest can't be read");
            None
        });
        let (media_type, bytes) = stored?;
        let parsed = Manifest::parse(&bytes, Some(&media_type)).ok()?;
        let manifest = Arc::new(StoredManifest::new(*digest, bytes, &parsed));
        inner.memory.keep_manifest(repository, &manifest, &parsed);
        Some(manifest)
    }

    /// Whether a manifest is in the cache. Says nothing of who may read it.
    pub(super) async fn has_manifest(&self, digest: &Digest) -> bool {
        let inner = &self.inner;
        inner.memory.holds(digest)
            || inner.keeping.holds(digest)
            || matches!(inner.store.stat(digest).await, Ok(Some(_)))
    }

    /// Where another's question is joined, it is that one's place in the queue for a quota; but when its patience has ended,
    /// there is still one's own.
    pub(super) async fn fetch_by_digest(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Found, MirrorError> {
        let ask = || self.ask_by_digest(upstream, repository, *digest, caller.clone());
        let mut answer = ask().await?;
        if matches!(answer, (Err(MirrorError::TooManyRequests { .. }), true))
            && caller.has_patience()
        {
            answer = ask().await?;
        }
        while is_anothers(upstream, answer.0.as_ref().err(), answer.1) {
            answer = ask().await?;
        }
        let (manifest, joined) = answer;
        Ok((manifest?, fetched(joined)))
    }

    async fn ask_by_digest(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        digest: Digest,
        caller: Caller,
    ) -> Result<(Result<Arc<StoredManifest>, MirrorError>, bool), Abandoned> {
        let reference = Reference::Digest(digest);
        let key = (audience(upstream), repository.clone(), reference.clone());
        let (mirror, upstream, repository) =
            (self.clone(), Arc::clone(upstream), repository.clone());
        let work = move |hold| async move {
            let caller = caller.held_by(hold);
            // Who looked before an earlier question ended, and came here after, finds its answer.
            let rights = &mirror.inner.rights;
            let granted = rights.remembered(&upstream, &repository, &digest);
            if let Some(granted) = granted
                && let Some(manifest) = mirror.open(&repository, &granted).await
            {
                return Ok(manifest);
            }
            mirror
                .fetch(&upstream, &repository, &reference, &caller)
                .await
        };
        self.inner.manifests.run_while_wanted(key, work).await
    }

    /// Fetches and verifies a manifest, and starts to store it. Bytes that don't match are asked for once more.
    pub(super) async fn fetch(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Arc<StoredManifest>, MirrorError> {
        let mut wrong = None;
        for _ in 0..2 {
            let answer = upstream
                .pull_manifest(&repository.name, reference, caller)
                .await;
            let answer = answer
                .map_err(|error| MirrorError::from_manifest(&error, repository, reference))?;
            match verify(&answer, reference) {
                Ok(verified) => return self.keep(upstream, repository, answer, verified),
                Err(error) => {
                    tracing::warn!(%repository, %reference, %error, "a manifest does not match its digest");
                    wrong = Some(error);
                }
            }
        }
        Err(wrong.unwrap_or(MirrorError::Internal))
    }

    /// A manifest as an answer.
    pub(super) fn serve(
        manifest: &StoredManifest,
        cache_status: CacheStatus,
        age: Option<Duration>,
    ) -> Served {
        Served {
            cache_status,
            media_type: manifest.media_type.clone(),
            digest: Some(manifest.digest),
            size: manifest.bytes.len() as u64,
            slice: None,
            age,
            filters_applied: None,
            references: Some(Arc::clone(&manifest.references)),
            fields: Some(Arc::clone(&manifest.fields)),
            body: Body::Bytes(manifest.bytes.clone()),
        }
    }

    fn keep(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        answer: FetchedManifest,
        verified: Verified,
    ) -> Result<Arc<StoredManifest>, MirrorError> {
        let digest = verified.digest();
        let parsed = Manifest::parse(&answer.bytes, Some(&answer.media_type))
            .map_err(|error| MirrorError::bad_manifest(repository, &digest, &error))?;
        let manifest = Arc::new(StoredManifest::new(digest, answer.bytes, &parsed));
        let inner = &self.inner;
        inner.rights.remember(
            upstream,
            &repository.name,
            Kind::Manifest,
            &digest,
            answer.access,
        );
        inner.memory.keep_manifest(repository, &manifest, &parsed);
        inner.keeping.keep_manifest(&manifest, verified);
        Ok(manifest)
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

pub(super) fn fetched(joined: bool) -> CacheStatus {
    if joined {
        CacheStatus::Collapsed
    } else {
        CacheStatus::Miss
    }
}
