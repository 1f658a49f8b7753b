//! Who may read what: bytes are shared, rights are not (invariant 8).
//!
//! A right is a fact about a repository: its upstream has confirmed that it holds a digest. Where the bytes could be had
//! without credentials, or from a repository that the operator declares public, every repository of that upstream has
//! it. [`Granted`] can only be made here, and nothing opens a stored blob, a fill or a manifest without one.
//!
//! What is public by the configuration is so while that says it: in memory it is a fact of the registry and of that
//! configuration; what is written down is the fact about the repository.
//!
//! What was learned with a client's login is its audience's: it counts where each client sees what their own login may, and
//! for nobody else, should the upstream be one some day of which all see what the mirror's own may.
//!
//! What a running fill learns is [`Provisional`]: the bytes that its source serves are not proven to be the digest's
//! yet. It holds while the value lives, and is written down only after [`Rights::confirm`].
//!
//! Owns the memory tier of facts, the proofs under way, and what is to be written down when its digest is stored.

mod facts;
mod provisional;

use std::sync::Arc;

use foldhash::fast::RandomState;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::login::LoginId;
use crate::metrics::{self, RightsOutcome};
use crate::mirror::error::MirrorError;
use crate::mirror::flight::SingleFlight;
use crate::mirror::tasks::Tasks;
use crate::oci::{Digest, Reference, Repository, RepositoryName};
use crate::store::{Audience, Store, Visibility};
use crate::upstream::{Access, Caller, Upstream};

pub(super) use facts::audience;
use facts::{Fact, Learned, Place, held, learned};
pub use provisional::Provisional;
use provisional::Table;

/// Facts kept in memory, at most; each is some 200 bytes.
const FACTS: u64 = 100_000;
/// Facts of digests that are not stored yet, at most. One that falls out is asked for again after a restart.
const UNWRITTEN: u64 = 10_000;

/// Proof that a repository may serve a digest.
#[derive(Debug, Clone)]
pub struct Granted {
    digest: Digest,
    is_fact: bool,
}

impl Granted {
    /// The digest that may be served.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether it holds for good, under the configuration that it was found by: a running fill's word does not.
    pub fn is_fact(&self) -> bool {
        self.is_fact
    }

    fn fact(digest: &Digest) -> Self {
        Self {
            digest: *digest,
            is_fact: true,
        }
    }

    #[cfg(test)]
    pub(super) fn for_tests(digest: &Digest, is_fact: bool) -> Self {
        Self {
            is_fact,
            ..Self::fact(digest)
        }
    }
}

/// Whether a digest is a blob or a manifest: they are confirmed at different addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// At `/blobs/`.
    Blob,
    /// At `/manifests/`.
    Manifest,
}

/// A proof's key: the login where it is a client's own, kind, repository, digest.
type Question = (Option<LoginId>, Kind, Repository, Digest);
/// A proof's result: the size of what was confirmed, where the upstream told it.
type Answer = Result<Option<u64>, MirrorError>;

/// What is known of rights, and how more is learned.
#[derive(Debug)]
pub struct Rights {
    store: Store,
    /// Proven.
    facts: Cache<Fact, (), RandomState>,
    provisional: Arc<Table>,
    proofs: SingleFlight<Question, Answer>,
    /// Proven of digests that were not in the index then; written down when they are.
    unwritten: Cache<Digest, Vec<Fact>>,
}

impl Rights {
    /// Rights over `store`. Proofs under way are among `tasks`.
    pub fn new(store: Store, tasks: Tasks) -> Self {
        // What was learned last is wanted next.
        let facts = Cache::builder().eviction_policy(EvictionPolicy::lru());
        let unwritten = Cache::builder().eviction_policy(EvictionPolicy::lru());
        let count = |_: &Digest, facts: &Vec<Fact>| u32::try_from(facts.len()).unwrap_or(u32::MAX);
        Self {
            store,
            facts: facts
                .max_capacity(FACTS)
                .build_with_hasher(RandomState::default()),
            provisional: Arc::default(),
            proofs: SingleFlight::new(tasks),
            unwritten: unwritten.max_capacity(UNWRITTEN).weigher(count).build(),
        }
    }

