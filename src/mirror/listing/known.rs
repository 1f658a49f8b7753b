//! What is remembered of lists, in memory and in the store's index.
//!
//! Memory rules: what is read from the index never takes the place of what an upstream said. The index is
//! written behind the answers; questions of one list do not overlap and each hands its change over before it
//! ends, so the changes come in the order of the answers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Semaphore;

use crate::config::TagPolicy;
use crate::login::LoginId;
use crate::oci::{Digest, Repository};
use crate::store::{Audience, ListRecord, Store};
use crate::upstream::{Mark, Referrers, Upstream};

use super::super::error::MirrorError;
use super::super::flight::SingleFlight;
use super::super::memory::Absent;
use super::super::rights::audience;
use super::super::tasks::Tasks;
use super::tags::TagList;
use super::turns::Turns;

/// Lists that are being written down, at most, in KiB.
const WRITING_KIB: usize = 16 << 10;
/// For how long at least a list that was too long is taken to be. To find out takes a hundred questions.
const TOO_LONG: Duration = Duration::from_hours(1);
/// For how long a list that has not changed is not written down again.
const WRITTEN: Duration = Duration::from_mins(1);

/// What a remembered list is a list of, and who may go by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::mirror) struct Subject {
    pub(super) audience: Audience,
    pub(super) repository: Repository,
    pub(super) of: Of,
}

/// What of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::mirror) enum Of {
    /// Its tags.
    Tags,
    /// What refers to a digest, of one type or of all.
    Referrers(Digest, Option<String>),
}

/// A list as its upstream gave it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) at: SystemTime,
    pub(super) list: List,
    /// When the copy in the index says that it was given.
    written: Option<SystemTime>,
}

#[derive(Debug)]
pub(super) enum List {
    Tags(TagList),
    /// Too long to be fetched whole: pages of tags are passed through, referrers are asked for by their type.
    TooLong(Option<Mark>),
    Referrers(Referrers),
}

pub(super) type Answer = Result<Arc<Known>, MirrorError>;

/// What memory holds of a list.
#[derive(Clone, Debug)]
enum Remembered {
    Known(Arc<Known>),
    /// Its upstream has refused it. Remembered, so that an older one cannot come back from the index.
    Gone,
}

/// The lists that are remembered, and the questions under way.
#[derive(Debug)]
pub(in crate::mirror) struct Lists {
    memory: Cache<Subject, Remembered>,
    /// The weight of the largest that is kept.
    largest: u32,
    store: Store,
    tasks: Tasks,
    writing: Arc<Semaphore>,
    /// By whom nothing was seen, where that depends on it, and of what.
    pub(super) absent: Absent<(Option<LoginId>, Subject)>,
    pub(super) questions: SingleFlight<Subject, Answer>,
    pub(super) turns: Turns,
}

impl Subject {
    /// Of a repository of `upstream`, as that is seen.
    pub(super) fn new(upstream: &Upstream, repository: &Repository, of: Of) -> Self {
        Self {
            audience: audience(upstream),
            repository: repository.clone(),
            of,
        }
    }

    /// Whether it is of one type alone: there is no end of them.
    pub(super) fn is_of_one_type(&self) -> bool {
        matches!(self.of, Of::Referrers(_, Some(_)))
    }

    /// As it stands in the index; `None` for what is not kept there: what clients may choose without end would fill it.
    fn question(&self) -> Option<String> {
        let question = match &self.of {
            Of::Tags => "tags".to_owned(),
            Of::Referrers(digest, None) => format!("referrers {digest}"),
            Of::Referrers(_, Some(_)) => return None,
        };
        Some(match self.audience {
            Audience::Everyone => question,
            Audience::Logins => format!("{question} by login"),
        })
    }
}

impl List {
    fn weight(&self) -> u32 {
        let bytes = match self {
            Self::Tags(tags) => tags.weight(),
            Self::TooLong(_) => 0,
            Self::Referrers(list) => list.bytes.len(),
        };
        u32::try_from(bytes + 512).unwrap_or(u32::MAX)
    }

    /// An empty list is an absence, and forgotten as soon as one: what is pushed next changes it.
    pub(super) fn policy(&self, policy: TagPolicy) -> TagPolicy {
        let is_empty = match self {
            Self::Tags(tags) => tags.is_empty(),
            Self::TooLong(_) => false,
            Self::Referrers(list) => list.is_empty,
        };
        let fresh_for = match self {
            Self::TooLong(_) => policy.fresh_for.max(TOO_LONG),
            _ if is_empty => policy.fresh_for.min(policy.negative_for),
            _ => policy.fresh_for,
        };
        TagPolicy {
            fresh_for,
            ..policy
        }
    }

    /// As the index keeps it; `None` for one that is not kept.
    fn record(&self, at: SystemTime) -> Option<ListRecord> {
        let (bytes, filters_applied) = match self {
            Self::Tags(tags) => (tags.text(), None),
            Self::TooLong(_) => return None,
            Self::Referrers(list) => (&list.bytes, list.filters_applied.clone()),
        };
        Some(ListRecord {
            confirmed_at: at,
            filters_applied,
            bytes: bytes.clone(),
        })
    }

