//! What can be answered at once: whatever the flows would decide from memory alone.
//!
//! Nearly every request of a fleet is for what another node has just asked for. Each step here is the first of a flow's, in
//! the flow's order, taken where its answer is in memory; `None` says nothing but that the flow itself has to be gone
//! through. What a flow would count, this counts as well.

use std::sync::Arc;
use std::time::SystemTime;

use crate::access::Permit;
use crate::metrics::{self, TagOutcome};
use crate::oci::{Digest, Reference, Repository, Tag};
use crate::upstream::Upstream;

use super::Mirror;
use super::ahead::Hot;
use super::blobs::{Wanted, serve_file};
use super::freshness::{self, Decision};
use super::memory::StoredManifest;
use super::range::RangeSpec;
use super::rights::{Granted, audience};
use super::served::{CacheStatus, Served};

impl Mirror {
    /// A manifest that is in memory, by its digest or by a tag that is fresh.
    pub fn manifest_at_once(
        &self,
        permit: &Permit,
        reference: &Reference,
        wanted: Wanted,
    ) -> Option<Served> {
        let (upstream, repository) = (self.everybodys(permit)?, permit.repository());
        let manifest = match reference {
            Reference::Digest(digest) => self.held(&upstream, repository, digest)?.1,
            Reference::Tag(tag) => self.fresh(&upstream, repository, tag)?,
        };
        let served = Self::serve(&manifest, CacheStatus::Hit, None);
        if wanted == Wanted::Body {
            self.inner.store.served(&manifest.references);
        }
        Some(served)
    }

    /// A blob, or a part of one, whose file is open.
    pub fn blob_at_once(
        &self,
        permit: &Permit,
        digest: &Digest,
        range: Option<RangeSpec>,
        wanted: Wanted,
    ) -> Option<Served> {
        let (upstream, repository) = (self.everybodys(permit)?, permit.repository());
        let rights = &self.inner.rights;
        let granted = rights.remembered(&upstream, repository, digest)?;
        let file = self.inner.store.blob_if_open(granted.digest())?;
        serve_file(upstream, repository, file, range, wanted).ok()
    }

    /// The upstream, where all see of it what the mirror's own login may.
    fn everybodys(&self, permit: &Permit) -> Option<Arc<Upstream>> {
        let upstream = self.allowed(permit).ok()?;
        upstream.passthrough().is_none().then_some(upstream)
    }

    fn held(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        digest: &Digest,
    ) -> Option<(Granted, Arc<StoredManifest>)> {
        let granted = self.inner.rights.remembered(upstream, repository, digest)?;
        let manifest = self.inner.memory.manifest(&granted)?;
        Some((granted, manifest))
    }

    fn fresh(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        tag: &Tag,
    ) -> Option<Arc<StoredManifest>> {
        let told = self.inner.memory.tag(repository, tag)?;
        if !told.counts(audience(upstream)) {
            return None;
        }
        let record = told.known.record()?;
        let (now, policy) = (SystemTime::now(), upstream.policy_of(tag));
        if freshness::decide_on(now, record, &policy) != Decision::Fresh {
            return None;
        }
        let manifest = told.asks.at_hand(upstream).or_else(|| {
            let digest = &record.descriptor.digest;
            let (granted, manifest) = self.held(upstream, repository, digest)?;
            told.asks.keep_at_hand(upstream, &granted, &manifest);
            Some(manifest)
        })?;
        let hot = Hot::of(upstream, repository, tag, &told, record);
        self.asked_while_fresh(&hot, &policy, now);
        metrics::tag(upstream.label(), TagOutcome::Fresh);
        Some(manifest)
    }
}