    /// The right of `repository`, which is of `upstream`, to `digest`, as far as it is known here.
    pub async fn known(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        digest: &Digest,
    ) -> Option<Granted> {
        if let Some(granted) = self.remembered(upstream, repository, digest) {
            return Some(granted);
        }
        let (registry, name) = (&repository.registry, &repository.name);
        let audience = audience(upstream);
        // A store that can't say costs a question upstream, never the pull.
        let link = self.store.has_link(registry, name, digest, audience).await;
        let place = match link.ok()? {
            Some(Visibility::Public) => Place::Anywhere,
            Some(Visibility::Repository) => Place::Repository(name.clone()),
            None if self.is_public_elsewhere(upstream, digest).await => {
                Place::Declared(Arc::clone(upstream.public()))
            }
            None => return None,
        };
        let fact = Fact {
            registry: registry.clone(),
            place,
            audience,
            digest: *digest,
        };
        self.facts.insert(fact, ());
        Some(Granted::fact(digest))
    }

    /// Whether a repository of `upstream` that is declared public may read `digest`, as far as it is written down.
    async fn is_public_elsewhere(&self, upstream: &Upstream, digest: &Digest) -> bool {
        let public = Arc::clone(upstream.public());
        if public.patterns().is_empty() {
            return false;
        }
        let is_public = move |name: &RepositoryName| public.matches(name);
        let linked =
            self.store
                .is_linked_where(upstream.registry(), digest, audience(upstream), is_public);
        linked.await.unwrap_or(false)
    }

    /// As [`Rights::known`], from memory alone. What a running fill has learned counts.
    pub fn remembered(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        digest: &Digest,
    ) -> Option<Granted> {
        let mut fact = Fact {
            registry: repository.registry.clone(),
            place: Place::Anywhere,
            audience: Audience::Everyone,
            digest: *digest,
        };
        for place in Place::of(upstream, &repository.name) {
            fact.place = place;
            for counting in audience(upstream).counting() {
                fact.audience = *counting;
                // `get`, so that the fact counts as used.
                if self.facts.get(&fact).is_some() {
                    return Some(Granted::fact(digest));
                }
                if self.provisional.holds(&fact) {
                    let digest = *digest;
                    return Some(Granted {
                        digest,
                        is_fact: false,
                    });
                }
            }
        }
        None
    }

    /// The upstream has confirmed that the repository `name` holds `digest`, or has served bytes there that match it:
    /// everyone who may, may read it from now on. [`Rights::persist`] writes it down.
    pub fn remember(
        &self,
        upstream: &Upstream,
        name: &RepositoryName,
        kind: Kind,
        digest: &Digest,
        access: Access,
    ) -> Granted {
        self.note(&learned(upstream, name, digest, access));
        if kind == Kind::Manifest {
            // Whether or not it may be read elsewhere too: it is how the catalog knows of the repository.
            self.write_down(held(upstream, name, digest, access));
        }
        Granted::fact(digest)
    }

    /// The upstream has begun to serve `digest` in the repository `name`, and its bytes are yet to be verified.
    pub fn provisional(
        &self,
        upstream: &Upstream,
        name: &RepositoryName,
        digest: &Digest,
        access: Access,
    ) -> Provisional {
        Provisional::new(&self.provisional, learned(upstream, name, digest, access))
    }

    /// The bytes behind these facts match their digest. [`Rights::persist`] writes them down, once those are stored.
    pub fn confirm(&self, facts: Vec<Provisional>) {
        for provisional in facts {
            // Proven before it is withdrawn, so that it holds at every instant.
            self.note(provisional.learned());
        }
    }

    fn note(&self, learned: &Learned) {
        self.facts.insert(learned.fact.clone(), ());
        self.write_down(learned.lasting.clone());
    }

    /// Leaves a fact to [`Rights::persist`].
    fn write_down(&self, fact: Fact) {
        let entry = self.unwritten.entry(fact.digest);
        entry.and_upsert_with(|known| {
            let mut facts = known.map(moka::Entry::into_value).unwrap_or_default();
            if !facts.contains(&fact) {
                facts.push(fact);
            }
            facts
        });
    }

