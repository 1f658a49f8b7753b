//! The routes of what was asked for lately, so that the same words are taken apart once.
//!
//! A node asks for what another node has just asked for, in the same words. Only routes to manifests and blobs are kept, and
//! only of requests that say all there is to a route in their target and the registry of their host, if that names one. Each
//! has one slot, which whatever is asked for next there takes over: nothing is looked for, nothing grows, and who asks for
//! nonsense displaces a route that is found again in microseconds. Made anew with each configuration.

use std::hash::BuildHasher as _;
use std::sync::{Arc, RwLock};

use foldhash::fast::RandomState;
use http::{Method, Uri};

use super::{Action, Route, RouteError, Target, route};
use crate::config::Routes;
use crate::http::headers::Headers;
use crate::http::respond::NAMESPACE;
use crate::http::{address, vet};
use crate::oci::Registry;
use crate::sync::{read, write};

/// Slots: the images of a busy fleet, some dozens, of some dozens of blobs each. A power of two.
const SLOTS: usize = 4_096;
/// Longest target that is kept: some five megabytes in all, with what they lead to.
const LONGEST: usize = 512;

/// Routes by the words that they were asked for in.
pub(in crate::http) struct Memo {
    slots: Box<[RwLock<Option<Known>>]>,
    /// Seeded, so that which words share a slot is another matter in each process.
    hasher: RandomState,
}

struct Known {
    asked: Box<str>,
    host: Option<Registry>,
    target: Arc<Target>,
}

/// All that a route depends on.
#[derive(Hash)]
struct Words<'a> {
    /// The request's target, as it was written.
    asked: &'a str,
    /// The registry that the host stands for, if it does for one.
    host: Option<Registry>,
}

impl Default for Memo {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl Memo {
    /// As [`route`], of which it is the memory. `routes` are the same each time.
    pub(in crate::http) fn route(
        &self,
        routes: &Routes,
        method: &Method,
        uri: &Uri,
        headers: Headers<'_>,
    ) -> Result<Route, RouteError> {
        let find = || route(routes, method, uri, headers.all);
        let words = vet::is_read(method).then(|| Words::of(routes, uri, headers));
        let Some(words) = words.flatten() else {
            return find();
        };
        let slot = self.slot(&words);
        if let Some(known) = &*read(slot)
            && known.is_of(&words)
        {
            return Ok(Route::Of(Arc::clone(&known.target)));
        }
        let found = find()?;
        if let Route::Of(target) = &found
            && matches!(target.action, Action::Manifest(_) | Action::Blob(_))
        {
            *write(slot) = Some(Known::new(words, target));
        }
        Ok(found)
    }

    fn slot(&self, words: &Words<'_>) -> &RwLock<Option<Known>> {
        let hash = self.hasher.hash_one(words);
        let index = usize::try_from(hash % SLOTS as u64).expect("it is below the number of slots");
        &self.slots[index]
    }
}

#[cfg(test)]
impl Memo {
    /// How many slots are taken.
    pub(super) fn taken(&self) -> usize {
        let slots = self.slots.iter();
        slots.filter(|slot| read(slot).is_some()).count()
    }
}

impl<'a> Words<'a> {
    /// `None` where they are not all, or too many.
    fn of(routes: &Routes, uri: &'a Uri, headers: Headers<'_>) -> Option<Self> {
        if headers.notable.contains_key(NAMESPACE) {
            return None;
        }
        let asked = uri.path_and_query()?.as_str();
        let host = address::of_host(routes, headers.all);
        (asked.len() <= LONGEST).then_some(Self { asked, host })
    }
}

impl Known {
    fn new(words: Words<'_>, target: &Arc<Target>) -> Self {
        Self {
            asked: words.asked.into(),
            host: words.host,
            target: Arc::clone(target),
        }
    }

    fn is_of(&self, words: &Words<'_>) -> bool {
        *self.asked == *words.asked && self.host == words.host
    }
}