    /// What [`List::record`] made a record of.
    fn read(subject: &Subject, record: ListRecord) -> Option<Self> {
        match subject.of {
            Of::Tags => TagList::read(&record.bytes).map(Self::Tags),
            Of::Referrers(..) => {
                Referrers::read(record.bytes, record.filters_applied).map(Self::Referrers)
            }
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tags(one), Self::Tags(other)) => one.text() == other.text(),
            (Self::Referrers(one), Self::Referrers(other)) => one == other,
            _ => false,
        }
    }
}

impl Lists {
    /// Keeps at most `bytes` of lists in memory. Questions under way are among `tasks`, and what is being
    /// written to `store`.
    pub(in crate::mirror) fn new(bytes: u64, store: Store, tasks: Tasks) -> Self {
        let weigh = |_: &Subject, remembered: &Remembered| match remembered {
            Remembered::Known(known) => known.list.weight(),
            Remembered::Gone => 512,
        };
        Self {
            // What was learned last counts, before what is asked for most.
            memory: Cache::builder()
                .max_capacity(bytes)
                .weigher(weigh)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            largest: u32::try_from(bytes / 2).unwrap_or(u32::MAX),
            store,
            writing: Arc::new(Semaphore::new(WRITING_KIB)),
            absent: Absent::default(),
            questions: SingleFlight::new(tasks.clone()),
            turns: Turns::default(),
            tasks,
        }
    }

    /// A list, from memory or the index.
    pub(super) async fn known(&self, subject: &Subject) -> Option<Arc<Known>> {
        if let Some(remembered) = self.memory.get(subject) {
            return remembered.known();
        }
        let question = subject.question()?;
        let stored = self.store.list(&subject.repository, &question).await;
        let record = stored.unwrap_or_else(|error| {
            tracing::warn!(repository = %subject.repository, %error, "a list can't be read");
            None
        })?;
        let at = record.confirmed_at;
        let known = Arc::new(Known {
            at,
            list: List::read(subject, record)?,
            written: Some(at),
        });
        let entry = self.memory.entry(subject.clone());
        entry
            .or_insert(Remembered::Known(known))
            .into_value()
            .known()
    }

    /// A list that is in memory and newer than what was `seen`.
    pub(super) fn newer(&self, subject: &Subject, seen: Option<&Arc<Known>>) -> Option<Arc<Known>> {
        let known = self.memory.get(subject)?.known()?;
        seen.is_none_or(|seen| seen.at < known.at).then_some(known)
    }

    /// Remembers what an upstream has just told.
    pub(super) fn learn(&self, subject: &Subject, list: List, policy: &TagPolicy) -> Arc<Known> {
        // One that can't be kept would be fetched whole for each of its pages.
        let is_too_long = matches!(list, List::Tags(_)) && list.weight() > self.largest;
        let list = if is_too_long {
            List::TooLong(None)
        } else {
            list
        };
        let at = SystemTime::now();
        // A clock that was set back writes.
        let is_recent = |written: &SystemTime| {
            at.duration_since(*written)
                .is_ok_and(|since| since < WRITTEN.min(policy.stale_for / 16))
        };
        let old = self.newer(subject, None);
        let written = old
            .filter(|old| old.list.is_same(&list))
            .and_then(|old| old.written)
            .filter(is_recent);
        if written.is_none() {
            self.write(subject, list.record(at));
        }
        let known = Arc::new(Known {
            at,
            list,
            written: written.or(Some(at)),
        });
        let remembered = Remembered::Known(Arc::clone(&known));
        self.memory.insert(subject.clone(), remembered);
        known
    }

    /// Remembers that an upstream has refused a list.
    pub(super) fn forget(&self, subject: &Subject) {
        self.memory.insert(subject.clone(), Remembered::Gone);
        self.write(subject, None);
    }

    /// Writes a list down behind the answer, or with `None` that there is none.
    fn write(&self, subject: &Subject, record: Option<ListRecord>) {
        let Some(question) = subject.question() else {
            return;
        };
        let repository = &subject.repository;
        let kib = record.as_ref().map_or(0, |record| record.bytes.len()) / 1024;
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let handed_over = match Arc::clone(&self.writing).try_acquire_many_owned(kib) {
            Err(_) => Err("the disk is behind".to_owned()),
            Ok(place) => self
                .store
                .set_list(repository, &question, record)
                .map(|written| (written, place))
                .map_err(|error| error.to_string()),
        };
        let (written, place) = match handed_over {
            Ok(handed_over) => handed_over,
            Err(error) => {
                tracing::warn!(%repository, error, "what was learned of a list is not written down");
                return;
            }
        };
        let repository = repository.clone();
        self.tasks.spawn(async move {
            if let Err(error) = written.await {
                tracing::warn!(%repository, %error, "what was learned of a list could not be written down");
            }
            drop(place);
        });
    }
}

impl Remembered {
    fn known(self) -> Option<Arc<Known>> {
        match self {
            Self::Known(known) => Some(known),
            Self::Gone => None,
        }
    }
}
