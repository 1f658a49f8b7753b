//! The tokens that this mirror gives out: each stands for a login that its upstream has let in, for a short while.
//!
//! Nobody can make one up: it is a keyed hash of 256 random bits, and what it is looked up by is another one. Whoever gives
//! a login again while its token has some life left gets that token, so that no login takes the place of others', however
//! often it is given. Tokens of nobody are another matter: they open what is open, so that they need not be secret, and none
//! of them is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use url::Url;

use super::{Keyed, Login, LoginId, Who};
use crate::config::Secret;
use crate::oci::Registry;

/// Tokens of logins that are kept, at most. Whose token falls out is asked to log in again.
const SESSIONS: u64 = 50_000;
/// What a token of nobody begins with; the registry follows.
const ANYONE: &str = "anyone";

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The login; none for a token that is bound to no registry and opens nothing.
    pub login: Option<Arc<Login>>,
}

/// The tokens that have been given out.
#[derive(Clone, Debug)]
pub struct Sessions {
    keyed: Keyed,
    tokens: Cache<[u8; 32], Open>,
    /// The token of each login that was given out last.
    given: Cache<LoginId, Given>,
}

/// What stands for a login until then.
#[derive(Clone, Debug)]
struct Open {
    login: Arc<Login>,
    until: Instant,
}

/// What a token is made from, and its end.
#[derive(Clone, Copy)]
struct Given {
    seed: [u8; 32],
    until: Instant,
}

/// What has come to its end is not kept.
struct Ends;

impl<K> Expiry<K, Open> for Ends {
    fn expire_after_create(&self, _: &K, open: &Open, now: Instant) -> Option<Duration> {
        Some(open.until.saturating_duration_since(now))
    }
}

impl<K> Expiry<K, Given> for Ends {
    fn expire_after_create(&self, _: &K, given: &Given, now: Instant) -> Option<Duration> {
        Some(given.until.saturating_duration_since(now))
    }

    fn expire_after_update(
        &self,
        _: &K,
        given: &Given,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(given.until.saturating_duration_since(now))
    }
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Given")
    }
}

impl Default for Sessions {
    fn default() -> Self {
        let lru = EvictionPolicy::lru;
        let tokens = Cache::builder().eviction_policy(lru()).expire_after(Ends);
        let given = Cache::builder().eviction_policy(lru()).expire_after(Ends);
        Self {
            keyed: Keyed::new(),
            tokens: tokens.max_capacity(SESSIONS).build(),
            given: given.max_capacity(SESSIONS).build(),
        }
    }
}

impl Sessions {
    /// The login of `who` at `registry`, which has this endpoint.
    pub fn login(&self, registry: Registry, endpoint: Option<Url>, who: Who) -> Arc<Login> {
        Arc::new(Login::new(&self.keyed, registry, endpoint, who))
    }

    /// A token for a login that its upstream has let in until then, and the end of it: that, or an earlier one where the
    /// login has a token already that lives half as long at least.
    pub fn open(&self, login: Arc<Login>, now: Instant, until: Instant) -> (Secret, Instant) {
        if login.is_anyone() {
            let token = Secret::new(format!("{ANYONE}.{}", login.registry()));
            return (token, until);
        }
        let half = until.saturating_duration_since(now) / 2;
        let serves = |given: &Given| given.until <= until && now + half <= given.until;
        let id = login.id();
        if let Some(given) = self.given.get(&id).filter(serves) {
            let token = self.token(&given);
            if self.find(token.expose(), now).is_some() {
                return (token, given.until);
            }
        }
        let given = Given {
            seed: rand::random(),
            until,
        };
        let token = self.token(&given);
        self.given.insert(id, given);
        let open = Open { login, until };
        self.tokens.insert(self.key(token.expose()), open);
        (token, until)
    }

    /// Only those of logins that are taken as they were go on counting.
    pub fn retain(&self, takes: impl Fn(&Login) -> bool) {
        for (key, open) in &self.tokens {
            if !takes(&open.login) {
                self.tokens.invalidate(&*key);
            }
        }
    }

    fn token(&self, given: &Given) -> Secret {
        let seed = hex::encode(given.seed);
        Secret::new(hex::encode(self.keyed.hash(&["session", &seed])))
    }

    /// A token that is bound to no registry, for clients that want one before they say what for.
    pub fn unbound() -> Secret {
        Secret::new(ANYONE)
    }

