//! The tokens that this mirror gives out: each stands for a login that its upstream has let in, for a short while.
//!
//! Nobody can make one up: it is 256 random bits, and what is kept is its keyed hash. Those of nobody are another matter:
//! they open what is open, so that they need not be secret, and none of them is kept.

use std::sync::Arc;
use std::time::Instant;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::{Keyed, Login, Who};
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
    tokens: Cache<[u8; 32], (Arc<Login>, Instant)>,
}

impl Default for Sessions {
    fn default() -> Self {
        let tokens = Cache::builder().eviction_policy(EvictionPolicy::lru());
        Self {
            keyed: Keyed::new(),
            tokens: tokens.max_capacity(SESSIONS).build(),
        }
    }
}

impl Sessions {
    /// The login of `who` at `registry`.
    pub fn login(&self, registry: Registry, who: Who) -> Arc<Login> {
        Arc::new(Login::new(&self.keyed, registry, who))
    }

    /// A token for a login that its upstream has let in, good until then.
    pub fn open(&self, login: Arc<Login>, until: Instant) -> Secret {
        if login.is_anyone() {
            return Secret::new(format!("{ANYONE}.{}", login.registry()));
        }
        let token = hex::encode(rand::random::<[u8; 32]>());
        self.tokens.insert(self.key(&token), (login, until));
        Secret::new(token)
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
        let (login, until) = self.tokens.get(&self.key(token))?;
        (now < until).then_some(Session { login: Some(login) })
    }

    fn of_nobody(&self, rest: &str) -> Option<Session> {
        let login = match rest.strip_prefix('.') {
            None if rest.is_empty() => None,
            None => return None,
            Some(registry) => Some(self.login(registry.parse().ok()?, Who::Anyone)),
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
        sessions.login("a.io".parse().unwrap(), who)
    }

    #[test]
    fn a_token_stands_for_its_login_until_its_time_is_over() {
        let sessions = Sessions::default();
        let (login, now) = (alice(&sessions), Instant::now());
        let until = now + Duration::from_mins(5);
        let token = sessions.open(Arc::clone(&login), until);
        let other = sessions.open(Arc::clone(&login), until);
        assert_ne!(token, other);
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
    fn tokens_of_nobody_open_what_is_open_and_fill_no_memory() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let login = sessions.login("a.io:5000".parse().unwrap(), Who::Anyone);
        let token = sessions.open(Arc::clone(&login), now);
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
