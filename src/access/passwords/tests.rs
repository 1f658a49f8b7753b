//! What checks of passwords cost, counted.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;

use super::*;
use crate::config::Config;

fn file(users: &[(&str, &str, u32)]) -> Htpasswd {
    let dir = tempfile::tempdir().unwrap();
    let lines = users.iter().map(|(user, password, cost)| {
        format!("{user}:{}\n", bcrypt::hash(password, *cost).unwrap())
    });
    let path = dir.path().join("users");
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let config = format!("[access]\nhtpasswd_file = {path:?}\n");
    let access = Config::from_toml(&config).unwrap().access.unwrap();
    access.passwords.unwrap().users
}

impl Passwords {
    /// Holds all cores, so that no check comes to an end.
    pub(in crate::access) async fn hold(&self) -> tokio::sync::OwnedSemaphorePermit {
        self.queue.hold().await
    }
}

/// A test that waits longer than this has failed.
const LONG: Duration = Duration::from_secs(30);

struct Bench {
    users: Users,
    checks: Arc<Passwords>,
}

impl Bench {
    fn new() -> Self {
        Self::with(&[("alice", "secret", 4), ("bob", "other", 4)])
    }

    fn with(users: &[(&str, &str, u32)]) -> Self {
        Self {
            users: Users::new(file(users)),
            checks: Arc::new(Passwords::new(2)),
        }
    }

    async fn check(&self, user: &str, password: &str, from: &str) -> Result<Account, LoginError> {
        let (password, from) = (Secret::new(password), from.parse().ok());
        self.checks.check(&self.users, user, &password, from).await
    }

    /// As many of them as there may be from there, all wrong.
    async fn guess(&self, from: &str) {
        for number in 0.. {
            let guessed = self.check("alice", &number.to_string(), from).await;
            if matches!(guessed, Err(LoginError::TooMany { .. })) {
                return;
            }
        }
    }

