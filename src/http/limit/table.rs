//! The clients that are limited at present, by key.
//!
//! A client is kept while anything of it runs or waits, and then until its past is of no more account: until it is as if it
//! had never asked. That alone bounds nothing, since keys are cheap to make (a /48 has 65,536 of them); so where there are
//! too many, all those go that nothing runs of. A client that is forgotten too early is merely given a fresh burst, while one
//! that has something running is never forgotten, and those are no more than there are connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::{Client, Limits};
use crate::http::client::ClientKey;
use crate::metrics;
use crate::sync::lock;

/// Most clients that are kept, unless more than half as many have something running. About half a KiB each.
pub(super) const MOST: usize = 1 << 16;
/// Fewer are looked through seldom: there is little to gain.
const FEW: usize = 1 << 10;
/// How often all are looked through, however few there are.
pub(super) const EVERY: Duration = Duration::from_mins(1);

/// See the file's own words.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<ClientKey, Arc<Client>>,
    /// When so many are reached, all are looked through.
    look_at: usize,
    looked: Option<Instant>,
}

impl Table {
    /// The client with this key, made if it is not known.
    pub(super) fn get(&self, key: ClientKey, now: Instant, limits: &Limits) -> Arc<Client> {
        let mut entries = lock(&self.0);
        if let Some(client) = entries.by_key.get(&key) {
            return Arc::clone(client);
        }
        // Only a new one can make them too many; and where none is new, none is missed.
        entries.prune(now);
        let client = Arc::new(Client::new(limits));
        entries.by_key.insert(key, Arc::clone(&client));
        metrics::limited_clients(entries.by_key.len());
        client
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.0).by_key.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        lock(&self.0).by_key.capacity()
    }
}

impl Entries {
    fn prune(&mut self, now: Instant) {
        let looked = *self.looked.get_or_insert(now);
        let few = self.by_key.len() < self.look_at.max(FEW);
        if few && now.saturating_duration_since(looked) < EVERY {
            return;
        }
        // What runs holds its client; the table's own hold is one.
        let runs = |client: &Arc<Client>| Arc::strong_count(client) > 1;
        self.by_key
            .retain(|_, client| runs(client) || !client.is_as_new(now));
        if self.by_key.len() > MOST / 2 {
            self.by_key.retain(|_, client| runs(client));
        }
        let left = self.by_key.len();
        if self.by_key.capacity() / 8 > left.max(FEW) {
            self.by_key.shrink_to(left.max(FEW) * 2);
        }
        // At least half of what the next look goes through will have come since this one.
        self.look_at = left.max(FEW) * 2;
        self.looked = Some(now);
    }
}
