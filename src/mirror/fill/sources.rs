//! Where a fill may ask for its blob: an ordered list, to which followers add their own.
//!
//! Owns the order, which source is asked now, and how each has answered. Pure but for its lock.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::mirror::error::MirrorError;
use crate::oci::{Repository, RepositoryName};
use crate::upstream::Upstream;

/// One place that may hold a blob: a repository of an upstream.
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

    fn is(&self, repository: &Repository) -> bool {
        self.upstream.registry() == &repository.registry && self.name == repository.name
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.repository())
    }
}

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
}

#[derive(Debug, Default)]
struct List {
    entries: Vec<Entry>,
    current: usize,
    closed: bool,
}

/// The sources of one fill.
#[derive(Debug, Default)]
pub struct Sources(Mutex<List>);

impl Sources {
    /// A list with its first source.
    pub fn new(first: Source) -> Self {
        let list = Self::default();
        list.add(first);
        list
    }

    /// A fresh list of the same sources, for starting over.
    #[must_use]
    pub fn renewed(&self) -> Self {
        let renewed = Self::default();
        for entry in &self.lock().entries {
            renewed.add(entry.source.clone());
        }
        renewed
    }

    /// Adds a source unless its repository is listed. `false` where the fill has ended without one.
    pub fn add(&self, source: Source) -> bool {
        let mut list = self.lock();
        if list.closed {
            return false;
        }
        let repository = source.repository();
        if !list
            .entries
            .iter()
            .any(|entry| entry.source.is(&repository))
        {
            list.entries.push(Entry {
                source,
                standing: Standing::Untried,
            });
        }
        true
    }

    /// Whether `repository` is among them.
    pub fn contains(&self, repository: &Repository) -> bool {
        let list = self.lock();
        list.entries.iter().any(|entry| entry.source.is(repository))
    }

    /// The source to ask now.
    pub fn current(&self) -> Source {
        let list = self.lock();
        list.entries[list.current].source.clone()
    }

    /// The source asked now has served bytes. `true` the first time.
    pub fn prove(&self) -> bool {
        let mut list = self.lock();
        let current = list.current;
        let standing = &mut list.entries[current].standing;
        let first = !matches!(standing, Standing::Proven);
        *standing = Standing::Proven;
        first
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

    /// Why the source in `repository` gave nothing, where it was tried and did not.
    pub fn refusal(&self, repository: &Repository) -> Option<MirrorError> {
        let list = self.lock();
        let entry = list
            .entries
            .iter()
            .find(|entry| entry.source.is(repository))?;
        match &entry.standing {
            Standing::Spent(error) => Some(error.clone()),
            Standing::Untried | Standing::Proven => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