    /// Writes down what was learned of `digest`. Called once its row is in the index.
    pub async fn persist(&self, digest: &Digest) {
        for fact in self.unwritten.remove(digest).unwrap_or_default() {
            let name = match &fact.place {
                Place::Anywhere => None,
                Place::Repository(name) => Some(name),
                // The configuration's word, not the upstream's.
                Place::Declared(_) => continue,
            };
            let written = self
                .store
                .record_link(&fact.registry, name, digest, fact.audience);
            if let Err(error) = written.await {
                tracing::warn!(%digest, %error, "a link could not be written down; it will be asked for again");
            }
        }
    }

    /// Forgets what was to be written down of a digest that did not make it into the cache.
    pub fn forget_unwritten(&self, digest: &Digest) {
        self.unwritten.invalidate(digest);
    }

    /// Asks the upstream whether the repository holds `digest`: one question at a time, however many ask. Where a proof takes
    /// a pull and another's is joined, it is that one's place in the queue for a quota; but when its patience has ended, there
    /// is still one's own.
    pub async fn prove(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        name: &RepositoryName,
        kind: Kind,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<(Granted, Option<u64>), MirrorError> {
        let ask = || {
            let repository = Repository::new(upstream.registry().clone(), name.clone());
            let question = (upstream.login_id(), kind, repository, *digest);
            let (rights, upstream, name, digest, caller) = (
                Arc::clone(self),
                Arc::clone(upstream),
                name.clone(),
                *digest,
                caller.clone(),
            );
            let work = move |hold| async move {
                let caller = caller.held_by(hold);
                rights.ask(&upstream, &name, kind, &digest, &caller).await
            };
            self.proofs.run_while_wanted(question, work)
        };
        let mut answer = ask().await?;
        if matches!(answer, (Err(MirrorError::TooManyRequests { .. }), true))
            && caller.has_patience()
        {
            answer = ask().await?;
        }
        let size = answer.0?;
        Ok((Granted::fact(digest), size))
    }

    async fn ask(
        &self,
        upstream: &Upstream,
        name: &RepositoryName,
        kind: Kind,
        digest: &Digest,
        caller: &Caller,
    ) -> Answer {
        let confirmed = confirm(upstream, name, kind, digest, caller).await;
        let outcome = match &confirmed {
            Ok(_) => RightsOutcome::Confirmed,
            Err(error) if error.is_refusal() => RightsOutcome::Refused,
            Err(_) => RightsOutcome::Failed,
        };
        metrics::rights_check(upstream.label(), outcome);
        let (size, access) = confirmed?;
        // Noted before the look: a fill that commits in between finds it.
        self.remember(upstream, name, kind, digest, access);
        if matches!(self.store.stat(digest).await, Ok(Some(_))) {
            self.persist(digest).await;
        }
        Ok(size)
    }
}

/// The upstream's word that the repository holds `digest`.
async fn confirm(
    upstream: &Upstream,
    name: &RepositoryName,
    kind: Kind,
    digest: &Digest,
    caller: &Caller,
) -> Result<(Option<u64>, Access), MirrorError> {
    let repository = || Repository::new(upstream.registry().clone(), name.clone());
    if kind == Kind::Blob {
        let confirmed = upstream.confirm_blob(name, digest).await;
        return match confirmed {
            Ok(confirmed) => Ok((confirmed.size, confirmed.access)),
            Err(error) => Err(MirrorError::from_blob(&error, &repository(), digest)),
        };
    }
    let reference = Reference::Digest(*digest);
    let failed = |error| MirrorError::from_manifest(&error, &repository(), &reference);
    let head = upstream
        .head_manifest(name, &reference)
        .await
        .map_err(failed)?;
    if let Some(access) = head.access {
        return Ok((head.size, access));
    }
    // A registry without HEAD.
    let manifest = upstream.pull_manifest(name, &reference, caller).await;
    Ok((None, manifest.map_err(failed)?.access))
}

#[cfg(test)]
mod tests;
