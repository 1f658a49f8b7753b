//! What the logins of clients may see: a login is entitled to a repository while the upstream has said so to that login, a
//! short while ago.
//!
//! Proven by an answer of the upstream to a question that was sent with the login; over after the configured time, and never
//! later than the token that the question was sent with. A refusal of anything in the repository ends it at once, and no
//! answer to what was asked before that refusal brings it back, or brings about what was not there before.
//!
//! Owns the table, and those proofs that are under way. Pure otherwise: the caller says what time it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::login::LoginId;
use crate::oci::RepositoryName;
use crate::sync::lock;

/// Entries, at most; each is some 200 bytes. What falls out is asked for again.
const MOST: u64 = 100_000;

/// A login and a repository of its registry.
type Key = (LoginId, RepositoryName);

#[derive(Clone, Copy, Debug)]
struct Entry {
    until: Instant,
    refused: Option<Instant>,
}

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct Entitlements {
    table: Cache<Key, Entry>,
    /// As bounded as the requests of clients that wait for them.
    under_way: Arc<Mutex<HashMap<Key, UnderWay>>>,
}

/// Proofs of one right that have been asked for and not answered.
#[derive(Debug, Default)]
struct UnderWay {
    count: usize,
    /// When the upstream has refused something meanwhile.
    refused: Option<Instant>,
}

impl Default for Entitlements {
    fn default() -> Self {
        let table = Cache::builder().eviction_policy(EvictionPolicy::lru());
        Self {
            table: table.max_capacity(MOST).build(),
            under_way: Arc::default(),
        }
    }
}

/// A question that is under way, and proves a right if it is answered.
#[derive(Debug)]
pub(crate) struct Proving {
    of: Entitlements,
    key: Key,
    asked: Instant,
}

impl Proving {
    /// The upstream has answered: the right is there until then.
    pub(crate) fn proven(self, until: Instant) {
        // Held until it stands in the table, so that no refusal falls in between.
        let under_way = lock(&self.of.under_way);
        let meanwhile = under_way.get(&self.key).and_then(|each| each.refused);
        let asked = self.asked;
        let is_over = |refused: Option<Instant>| refused.is_some_and(|refused| asked <= refused);
        if is_over(meanwhile) {
            return;
        }
        let entry = self.of.table.entry(self.key.clone());
        entry.and_compute_with(|known| {
            let refused = known.and_then(|known| known.into_value().refused);
            if is_over(refused) {
                return Op::Nop;
            }
            Op::Put(Entry { until, refused })
        });
    }
}

impl Drop for Proving {
    fn drop(&mut self) {
        let mut under_way = lock(&self.of.under_way);
        if let Some(each) = under_way.get_mut(&self.key) {
            each.count -= 1;
            if each.count == 0 {
                under_way.remove(&self.key);
            }
        }
    }
}

impl Entitlements {
    pub(crate) fn holds(&self, login: LoginId, name: &RepositoryName, now: Instant) -> bool {
        let entry = self.table.get(&(login, name.clone()));
        entry.is_some_and(|entry| now < entry.until)
    }

    /// A question is sent with the login at `asked`.
    pub(crate) fn ask(&self, login: LoginId, name: &RepositoryName, asked: Instant) -> Proving {
        let key = (login, name.clone());
        lock(&self.under_way).entry(key.clone()).or_default().count += 1;
        Proving {
            of: self.clone(),
            key,
            asked,
        }
    }

    /// The upstream has refused the login something of the repository. Only what has been proven before, or is being asked
    /// for, is noted: names are clients' to think up.
    pub(crate) fn refuse(&self, login: LoginId, name: &RepositoryName, now: Instant) {
        let key = (login, name.clone());
        let mut under_way = lock(&self.under_way);
        if let Some(each) = under_way.get_mut(&key) {
            each.refused = Some(now);
        }
        let entry = self.table.entry(key);
        entry.and_compute_with(|known| match known {
            Some(_) => Op::Put(Entry {
                until: now,
                refused: Some(now),
            }),
            None => Op::Nop,
        });
    }
}

