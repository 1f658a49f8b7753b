//! The blob flow: right and bytes, from the cache, from a running fill, or from a new one.

mod ask;

use std::sync::Arc;

use tokio::time::Instant;

use crate::access::Permit;
use crate::oci::{Digest, Repository, Verifier};
use crate::store::{BlobFile, StoreError};
use crate::upstream::Upstream;

use self::ask::{Ask, own_failure};
use super::body::BlobBody;
use super::entry::{Asked, told, without_pull};
use super::error::MirrorError;
use super::fill::reader::{FillReader, Release};
use super::fill::solo::Solo;
use super::fill::sources::Source;
use super::fill::table::{Lease, NotStarted};
use super::fill::{Failure, Progress, fetch};
use super::range::RangeSpec;
use super::rights::{Granted, Kind};
use super::served::{Body, CacheStatus, Served};
use super::{Mirror, Waiter};

/// How often a request joins another fill after one ended without a byte for it: paused in the moment it came, or
/// started over after a mismatch.
const TRIES: u32 = 4;

/// What a client wants of a blob or a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// HEAD: its headers.
    Head,
    /// GET: its bytes.
    Body,
}

/// What came of one try.
enum Tried {
    Served(Served),
    Again(Failure),
}

/// A part of a cached blob, for who may read it.
pub(super) fn serve_file(
    upstream: Arc<Upstream>,
    repository: &Repository,
    file: Arc<BlobFile>,
    range: Option<RangeSpec>,
    wanted: Wanted,
) -> Result<Served, MirrorError> {
    let ask = Ask {
        upstream,
        repository: repository.clone(),
        digest: file.digest(),
        range,
        wanted,
        deadline: Instant::now(),
    };
    ask.serve_file(file)
}

impl Mirror {
    /// A blob, or a part of one.
    pub async fn blob(
        &self,
        permit: &Permit,
        digest: &Digest,
        range: Option<RangeSpec>,
        wanted: Wanted,
        waiter: Waiter,
    ) -> Result<Served, MirrorError> {
        let repository = permit.repository();
        let asked = Asked::Blob(*digest);
        let upstream = self.upstream(permit, &asked, &without_pull()).await?;
        let ask = Ask {
            upstream,
            repository: repository.clone(),
            digest: *digest,
            range,
            wanted,
            deadline: self.until(waiter),
        };
        let absent = asked.absent(&ask.upstream, repository);
        if let Some(error) = absent.as_ref().and_then(|key| self.inner.absent.get(key)) {
            return Err(error);
        }
        let served = self.try_until_served(&ask).await;
        if let (Err(error @ MirrorError::NotFound { .. }), Some(key)) = (&served, absent) {
            let lifetime = ask.upstream.tag_policy().negative_for;
            self.inner.absent.insert(key, error.clone(), lifetime);
            ask.upstream.disentitle(&repository.name);
        }
        served.map_err(|error| told(&ask.upstream, repository, error))
    }

    async fn try_until_served(&self, ask: &Ask) -> Result<Served, MirrorError> {
        let mut failure = Failure::Abandoned;
        for _ in 0..TRIES {
            match self.try_blob(ask).await? {
                Tried::Served(served) => return Ok(served),
                Tried::Again(why) => failure = why,
            }
        }
        Err(match failure {
            // Of another repository; this one's own error would have come as such.
            Failure::Sources(_) => MirrorError::cut_short(&ask.digest),
            Failure::Mismatch => MirrorError::wrong_bytes(&ask.digest),
            Failure::Stored => MirrorError::Internal,
            Failure::Paused | Failure::Abandoned => {
                MirrorError::Busy("the mirror is stopping".to_owned())
            }
        })
    }

