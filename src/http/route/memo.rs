//! The routes of what was asked for lately, so that the same words are taken apart once.
//!
//! A node asks for what another node has just asked for, in the same words. Only routes to manifests and blobs are kept, and
//! only of requests that say all there is to a route in their target and, where it counts, their host. Each has one slot,
//! which whatever is asked for next there takes over: nothing is looked for, nothing grows, and who asks for nonsense
//! displaces a route that is found again in microseconds. Made anew with each configuration.

use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;
use http::{HeaderMap, Method, Uri};

use super::{Action, Route, RouteError, Target, route};
use crate::config::Routes;
use crate::http::respond::NAMESPACE;
use crate::http::vet;
use crate::sync::lock;

/// Slots: the images of a busy fleet, some dozens, of some dozens of blobs each. A power of two.
const SLOTS: usize = 4_096;
/// Longest target and host, together, that are kept: two megabytes in all.
const LONGEST: usize = 512;

/// Routes by the words that they were asked for in.
pub(in crate::http) struct Memo {
    slots: Box<[Mutex<Option<Known>>]>,
    /// Seeded: nobody can tell whose slot is whose.
    hasher: RandomState,
}

struct Known {
    /// Target and host, one after the other.
    words: Box<str>,
    /// Where the host begins.
    at: usize,
    target: Arc<Target>,
}

/// All that a route depends on, as it was written.
#[derive(Clone, Copy)]
struct Words<'a> {
    target: &'a str,
    /// Empty where no host counts.
    host: &'a str,
}

impl Default for Memo {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
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
        headers: &HeaderMap,
    ) -> Result<Route, RouteError> {
        let find = || route(routes, method, uri, headers);
        let words = vet::is_read(method).then(|| Words::of(routes, uri, headers));
        let Some(words) = words.flatten() else {
            return find();
        };
        let slot = self.slot(words);
        if let Some(known) = &*lock(slot)
            && known.words() == (words.target, words.host)
        {
            return Ok(Route::Of(Arc::clone(&known.target)));
        }
        let found = find()?;
        if let Route::Of(target) = &found
            && matches!(target.action, Action::Manifest(_) | Action::Blob(_))
        {
            *lock(slot) = Some(Known::new(words, target));
        }
        Ok(found)
    }

    fn slot(&self, words: Words<'_>) -> &Mutex<Option<Known>> {
        let hash = self.hasher.hash_one((words.target, words.host));
        let index = usize::try_from(hash % SLOTS as u64).expect("it is below the number of slots");
        &self.slots[index]
    }
}

impl<'a> Words<'a> {
    /// `None` where they are not all, or too many.
    fn of(routes: &Routes, uri: &'a Uri, headers: &'a HeaderMap) -> Option<Self> {
        if headers.contains_key(NAMESPACE) {
            return None;
        }
        let target = uri.path_and_query()?.as_str();
        let host = routes.has_hosts().then(|| vet::host(headers)).flatten();
        let host = host.unwrap_or_default();
        (target.len() + host.len() <= LONGEST).then_some(Self { target, host })
    }
}

impl Known {
    fn new(words: Words<'_>, target: &Arc<Target>) -> Self {
        Self {
            words: [words.target, words.host].concat().into(),
            at: words.target.len(),
            target: Arc::clone(target),
        }
    }

    fn words(&self) -> (&str, &str) {
        self.words.split_at(self.at)
    }
}