/// When an entitlement ends that is proven now.
pub(crate) fn ends(now: Instant, grant_for: Duration, good_until: Option<Instant>) -> Instant {
    let end = now + grant_for;
    good_until.map_or(end, |good_until| good_until.min(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::login::{Keyed, Login, Who};

    const MINUTE: Duration = Duration::from_mins(1);

    fn ids() -> (LoginId, LoginId) {
        let keyed = Keyed::new();
        let id = |name: &str| {
            let who = Who::User {
                name: name.to_owned(),
                password: Secret::new("p"),
            };
            Login::new(&keyed, "a.io".parse().unwrap(), None, who).id()
        };
        (id("alice"), id("bob"))
    }

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn one_logins_proof_is_its_own_for_one_repository_and_a_while() {
        let ((alice, bob), table) = (ids(), Entitlements::default());
        let (app, other) = (name("team/app"), name("team/other"));
        let now = Instant::now();
        assert!(!table.holds(alice, &app, now));
        table.ask(alice, &app, now).proven(now + MINUTE);
        assert!(table.holds(alice, &app, now));
        assert!(!table.holds(bob, &app, now));
        assert!(!table.holds(alice, &other, now));
        assert!(!table.holds(alice, &app, now + MINUTE));
    }

    #[test]
    fn a_refusal_ends_it_and_no_older_answer_brings_it_back() {
        let ((alice, bob), table) = (ids(), Entitlements::default());
        let app = name("team/app");
        let now = Instant::now();
        for login in [alice, bob] {
            table.ask(login, &app, now).proven(now + MINUTE);
        }
        let (asked, refused) = (now + MINUTE / 6, now + MINUTE / 5);
        table.refuse(alice, &app, refused);
        assert!(!table.holds(alice, &app, refused));
        assert!(table.holds(bob, &app, refused), "another's is its own");
        table.ask(alice, &app, asked).proven(now + MINUTE);
        assert!(!table.holds(alice, &app, refused), "asked before that");
        let later = refused + MINUTE / 6;
        table.ask(alice, &app, later).proven(later + MINUTE);
        assert!(table.holds(alice, &app, later));
    }

    /// The first question was slow, and its yes came after another's no: nothing had been proven yet that the no could have
    /// ended, so that it was not noted, and the yes counted.
    #[test]
    fn a_refusal_is_not_overtaken_by_a_slower_answer_to_what_was_asked_before_it() {
        let ((alice, bob), table) = (ids(), Entitlements::default());
        let app = name("team/app");
        let now = Instant::now();
        let slow = table.ask(alice, &app, now);
        let other = table.ask(bob, &app, now);
        let refused = now + MINUTE / 6;
        table.refuse(alice, &app, refused);
        let later = table.ask(alice, &app, refused + MINUTE / 6);
        slow.proven(now + MINUTE);
        assert!(!table.holds(alice, &app, refused));
        other.proven(now + MINUTE);
        assert!(table.holds(bob, &app, refused));
        later.proven(now + MINUTE);
        assert!(table.holds(alice, &app, refused), "asked after it");
        assert!(lock(&table.under_way).is_empty());
    }

    #[test]
    fn refusals_of_what_was_never_proven_take_no_memory() {
        let ((alice, _), table) = (ids(), Entitlements::default());
        for n in 0..100 {
            table.refuse(alice, &name(&format!("made-up/{n}")), Instant::now());
        }
        table.table.run_pending_tasks();
        assert_eq!(table.table.entry_count(), 0);
        assert!(lock(&table.under_way).is_empty());
    }

    #[test]
    fn it_never_outlives_the_token_that_proved_it() {
        let now = Instant::now();
        let five = 5 * MINUTE;
        assert_eq!(ends(now, five, None), now + five);
        assert_eq!(ends(now, five, Some(now + MINUTE)), now + MINUTE);
        assert_eq!(ends(now, five, Some(now + 9 * MINUTE)), now + five);
    }
}