    async fn try_blob(&self, ask: &Ask) -> Result<Tried, MirrorError> {
        let rights = &self.inner.rights;
        let known = rights
            .known(&ask.upstream, &ask.repository, &ask.digest)
            .await;
        let granted = match known {
            Some(granted) => granted,
            None if self.is_stored(&ask.digest).await => self.prove(ask).await?.0,
            None if self.inner.fills.is_running(&ask.digest) => return self.serve_fill(ask).await,
            None if ask.wanted == Wanted::Head => {
                return self.head_upstream(ask).await.map(Tried::Served);
            }
            None => return self.serve_fill(ask).await,
        };
        match self.stored(&granted).await {
            Ok(Some(file)) => ask.serve_file(file).map(Tried::Served),
            Ok(None) if ask.wanted == Wanted::Head && !self.inner.fills.is_running(&ask.digest) => {
                self.head_upstream(ask).await.map(Tried::Served)
            }
            Ok(None) => self.serve_fill(ask).await,
            Err(error) => {
                tracing::warn!(digest = %ask.digest, %error, "a cached blob can't be opened");
                self.pass_through(ask).await
            }
        }
    }

    async fn is_stored(&self, digest: &Digest) -> bool {
        matches!(self.inner.store.stat(digest).await, Ok(Some(_)))
    }

    /// The blob in the cache.
    async fn stored(&self, granted: &Granted) -> Result<Option<Arc<BlobFile>>, StoreError> {
        let store = &self.inner.store;
        if let Some(file) = store.blob_if_open(granted.digest()) {
            return Ok(Some(file));
        }
        store.blob(granted.digest()).await
    }

    /// A cached blob that the disk does not give: a fault of the cache costs its help, never the pull.
    async fn pass_through(&self, ask: &Ask) -> Result<Tried, MirrorError> {
        let size = self.inner.store.stat(&ask.digest).await.ok().flatten();
        let size = self.size_or_ask(ask, size).await?;
        if ask.wanted == Wanted::Head {
            return ask.serve_head(size, CacheStatus::Bypass).map(Tried::Served);
        }
        let range = ask.resolve(size)?;
        let source = self.source(ask);
        let mut solo = match ask.release(&range, size, self.inner.strict_ranges) {
            Release::WithholdEnd => {
                Solo::verifying(source, Verifier::new(ask.digest), range.start, size)
            }
            Release::AsTheyCome => Solo::range(source, ask.digest, range.clone()),
            Release::Verified => return Err(MirrorError::strict_without_cache()),
        };
        match tokio::time::timeout_at(ask.deadline, solo.begin()).await {
            Ok(Ok(())) => {}
            Ok(Err(Failure::Sources(error))) => return Err(error),
            Ok(Err(failure)) => return Ok(Tried::Again(failure)),
            Err(_) => return Err(MirrorError::busy_upstream()),
        }
        let body = Body::Blob(Box::new(BlobBody::Solo(solo)));
        Ok(Tried::Served(ask.served(
            size,
            range,
            CacheStatus::Bypass,
            body,
        )))
    }

    async fn prove(&self, ask: &Ask) -> Result<(Granted, Option<u64>), MirrorError> {
        let rights = &self.inner.rights;
        let name = &ask.repository.name;
        let caller = without_pull();
        rights
            .prove(&ask.upstream, name, Kind::Blob, &ask.digest, &caller)
            .await
    }

    /// A HEAD of what is not here costs a question upstream, not a fetch.
    async fn head_upstream(&self, ask: &Ask) -> Result<Served, MirrorError> {
        let told = self.prove(ask).await?.1;
        let size = self.size_after_proof(ask, told).await?;
        ask.serve_head(size, CacheStatus::Miss)
    }

    /// The size that was told, else the one that the upstream tells when asked for it.
    async fn size_or_ask(&self, ask: &Ask, told: Option<u64>) -> Result<u64, MirrorError> {
        match told {
            Some(size) => Ok(size),
            None => ask.told(fetch::size(&self.source(ask), &ask.digest).await),
        }
    }

    /// The same where a proof has just been asked for: what its HEAD did not tell, another would not.
    async fn size_after_proof(&self, ask: &Ask, told: Option<u64>) -> Result<u64, MirrorError> {
        match told {
            Some(size) => Ok(size),
            None => ask.told(fetch::size_by_first_byte(&self.source(ask), &ask.digest).await),
        }
    }

    fn source(&self, ask: &Ask) -> Source {
        Source {
            upstream: Arc::clone(&ask.upstream),
            name: ask.repository.name.clone(),
            size: self.inner.memory.size_hint(&ask.repository, &ask.digest),
        }
    }

