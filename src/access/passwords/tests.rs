//! What checks of passwords cost, counted.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;

use super::*;
use crate::config::Config;

fn file(users: &[(&str, &str)]) -> Htpasswd {
    let dir = tempfile::tempdir().unwrap();
    let lines = users
        .iter()
        .map(|(user, password)| format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap()));
    let path = dir.path().join("users");
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let config = format!("[access]\nhtpasswd_file = {path:?}\n");
    let access = Config::from_toml(&config).unwrap().access.unwrap();
    access.passwords.unwrap().users
}

struct Bench {
    users: Arc<Users>,
    key: Keyed,
    bounds: Arc<Bounds>,
}

impl Bench {
    fn new() -> Self {
        Self {
            users: Arc::new(Users::new(file(&[("alice", "secret"), ("bob", "other")]))),
            key: Keyed::new(),
            bounds: Arc::new(Bounds::new(Arc::default())),
        }
    }

    async fn check(&self, user: &str, password: &str, from: &str) -> Result<Account, LoginError> {
        let password = Secret::new(password);
        let (key, bounds) = (&self.key, &self.bounds);
        let from = from.parse().ok();
        self.users.check(user, &password, key, bounds, from).await
    }

    /// Checks that came to an end or run.
    fn known(&self) -> usize {
        lock(&self.users.verdicts).len()
    }
}

const HERE: &str = "192.0.2.1";
const ELSEWHERE: &str = "192.0.2.2";

/// Nobody's hash has to be one that a check takes as long for as for any.
#[test]
fn an_unknown_users_password_is_checked_as_any_other() {
    for cost in [4, 10, 15] {
        let parts: bcrypt::HashParts = nobodys(cost).parse().unwrap();
        assert_eq!(parts.get_cost(), cost);
    }
    assert!(!bcrypt::verify("secret", &nobodys(4)).unwrap());
    let users = Users::new(file(&[("alice", "secret")]));
    assert_eq!(
        users.hash_of("nobody"),
        nobodys(4),
        "as costly as the file's own"
    );
}

#[tokio::test]
async fn one_check_serves_all_who_log_in_alike() {
    let bench = Bench::new();
    // All of them ask before the one check has a core.
    let cores = bench.bounds.cores.available_permits();
    let held = bench
        .bounds
        .cores
        .acquire_many(u32::try_from(cores).unwrap());
    let held = held.await.unwrap();
    let running = AtomicUsize::new(0);
    let asks = join_all((0..100).map(|_| async {
        running.fetch_add(1, Ordering::Relaxed);
        bench.check("alice", "secret", HERE).await
    }));
    let free = async {
        while running.load(Ordering::Relaxed) < 100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.bounds.places.available_permits(), WAITING - 1);
        drop(held);
    };
    let (answers, ()) = tokio::join!(asks, free);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(bench.known(), 1);
}

/// Wrong passwords from one place stop to be looked at; what was right there before goes on, and so does every other place.
#[tokio::test]
async fn a_flood_of_wrong_passwords_is_refused_and_hurts_nobody_else() {
    let bench = Bench::new();
    bench.check("bob", "other", HERE).await.unwrap();
    let mut refused = 0;
    for number in 0..100 {
        match bench.check("alice", &number.to_string(), HERE).await {
            Err(LoginError::TooMany { retry_after }) => {
                assert!(retry_after <= Duration::from_secs(6) && !retry_after.is_zero());
                refused += 1;
            }
            Err(LoginError::Wrong) => {}
            other => panic!("{other:?}"),
        }
    }
    let checked = bench.known() - 1;
    assert!(
        refused >= 80 && checked + refused == 100,
        "{checked} checked, {refused} refused"
    );
    assert!(
        bench.check("bob", "other", HERE).await.is_ok(),
        "a verdict that is remembered"
    );
    assert_eq!(
        bench.check("alice", "0", HERE).await,
        Err(LoginError::Wrong),
        "costs nothing"
    );
    assert!(bench.check("alice", "secret", ELSEWHERE).await.is_ok());
}

#[tokio::test]
async fn no_more_wait_for_a_check_than_can_be_served_soon() {
    let bench = Bench::new();
    let cores = bench.bounds.cores.available_permits();
    let held = bench
        .bounds
        .cores
        .acquire_many(u32::try_from(cores).unwrap());
    let held = held.await.unwrap();
    let ask = |number: usize| {
        let from = format!("198.51.100.{number}");
        let bench = &bench;
        async move { bench.check("alice", &number.to_string(), &from).await }
    };
    let waiting = join_all((0..WAITING).map(ask));
    let one_more = async {
        while bench.bounds.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = bench.check("alice", "secret", HERE).await;
        assert_eq!(refused, Err(LoginError::Busy { retry_after: SOON }));
        drop(held);
    };
    let (answers, ()) = tokio::join!(waiting, one_more);
    assert!(
        answers
            .iter()
            .all(|answer| *answer == Err(LoginError::Wrong))
    );
    assert!(bench.check("alice", "secret", HERE).await.is_ok());
}

#[tokio::test]
async fn verdicts_are_bounded_and_right_ones_stay_longest() {
    let bench = Bench::new();
    bench.check("alice", "secret", HERE).await.unwrap();
    let now = Instant::now();
    let mut verdicts = lock(&bench.users.verdicts);
    for number in 0..REMEMBERED as u64 * 2 {
        make_room(&mut verdicts, now);
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&number.to_le_bytes());
        let until = now + WRONG_FOR;
        verdicts.insert(
            fingerprint,
            Verdict::Known {
                right: false,
                until,
            },
        );
        assert!(verdicts.len() <= REMEMBERED);
    }
    let right = |verdict: &Verdict| matches!(verdict, Verdict::Known { right: true, .. });
    assert_eq!(
        verdicts.values().filter(|verdict| right(verdict)).count(),
        1
    );
}
