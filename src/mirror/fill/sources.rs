//! Where a fill may ask for its blob: an ordered list, to which followers add their own.
//!
//! Owns the order, which source is asked now, and how each has answered. Pure but for its lock.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::mirror::error::MirrorError;
use crate::oci::{Repository, RepositoryName};
use crate::sync::lock;
use crate::upstream::Upstream;

/// One place that may hold a blob: a repository of an upstream, as a login sees it.
#[derive(Clone)]
pub struct Source {
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// The repository there.
    pub name: RepositoryName,
    /// The blob's size as a manifest of that repository gives it. Only a hint, and only for this source: a manifest
    /// can claim what it likes about a blob that others use too.
    pub size: Option<u64>,
}

impl Source {
    /// The repository with its registry.
    pub fn repository(&self) -> Repository {
        Repository::new(self.upstream.registry().clone(), self.name.clone())
    }

    /// Whether it is the same repository, asked as the same login.
    fn is(&self, other: &Source) -> bool {
        self.upstream.registry() == other.upstream.registry()
            && self.upstream.login_id() == other.upstream.login_id()
            && self.name == other.name
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.repository())
    }
}

/// Sources of one fill, at most. They are proven to hold the blob, so a few are enough to get it from.
const MOST: usize = 8;

/// How a source has answered so far.
#[derive(Debug, Clone)]
enum Standing {
    Untried,
    /// It has served bytes: the right to read the blob there is proven.
    Proven,
    /// It refused, or gave nothing in as many tries as it gets.
    Spent(MirrorError),
}

#[derive(Debug)]
struct Entry {
    source: Source,
    standing: Standing,
    /// Whether bytes on disk are its own.
    gave_bytes: bool,
}

impl Entry {
    fn new(source: Source) -> Self {
        Self {
            source,
            standing: Standing::Untried,
            gave_bytes: false,
        }
    }
}

#[derive(Debug)]
struct List {
    /// Never empty.
    entries: Vec<Entry>,
    current: usize,
    closed: bool,
}

/// The sources of one fill.
#[derive(Debug)]
pub struct Sources(Mutex<List>);

impl Sources {
    /// A list with its first source.
    pub fn new(first: Source) -> Self {
        Self::of(vec![Entry::new(first)])
    }

    fn of(entries: Vec<Entry>) -> Self {
        Self(Mutex::new(List {
            entries,
            current: 0,
            closed: false,
        }))
    }

    /// A fresh list of the same sources, for starting over. Those whose bytes were wrong come last.
    #[must_use]
    pub fn renewed(&self) -> Self {
        let list = self.lock();
        let (suspects, others): (Vec<_>, Vec<_>) =
            list.entries.iter().partition(|entry| entry.gave_bytes);
        let again = others.into_iter().chain(suspects);
        Self::of(
            again
                .map(|entry| Entry::new(entry.source.clone()))
                .collect(),
        )
    }

    /// The repositories whose bytes are on disk.
    pub fn givers(&self) -> Vec<Repository> {
        let list = self.lock();
        let givers = list.entries.iter().filter(|entry| entry.gave_bytes);
        givers.map(|entry| entry.source.repository()).collect()
    }

    /// Adds a source that is proven to hold the blob, unless there are enough.
    pub fn add(&self, source: Source) {
        let mut list = self.lock();
        let known = list.entries.iter().any(|entry| entry.source.is(&source));
        if !list.closed && !known && list.entries.len() < MOST {
            list.entries.push(Entry::new(source));
        }
    }

    /// Whether `source` is among them.
    pub fn contains(&self, source: &Source) -> bool {
        let list = self.lock();
        list.entries.iter().any(|entry| entry.source.is(source))
    }

    /// The source to ask now.
    pub fn current(&self) -> Source {
        let list = self.lock();
        list.entries[list.current].source.clone()
    }

    /// The source asked now has answered with the blob. `true` the first time.
    pub fn prove(&self) -> bool {
        let mut list = self.lock();
        let current = list.current;
        let entry = &mut list.entries[current];
        let first = !matches!(entry.standing, Standing::Proven);
        entry.standing = Standing::Proven;
        entry.gave_bytes = true;
        first
    }

    /// Whether there is a source that nobody has asked yet.
    pub fn has_untried(&self) -> bool {
        let list = self.lock();
        let mut others = list.entries.iter().enumerate();
        others.any(|(index, entry)| {
            index != list.current && matches!(entry.standing, Standing::Untried)
        })
    }

    /// Whether the source asked now has served bytes.
    pub fn is_proven(&self) -> bool {
        let list = self.lock();
        matches!(list.entries[list.current].standing, Standing::Proven)
    }

    /// The source asked now is spent. The next one is asked from now on; where there is none, the list is closed.
    pub fn spend(&self, error: MirrorError) -> Option<Source> {
        let mut list = self.lock();
        let current = list.current;
        list.entries[current].standing = Standing::Spent(error);
        let next = list
            .entries
            .iter()
            .position(|entry| !matches!(entry.standing, Standing::Spent(_)));
        let Some(next) = next else {
            list.closed = true;
            return None;
        };
        list.current = next;
        Some(list.entries[next].source.clone())
    }

    /// Why `source` gave nothing, where it was tried and did not.
    pub fn refusal(&self, source: &Source) -> Option<MirrorError> {
        let list = self.lock();
        let entry = list.entries.iter().find(|entry| entry.source.is(source))?;
        match &entry.standing {
            Standing::Spent(error) => Some(error.clone()),
            Standing::Untried | Standing::Proven => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        lock(&self.0)
    }
}