    async fn serve_fill(&self, ask: &Ask) -> Result<Tried, MirrorError> {
        let fills = &self.inner.fills;
        let now = std::time::Instant::now();
        if fills.is_quarantined(&ask.repository, &ask.digest, now) {
            return Err(MirrorError::wrong_bytes(&ask.digest));
        }
        let source = self.source(ask);
        let joined = fills.join(ask.digest, source.clone(), ask.named());
        let (lease, collapsed) = joined.map_err(|reason| match reason {
            NotStarted::Quarantined => MirrorError::wrong_bytes(&ask.digest),
            NotStarted::TooMany => MirrorError::too_many_fills(),
        })?;
        if !lease.sources().contains(&source) {
            // Another repository's fill, or another login's. The right comes first; then this one's upstream can help it along.
            if self
                .inner
                .rights
                .remembered(&ask.upstream, &ask.repository, &ask.digest)
                .is_none()
            {
                self.prove(ask).await?;
            }
            lease.sources().add(source.clone());
        }
        let (total, granted) = match self.total_and_right(ask, &lease, &source).await? {
            Ok(known) => known,
            Err(failure) => return Ok(Tried::Again(failure)),
        };
        let verified = matches!(*lease.progress().borrow(), Progress::Verified { .. });
        let range = ask.resolve(total)?;
        let rule = ask.release(&range, total, self.inner.strict_ranges);
        let mut status = match (collapsed, rule) {
            (_, Release::AsTheyCome) if !verified => CacheStatus::Unverified,
            // All here and proven; only its index row may still be on its way.
            (true, _) if verified => CacheStatus::Hit,
            (true, _) => CacheStatus::Collapsed,
            (false, _) => CacheStatus::Miss,
        };
        if ask.wanted == Wanted::Head {
            return ask.serve_head(total, status).map(Tried::Served);
        }
        let own = source.clone();
        let mut reader = FillReader::open(
            &granted,
            lease.clone(),
            source,
            range.clone(),
            rule,
            collapsed,
        );
        match reader.first_byte(ask.deadline).await {
            Ok(()) => {}
            Err(Failure::Sources(error)) if reader.is_alone() => return Err(error),
            Err(failure) => return own_failure(&lease, &own, failure).map(Tried::Again),
        }
        if reader.is_alone() {
            status = CacheStatus::Bypass;
        }
        let body = Body::Blob(Box::new(BlobBody::Filling(reader)));
        Ok(Tried::Served(ask.served(total, range, status, body)))
    }

    /// Waits until the fill knows the blob's size, and makes sure of this repository's own right to it.
    async fn total_and_right(
        &self,
        ask: &Ask,
        lease: &Lease,
        source: &Source,
    ) -> Result<Result<(u64, Granted), Failure>, MirrorError> {
        let mut progress = lease.progress();
        let told = progress.wait_for(|progress| !matches!(progress, Progress::Connecting));
        let progress = match tokio::time::timeout_at(ask.deadline, told).await {
            Ok(Ok(progress)) => progress.clone(),
            Ok(Err(_)) => return Ok(Err(Failure::Abandoned)),
            Err(_) => return Err(MirrorError::no_head(&ask.repository)),
        };
        let total = match progress {
            Progress::Growing { total, .. } => Some(total),
            Progress::Verified { size } => Some(size),
            Progress::Detached(left) => left.total,
            Progress::Connecting => None,
            Progress::Failed(failure) => {
                return own_failure(lease, source, failure).map(Err);
            }
        };
        let rights = &self.inner.rights;
        let remembered = rights.remembered(&ask.upstream, &ask.repository, &ask.digest);
        if let (Some(total), Some(granted)) = (total, &remembered) {
            return Ok(Ok((total, granted.clone())));
        }
        let refusal = lease.sources().refusal(source);
        if let Some(refusal) = refusal.filter(MirrorError::is_refusal) {
            return Err(refusal);
        }
        if let Some(granted) = remembered {
            return Ok(Ok((self.size_or_ask(ask, total).await?, granted)));
        }
        let (granted, size) = self.prove(ask).await?;
        let total = self.size_after_proof(ask, total.or(size)).await?;
        Ok(Ok((total, granted)))
    }
}