    /// What a token stands for; `None` if it is none of ours, or none any more.
    pub fn find(&self, token: &str, now: Instant) -> Option<Session> {
        if let Some(registry) = token.strip_prefix(ANYONE) {
            return self.of_nobody(registry);
        }
        let Open { login, until } = self.tokens.get(&self.key(token))?;
        (now < until).then_some(Session { login: Some(login) })
    }

    fn of_nobody(&self, rest: &str) -> Option<Session> {
        let login = match rest.strip_prefix('.') {
            None if rest.is_empty() => None,
            None => return None,
            Some(registry) => Some(self.login(registry.parse().ok()?, None, Who::Anyone)),
        };
        Some(Session { login })
    }

    fn key(&self, token: &str) -> [u8; 32] {
        self.keyed.hash(&["token", token])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn alice(sessions: &Sessions) -> Arc<Login> {
        let who = Who::User {
            name: "alice".to_owned(),
            password: Secret::new("canary-1"),
        };
        let endpoint = Some("https://a.io".parse().unwrap());
        sessions.login("a.io".parse().unwrap(), endpoint, who)
    }

    #[test]
    fn a_token_stands_for_its_login_until_its_time_is_over() {
        let sessions = Sessions::default();
        let (login, now) = (alice(&sessions), Instant::now());
        let until = now + Duration::from_mins(5);
        let (token, end) = sessions.open(Arc::clone(&login), now, until);
        assert_eq!(end, until);
        assert_eq!(token.expose().len(), 64);
        let found = sessions.find(token.expose(), now).unwrap();
        assert_eq!(found.login, Some(login));
        assert_eq!(sessions.find(token.expose(), until), None);
        assert_eq!(Sessions::default().find(token.expose(), now), None);
        for wrong in ["", "anyoneelse", "anyone.", "anyone.a b", "canary-1"] {
            assert_eq!(sessions.find(wrong, now), None, "{wrong}");
        }
        assert!(!format!("{sessions:?}").contains(token.expose()));
    }

    #[test]
    fn a_login_that_is_given_again_and_again_takes_no_other_logins_place() {
        let sessions = Sessions::default();
        let (login, now) = (alice(&sessions), Instant::now());
        let minutes = |n: u64| Duration::from_mins(n);
        let mut tokens = std::collections::HashSet::new();
        for n in 0..600 {
            let now = now + Duration::from_secs(n);
            let (token, end) = sessions.open(Arc::clone(&login), now, now + minutes(5));
            assert!(end <= now + minutes(5) && end >= now + minutes(5) / 2);
            tokens.insert(token.expose().to_owned());
        }
        assert!((2..=5).contains(&tokens.len()), "{}", tokens.len());
        // Never longer than what the upstream says now.
        let until = now + Duration::from_secs(1);
        let (short, end) = sessions.open(login, now, until);
        assert_eq!(end, until);
        assert!(!tokens.contains(short.expose()));
    }

    #[test]
    fn tokens_of_registries_that_take_no_logins_any_more_are_dropped() {
        let sessions = Sessions::default();
        let (login, now) = (alice(&sessions), Instant::now());
        let until = now + Duration::from_mins(5);
        let (token, _) = sessions.open(Arc::clone(&login), now, until);
        let find = || sessions.find(token.expose(), now);
        sessions.retain(|login| login.registry().as_str() == "a.io");
        assert!(find().is_some());
        sessions.retain(|login| login.registry().as_str() == "b.io");
        assert_eq!(find(), None);
        let (new, _) = sessions.open(login, now, until);
        assert!(sessions.find(new.expose(), now).is_some());
        assert_eq!(find(), None, "it does not come back");
    }

    #[test]
    fn tokens_of_nobody_open_what_is_open_and_fill_no_memory() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let login = sessions.login("a.io:5000".parse().unwrap(), None, Who::Anyone);
        let (token, _) = sessions.open(Arc::clone(&login), now, now);
        assert_eq!(
            sessions.find(token.expose(), now).unwrap().login,
            Some(login)
        );
        let unbound = Sessions::unbound();
        assert_eq!(sessions.find(unbound.expose(), now).unwrap().login, None);
        sessions.tokens.run_pending_tasks();
        assert_eq!(sessions.tokens.entry_count(), 0);
    }
}
