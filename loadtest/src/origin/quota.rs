//! Docker Hub's pull limit: manifest GETs are counted per account, or per
//! address for anonymous clients.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::reply::Reply;

/// How many manifests may be fetched.
#[derive(Clone, Debug)]
pub struct Quota {
    /// For anonymous clients, per window.
    pub anonymous: i64,
    /// For each user, per window.
    pub user: i64,
    /// The window, as `ratelimit-limit` says it and as it is kept.
    pub window: Duration,
    /// Reported as `docker-ratelimit-source` for anonymous clients in place of
    /// their address.
    pub source: Option<String>,
    /// Whether HEAD is refused too once the quota is spent.
    pub refuses_head: bool,
}

impl Default for Quota {
    /// Docker Hub's: 100 pulls in 6 hours, 200 for users.
    fn default() -> Self {
        Self {
            anonymous: 100,
            user: 200,
            window: Duration::from_hours(6),
            source: None,
            refuses_head: false,
        }
    }
}

/// What has been spent, by source.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<HashMap<String, Account>>);

#[derive(Debug)]
struct Account {
    limit: i64,
    spent: i64,
    since: Instant,
}

/// Whether a request costs quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    Free,
    Pull,
}

/// The quota after a request.
#[derive(Debug)]
pub(crate) struct Standing {
    limit: i64,
    remaining: i64,
    window: u64,
    source: String,
    pub(crate) refused: bool,
}

impl Ledger {
    /// Charges a request to its source.
    pub(crate) fn charge(
        &self,
        quota: &Quota,
        user: Option<&str>,
        address: &str,
        cost: Cost,
    ) -> Standing {
        let limit = if user.is_some() {
            quota.user
        } else {
            quota.anonymous
        };
        let source = user.or(quota.source.as_deref()).unwrap_or(address);
        let mut accounts = self.0.lock().expect("nobody panics with the lock");
        let now = Instant::now();
        let account = accounts.entry(source.to_owned()).or_insert(Account {
            limit,
            spent: 0,
            since: now,
        });
        if now.duration_since(account.since) >= quota.window {
            *account = Account {
                limit,
                spent: 0,
                since: now,
            };
        }
        let spent_out = account.spent >= limit;
        let refused = spent_out && (cost == Cost::Pull || quota.refuses_head);
        if cost == Cost::Pull && !refused {
            account.spent += 1;
        }
        Standing {
            limit,
            remaining: limit - account.spent,
            window: quota.window.as_secs(),
            source: source.to_owned(),
            refused,
        }
    }

    /// What is left to the source that has the least.
    pub(crate) fn left(&self, quota: &Quota) -> i64 {
        let accounts = self.0.lock().expect("nobody panics with the lock");
        let now = Instant::now();
        let running = accounts
            .values()
            .filter(|account| now.duration_since(account.since) < quota.window);
        let left = running.map(|account| account.limit - account.spent);
        left.min().unwrap_or(quota.anonymous)
    }

    /// Starts a new window for every source.
    pub(crate) fn reset(&self) {
        self.0.lock().expect("nobody panics with the lock").clear();
    }
}

impl Standing {
    /// Adds Docker Hub's headers.
    pub(crate) fn report(&self, reply: Reply) -> Reply {
        reply
            .header(
                "ratelimit-limit",
                format!("{};w={}", self.limit, self.window),
            )
            .header(
                "ratelimit-remaining",
                format!("{};w={}", self.remaining, self.window),
            )
            .header("docker-ratelimit-source", &self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pulls_are_counted_by_source_until_the_window_ends() {
        tokio::time::pause();
        let quota = Quota {
            anonymous: 2,
            ..Quota::default()
        };
        let ledger = Ledger::default();
        let pull = |user| ledger.charge(&quota, user, "192.0.2.1", Cost::Pull);
        assert_eq!(
            ledger
                .charge(&quota, None, "192.0.2.1", Cost::Free)
                .remaining,
            2
        );
        assert_eq!(pull(None).remaining, 1);
        assert_eq!(pull(None).remaining, 0);
        assert!(pull(None).refused);
        assert_eq!(ledger.left(&quota), 0);
        assert_eq!(pull(Some("alice")).remaining, 199);
        assert!(!ledger.charge(&quota, None, "192.0.2.1", Cost::Free).refused);
        tokio::time::advance(quota.window).await;
        assert_eq!(ledger.left(&quota), 2);
        assert_eq!(pull(None).remaining, 1);
    }
}