    /// Runs `asks`, of which no check comes to an end until then.
    async fn held<T>(&self, asks: impl Future<Output = T>, until: impl Fn(&Queue) -> bool) -> T {
        let held = self.checks.hold().await;
        let free = async {
            while !until(&self.checks.queue) {
                tokio::task::yield_now().await;
            }
            drop(held);
        };
        let ended = async { tokio::join!(asks, free).0 };
        let ended = tokio::time::timeout(LONG, ended).await;
        ended.expect("as many wait as are to")
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
    let bench = Bench::new();
    let hash = bench.users.hash_of("nobody", &bench.checks.key);
    assert_eq!(hash.text, nobodys(4), "as costly as the file's own");
    assert!(!hash.is_users);
}

/// Where one user's hash costs more than the others', that cost alone would tell who is none.
#[test]
fn unknown_users_cost_what_users_do_each_always_the_same() {
    let bench = Bench::with(&[("a", "a", 4), ("b", "b", 4), ("c", "c", 4), ("d", "d", 6)]);
    let cost = |user: usize| {
        let hash = bench.users.hash_of(&user.to_string(), &bench.checks.key);
        assert_eq!(hash.text, nobodys(hash.cost));
        hash.cost
    };
    let costs: Vec<_> = (0..1000).map(cost).collect();
    let dear = costs.iter().filter(|cost| **cost == 6).count();
    let cheap = costs.iter().filter(|cost| **cost == 4).count();
    assert_eq!(dear + cheap, 1000);
    assert!((150..350).contains(&dear), "{dear} of 1000, for a quarter");
    assert_eq!(costs, (0..1000).map(cost).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_check_serves_all_who_log_in_alike() {
    let bench = Bench::new();
    let asked = AtomicUsize::new(0);
    let asks = join_all((0..100).map(|_| async {
        asked.fetch_add(1, Ordering::Relaxed);
        bench.check("alice", "secret", HERE).await
    }));
    let all_have_asked = |queue: &Queue| {
        assert!(queue.len() <= 1);
        asked.load(Ordering::Relaxed) == 100
    };
    let answers = bench.held(asks, all_have_asked).await;
    assert!(answers.iter().all(Result::is_ok));
}

/// Wrong passwords from one place stop to be looked at; what was right there before goes on, and so does every other place.
#[tokio::test(start_paused = true)]
async fn a_flood_of_wrong_passwords_is_refused_and_hurts_nobody_else() {
    let bench = Bench::new();
    bench.check("bob", "other", HERE).await.unwrap();
    let (mut checked, mut refused) = (0, 0);
    for number in 0..100 {
        match bench.check("alice", &number.to_string(), HERE).await {
            Err(LoginError::TooMany { retry_after }) => {
                assert!(retry_after <= Duration::from_secs(6) && !retry_after.is_zero());
                refused += 1;
            }
            Err(LoginError::Wrong) => checked += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((checked, refused), (10, 90));
    let known = bench.check("bob", "other", HERE).await;
    assert!(known.is_ok(), "a verdict that is remembered");
    let again = bench.check("alice", "0", HERE).await;
    assert_eq!(again, Err(LoginError::Wrong), "costs nothing");
    assert!(bench.check("alice", "secret", ELSEWHERE).await.is_ok());
}

/// A verdict ended after five minutes, and whoever shared an address with a machine that had a wrong password in its
/// configuration was refused from then on.
#[tokio::test(start_paused = true)]
async fn whoever_was_right_stays_right_beside_a_flood_for_days() {
    let bench = Bench::new();
    bench.check("bob", "other", HERE).await.unwrap();
    for _ in 0..30 {
        tokio::time::advance(Duration::from_hours(23)).await;
        bench.guess(HERE).await;
        assert!(bench.check("bob", "other", HERE).await.is_ok());
    }
    // Nobody has used it since.
    tokio::time::advance(Duration::from_hours(25)).await;
    bench.guess(HERE).await;
    let unused = bench.check("bob", "other", HERE).await;
    assert!(matches!(unused, Err(LoginError::TooMany { .. })));
}

/// Every verdict ended with the file, so that all who share an address logged in anew at once, and most were refused.
#[tokio::test(start_paused = true)]
async fn what_becomes_of_a_file_changes_no_verdict_on_a_hash_that_stays() {
    let mut bench = Bench::new();
    bench.check("bob", "other", HERE).await.unwrap();
    bench.check("alice", "secret", HERE).await.unwrap();
    bench.guess(HERE).await;
    let bobs = bench.users.file.hash_of("bob").unwrap().expose().to_owned();
    let new = bcrypt::hash("new", 4).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    std::fs::write(&path, format!("alice:{new}\nbob:{bobs}\n")).unwrap();
    bench.users = Users::new(Htpasswd::read(&path).unwrap());
    assert!(bench.check("bob", "other", HERE).await.is_ok());
    let old = bench.check("alice", "secret", ELSEWHERE).await;
    assert_eq!(old, Err(LoginError::Wrong));
    assert!(bench.check("alice", "new", ELSEWHERE).await.is_ok());
    // One that is taken out of it is nobody at once.
    std::fs::write(&path, format!("alice:{new}\n")).unwrap();
    bench.users = Users::new(Htpasswd::read(&path).unwrap());
    let gone = bench.check("bob", "other", ELSEWHERE).await;
    assert_eq!(gone, Err(LoginError::Wrong));
}

/// A check that runs was counted as a wrong one, so that the eleventh of a site's machines was refused.
#[tokio::test]
async fn a_site_behind_one_address_may_all_log_in_at_once() {
    let users: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    let lines: Vec<_> = users.iter().map(|user| (&**user, &**user, 4)).collect();
    let bench = Bench::with(&lines);
    let asks = join_all(users.iter().map(|user| bench.check(user, user, HERE)));
    let answers = bench.held(asks, |queue| queue.len() == 2).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn no_more_wait_for_a_check_than_can_be_served_soon_and_strangers_are_half_of_them() {
    let bench = Bench::new();
    bench.check("alice", "secret", HERE).await.unwrap();
    let strangers = async |number: usize| {
        let from = format!("198.51.{}.{}", number / 256, number % 256);
        bench.check("alice", &number.to_string(), &from).await
    };
    let waiting = join_all((0..128).map(strangers));
    let one_more = async {
        while bench.checks.queue.len() < 128 {
            tokio::task::yield_now().await;
        }
        let refused = bench.check("bob", "other", ELSEWHERE).await;
        assert_eq!(refused, Err(LoginError::Busy { retry_after: SOON }));
        // From where somebody was right before.
        bench.check("bob", "other", HERE).await
    };
    let asks = async { tokio::join!(waiting, one_more) };
    let (answers, known) = bench.held(asks, |queue| queue.len() == 129).await;
    assert!(
        answers
            .iter()
            .all(|answer| *answer == Err(LoginError::Wrong))
    );
    assert!(known.is_ok());
    assert!(bench.check("bob", "other", ELSEWHERE).await.is_ok());
}

/// Bcrypt looks at no more than 72 bytes, so that a password of which only the rest is wrong was right.
#[tokio::test]
async fn a_password_is_no_longer_than_bcrypt_looks_at() {
    let longest = "x".repeat(72);
    let bench = Bench::with(&[("alice", &longest, 4)]);
    assert!(bench.check("alice", &longest, HERE).await.is_ok());
    let longer = bench.check("alice", &format!("{longest}y"), HERE).await;
    assert_eq!(longer, Err(LoginError::Wrong));
}
