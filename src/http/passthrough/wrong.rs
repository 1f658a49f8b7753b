//! Wrong logins, counted by where they come from: beyond a few in a minute none from there is shown to a registry, which
//! would otherwise take the mirror for whoever guesses passwords.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use crate::http::ClientKey;

/// How many may be wrong in a row.
const MOST: u32 = 20;
/// For how long each is counted.
const WINDOW: Duration = Duration::from_mins(1);
/// Clients that are remembered.
const CLIENTS: u64 = 10_000;

/// See the file's own words.
#[derive(Clone, Debug)]
pub(super) struct Wrong(Cache<ClientKey, Arc<AtomicU32>>);

impl Default for Wrong {
    fn default() -> Self {
        let cache = Cache::builder().time_to_live(WINDOW);
        Self(cache.max_capacity(CLIENTS).build())
    }
}

impl Wrong {
    /// When to come back, where too many were wrong. Whoever is behind a proxy that names nobody is not counted.
    pub(super) fn refuses(&self, key: Option<ClientKey>) -> Option<Duration> {
        let counted = self.0.get(&key?)?;
        (counted.load(Ordering::Relaxed) >= MOST).then_some(WINDOW)
    }

    /// One more was wrong.
    pub(super) fn note(&self, key: Option<ClientKey>) {
        if let Some(key) = key {
            let counted = self.0.get_with(key, Arc::default);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_wrong_logins_is_refused_and_others_are_not() {
        let wrong = Wrong::default();
        let key = |n: u8| Some(ClientKey::from(std::net::IpAddr::from([192, 0, 2, n])));
        for _ in 0..MOST {
            assert_eq!(wrong.refuses(key(1)), None);
            wrong.note(key(1));
        }
        assert_eq!(wrong.refuses(key(1)), Some(WINDOW));
        assert_eq!(wrong.refuses(key(2)), None);
        assert_eq!(wrong.refuses(None), None);
    }
}
