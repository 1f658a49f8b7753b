//! What the logins of clients may see: a login is entitled to a repository while the upstream has said so to that login, a
//! short while ago.
//!
//! Proven by an answer of the upstream to a question that was sent with the login; over after the configured time, and never
//! later than the token that the question was sent with. A refusal of anything in the repository ends it at once, and no
//! answer to what was asked before that refusal brings it back.
//!
//! Owns the table. Pure otherwise: the caller says what time it is.

use std::time::{Duration, Instant};

use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::login::LoginId;
use crate::oci::RepositoryName;

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
pub(crate) struct Entitlements(Cache<Key, Entry>);

impl Default for Entitlements {
    fn default() -> Self {
        let table = Cache::builder().eviction_policy(EvictionPolicy::lru());
        Self(table.max_capacity(MOST).build())
    }
}

impl Entitlements {
    pub(crate) fn holds(&self, login: LoginId, name: &RepositoryName, now: Instant) -> bool {
        let entry = self.0.get(&(login, name.clone()));
        entry.is_some_and(|entry| now < entry.until)
    }

    /// The upstream has answered a question that was sent with the login at `asked`.
    pub(crate) fn prove(
        &self,
        login: LoginId,
        name: &RepositoryName,
        asked: Instant,
        until: Instant,
    ) {
        let entry = self.0.entry((login, name.clone()));
        entry.and_compute_with(|known| {
            let refused = known.and_then(|known| known.into_value().refused);
            if refused.is_some_and(|refused| asked <= refused) {
                return Op::Nop;
            }
            Op::Put(Entry { until, refused })
        });
    }

    /// The upstream has refused the login something of the repository. Only what has been proven before is noted: names
    /// are clients' to think up.
    pub(crate) fn refuse(&self, login: LoginId, name: &RepositoryName, now: Instant) {
        let entry = self.0.entry((login, name.clone()));
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
            Login::new(&keyed, "a.io".parse().unwrap(), who).id()
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
        table.prove(alice, &app, now, now + MINUTE);
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
            table.prove(login, &app, now, now + MINUTE);
        }
        let (asked, refused) = (now + MINUTE / 6, now + MINUTE / 5);
        table.refuse(alice, &app, refused);
        assert!(!table.holds(alice, &app, refused));
        assert!(table.holds(bob, &app, refused), "another's is its own");
        table.prove(alice, &app, asked, now + MINUTE);
        assert!(!table.holds(alice, &app, refused), "asked before that");
        let later = refused + MINUTE / 6;
        table.prove(alice, &app, later, later + MINUTE);
        assert!(table.holds(alice, &app, later));
    }

    #[test]
    fn refusals_of_what_was_never_proven_take_no_memory() {
        let ((alice, _), table) = (ids(), Entitlements::default());
        for n in 0..100 {
            table.refuse(alice, &name(&format!("made-up/{n}")), Instant::now());
        }
        table.0.run_pending_tasks();
        assert_eq!(table.0.entry_count(), 0);
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
