//! Decisions, and logins that change while the process runs.

use std::net::IpAddr;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::config::Secret;

const TOKEN: &str = "0123456789abcdef0123";

/// A gate over files of its own.
pub(super) struct Bench {
    pub(super) gate: Gate,
    pub(super) dir: TempDir,
}

impl Bench {
    /// `lines` stand in `[access]`; `users` and `token` are files beside it.
    pub(super) fn new(lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_users(dir.path(), &[("alice", "secret"), ("bob", "other")]);
        std::fs::write(dir.path().join("token"), TOKEN).unwrap();
        std::fs::write(dir.path().join("other"), "fedcba9876543210fedc").unwrap();
        let at = dir.path().display();
        let lines = lines.replace("DIR", &at.to_string());
        let config = Config::from_toml(&format!("[access]\n{lines}")).unwrap();
        let gate = Gate::new(&config);
        Self { gate, dir }
    }

    pub(super) async fn login(&self, user: &str, password: &str) -> Result<Client, LoginError> {
        let attempt = Attempt::Basic {
            user: user.to_owned(),
            password: Secret::new(password),
        };
        identify(&self.gate, at("192.0.2.1"), Ok(Some(attempt))).await
    }

    fn may(&self, client: &Client, repository: &str) -> Result<(), Refusal> {
        let repository = repository.parse().unwrap();
        self.gate.permit(client, &repository).map(|_| ())
    }
}

/// As a request does, whose client gives up on it at some time.
async fn identify(
    gate: &Gate,
    facts: Facts,
    login: Result<Option<Attempt>, Malformed>,
) -> Result<Client, LoginError> {
    let until = Instant::now() + Duration::from_mins(1);
    gate.identify(facts, login, until).await
}

pub(super) const LOGINS: &str =
    "htpasswd_file = 'DIR/users'\ntokens = [{ name = 'ci', file = 'DIR/token' }]\n";

/// In one step, as whoever replaces a file should.
pub(super) fn write_users(dir: &Path, users: &[(&str, &str)]) {
    let line = |(user, password): &(&str, &str)| {
        let hash = bcrypt::hash(password, 4).unwrap();
        format!("{user}:{hash}\n")
    };
    let new = dir.join("users.new");
    std::fs::write(&new, users.iter().map(line).collect::<String>()).unwrap();
    std::fs::rename(new, dir.join("users")).unwrap();
}

pub(super) fn at(address: &str) -> Facts {
    let address: IpAddr = address.parse().unwrap();
    Facts {
        address: Some(address),
        counted_at: Some(address),
        passed_on: false,
        certificate: Arc::default(),
    }
}

fn with_certificate(name: &str) -> Facts {
    Facts {
        certificate: ["other".to_owned(), name.to_owned()].into(),
        ..at("192.0.2.1")
    }
}

#[tokio::test]
async fn without_rules_whoever_is_known_may_pull_all_and_others_nothing() {
    let bench = Bench::new(&format!("{LOGINS}trusted = ['10.0.0.0/8']\n"));
    let gate = &bench.gate;
    let nobody = identify(gate, at("192.0.2.1"), Ok(None)).await.unwrap();
    assert_eq!(bench.may(&nobody, "a.io/x"), Err(Refusal::LoginNeeded));
    assert_eq!(gate.admits(&nobody), Err(Refusal::LoginNeeded));
    assert_eq!(gate.admits_ping(&nobody), Err(Refusal::LoginNeeded));
    assert!(gate.visible(&nobody).is_err());
    let trusted = identify(gate, at("10.1.2.3"), Ok(None)).await.unwrap();
    let shown = with_certificate("node.example");
    let shown = identify(gate, shown, Ok(None)).await.unwrap();
    let alice = bench.login("alice", "secret").await.unwrap();
    let ci = bench.login("ci", TOKEN).await.unwrap();
    let bearer = Attempt::Bearer(Secret::new(TOKEN));
    let bearer = identify(gate, at("192.0.2.1"), Ok(Some(bearer)))
        .await
        .unwrap();
    for (client, name) in [
        (trusted, None),
        (shown, Some("certificate:other")),
        (alice, Some("user:alice")),
        (ci, Some("token:ci")),
        (bearer, Some("token:ci")),
    ] {
        assert_eq!(client.name().as_deref(), name);
        assert_eq!(bench.may(&client, "a.io/x"), Ok(()), "{client:?}");
        assert_eq!(gate.admits_ping(&client), Ok(()));
        let visible = gate.visible(&client).unwrap();
        assert!(visible.shows(&"a.io".parse().unwrap(), &"x".parse().unwrap()));
    }
}

#[tokio::test]
async fn wrong_logins_are_wrong_whoever_may_pull_without() {
    let bench = Bench::new(&format!("{LOGINS}trusted = ['192.0.2.1']\n"));
    for (user, password) in [
        ("alice", "other"),
        ("carol", "secret"),
        ("", "secret"),
        ("ci", "secret"),
        ("alice", TOKEN),
        ("token", TOKEN),
    ] {
        let refused = bench.login(user, password).await;
        assert_eq!(refused.unwrap_err(), LoginError::Wrong, "{user}");
    }
    let bad = identify(&bench.gate, at("192.0.2.1"), Err(Malformed)).await;
    assert_eq!(bad.unwrap_err(), LoginError::Wrong);
    let bearer = Attempt::Bearer(Secret::new("secret"));
    let bad = identify(&bench.gate, at("192.0.2.1"), Ok(Some(bearer))).await;
    assert_eq!(bad.unwrap_err(), LoginError::Wrong);
}

/// What clients send for an upstream of theirs is not for a mirror that has no logins.
#[tokio::test]
async fn logins_are_not_looked_at_where_there_are_none() {
    let bench = Bench::new("trusted = ['10.0.0.0/8']\n");
    let client = bench.login("alice", "wrong").await.unwrap();
    assert!(!client.has_login());
    assert_eq!(bench.may(&client, "a.io/x"), Err(Refusal::Denied));
    assert_eq!(
        bench.gate.admits_ping(&client),
        Ok(()),
        "no login would help"
    );
    let client = identify(&bench.gate, at("10.0.0.1"), Err(Malformed)).await;
    assert_eq!(bench.may(&client.unwrap(), "a.io/x"), Ok(()));
}

#[tokio::test]
async fn the_first_rule_that_has_the_client_and_the_repository_decides() {
    let bench = Bench::new(&format!(
        "{LOGINS}trusted = ['10.0.0.0/8']\nrules = [
            {{ clients = ['address:10.9.0.0/16'], repositories = ['**'], allow = false }},
            {{ clients = ['*'], repositories = ['a.io/open/**'], allow = true }},
            {{ clients = ['user:alice'], repositories = ['a.io/team/secret'], allow = false }},
            {{ clients = ['user:alice', 'token:c*'], repositories = ['a.io/team/**'], allow = true }},
            {{ clients = ['certificate:*.example'], repositories = ['a.io/nodes'], allow = true }},
            {{ clients = ['authenticated'], repositories = ['b.io/**'], allow = true }},
            {{ clients = ['anonymous'], repositories = ['b.io/only-anonymous'], allow = true }},
        ]\n"
    ));
    let gate = &bench.gate;
    let alice = bench.login("alice", "secret").await.unwrap();
    let bob = bench.login("bob", "other").await.unwrap();
    let ci = bench.login("ci", TOKEN).await.unwrap();
    let node = with_certificate("n1.example");
    let node = identify(gate, node, Ok(None)).await.unwrap();
    let nobody = identify(gate, at("192.0.2.1"), Ok(None)).await.unwrap();
    let trusted = identify(gate, at("10.1.0.1"), Ok(None)).await.unwrap();
    let barred = identify(gate, at("10.9.0.1"), Ok(None)).await.unwrap();
    let (login, denied) = (Err(Refusal::LoginNeeded), Err(Refusal::Denied));
    for (client, repository, decided) in [
        (&nobody, "a.io/open/x", Ok(())),
        (&nobody, "a.io/team/x", login),
        (&nobody, "b.io/x", login),
        (&nobody, "b.io/only-anonymous", Ok(())),
        (&alice, "a.io/team/x", Ok(())),
        (&alice, "a.io/team/secret", denied),
        (&alice, "b.io/x", Ok(())),
        (&alice, "c.io/x", denied),
        (&bob, "a.io/team/x", denied),
        (&bob, "b.io/x", Ok(())),
        (&ci, "a.io/team/secret", Ok(())),
        (&node, "a.io/nodes", Ok(())),
        (&node, "a.io/team/x", login),
        (&node, "b.io/x", Ok(())),
        (&trusted, "b.io/x", Ok(())),
        (&trusted, "a.io/nodes", login),
        (&barred, "a.io/open/x", login),
        (&barred, "b.io/x", login),
    ] {
        assert_eq!(
            bench.may(client, repository),
            decided,
            "{:?} {repository}",
            client.name()
        );
        let repository: Repository = repository.parse().unwrap();
        let shown = gate
            .visible(client)
            .is_ok_and(|visible| visible.shows(&repository.registry, &repository.name));
        assert_eq!(shown, decided.is_ok());
    }
    assert_eq!(
        gate.admits_ping(&nobody),
        Ok(()),
        "it may pull some without a login"
    );
    assert_eq!(gate.admits_ping(&barred), login, "it may pull nothing");
}

/// All clients of a proxy came in by its address.
#[tokio::test]
async fn an_address_that_asks_for_others_lets_nobody_in_and_still_keeps_out() {
    let bench = Bench::new(&format!(
        "{LOGINS}trusted = ['10.0.0.0/8']\nrules = [
            {{ clients = ['address:192.0.2.0/24'], repositories = ['a.io/barred'], allow = false }},
            {{ clients = ['address:192.0.2.0/24', 'user:alice'], repositories = ['a.io/**'], allow = true }},
            {{ clients = ['authenticated'], repositories = ['b.io/**'], allow = true }},
        ]\n"
    ));
    let login = Err(Refusal::LoginNeeded);
    for (address, repository, itself, passed_on) in [
        ("192.0.2.1", "a.io/x", Ok(()), login),
        ("192.0.2.1", "a.io/barred", login, login),
        ("10.0.0.1", "b.io/x", Ok(()), login),
    ] {
        for (is_passed_on, decided) in [(false, itself), (true, passed_on)] {
            let facts = Facts {
                passed_on: is_passed_on,
                ..at(address)
            };
            let client = identify(&bench.gate, facts, Ok(None)).await.unwrap();
            assert_eq!(
                bench.may(&client, repository),
                decided,
                "{address} {repository}"
            );
        }
    }
    let attempt = Attempt::Basic {
        user: "alice".to_owned(),
        password: Secret::new("secret"),
    };
    let facts = Facts {
        passed_on: true,
        ..at("192.0.2.1")
    };
    let alice = identify(&bench.gate, facts, Ok(Some(attempt)))
        .await
        .unwrap();
    assert_eq!(bench.may(&alice, "a.io/x"), Ok(()));
    assert_eq!(bench.may(&alice, "a.io/barred"), Err(Refusal::Denied));
}

/// A client gives up on an answer's head after some time, and it may be the queue that is wrong about how long a check takes.
#[tokio::test(start_paused = true)]
async fn a_login_that_is_not_checked_in_time_is_told_to_come_back() {
    let bench = Bench::new(LOGINS);
    let held = bench.gate.0.passwords.hold().await;
    let late = bench.login("alice", "secret").await;
    assert!(matches!(late, Err(LoginError::Busy { .. })), "{late:?}");
    drop(held);
    assert!(bench.login("alice", "secret").await.is_ok());
}

/// What is known of logins outlives a configuration, as a SIGHUP brings another one.
#[tokio::test(start_paused = true)]
async fn another_configuration_asks_nobody_anew() {
    let mut bench = Bench::new(LOGINS);
    assert!(bench.login("alice", "secret").await.is_ok());
    let path = bench.dir.path().join("users");
    let config = format!("[access]\nhtpasswd_file = {path:?}\n");
    bench.gate = bench
        .gate
        .reconfigured(&Config::from_toml(&config).unwrap());
    let _held = bench.gate.0.passwords.hold().await;
    assert!(bench.login("alice", "secret").await.is_ok());
    assert!(bench.login("bob", "other").await.is_err());
}

#[tokio::test]
async fn passwords_and_tokens_are_replaced_while_the_process_runs() {
    let bench = Bench::new(LOGINS);
    let upkeep = tokio::spawn(bench.gate.clone().upkeep());
    assert!(bench.login("alice", "secret").await.is_ok());
    write_users(bench.dir.path(), &[("alice", "new")]);
    // An unknown user's password is checked anew by each file, and costs no more than the others.
    until(|| async { bench.login("alice", "secret").await.is_err() }).await;
    assert!(bench.login("alice", "new").await.is_ok());
    assert!(bench.login("bob", "other").await.is_err());

    let token = bench.dir.path().join("token");
    std::fs::write(&token, "fedcba9876543210fedc").unwrap();
    until(|| async { bench.login("ci", "fedcba9876543210fedc").await.is_ok() }).await;
    assert!(bench.login("ci", TOKEN).await.is_err());

    let users = bench.dir.path().join("users");
    std::fs::write(&users, "alice:plain\n").unwrap();
    std::fs::write(&token, "00112233445566778899").unwrap();
    // The token is looked at after the users.
    until(|| async { bench.login("ci", "00112233445566778899").await.is_ok() }).await;
    assert!(
        bench.login("alice", "new").await.is_ok(),
        "the old file counts"
    );
    upkeep.abort();
}

/// Whoever takes the last user out of a file, or empties a token's, wants no login to go on counting.
#[tokio::test]
async fn logins_that_are_taken_back_end_and_what_is_in_the_way_of_that_is_told() {
    const OTHER: &str = "fedcba9876543210fedc";
    let bench = Bench::new(
        "htpasswd_file = 'DIR/users'\ntokens = [{ name = 'ci', file = 'DIR/token' }, { name = 'cd', file = 'DIR/other' }]\n",
    );
    let upkeep = tokio::spawn(bench.gate.clone().upkeep());
    let write = |name: &str, text: &str| {
        let new = bench.dir.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, bench.dir.path().join(name)).unwrap();
    };
    assert!(bench.login("alice", "secret").await.is_ok());
    assert!(bench.login("ci", TOKEN).await.is_ok());
    assert!(bench.login("cd", OTHER).await.is_ok());
    write("users", "# nobody\n");
    write("other", TOKEN);
    until(|| async { bench.login("cd", OTHER).await.is_err() }).await;
    // One look may have found the one as it is now, and the other as it was.
    until(|| async { bench.login("alice", "secret").await.is_err() }).await;
    assert!(bench.login("cd", TOKEN).await.is_err(), "it is another's");
    assert!(bench.login("ci", TOKEN).await.is_ok());
    let told = |text: &'static str| {
        let gate = &bench.gate;
        move || {
            let mut troubles = gate.troubles().into_iter();
            let is_told = troubles.any(|trouble| trouble.error.contains(text));
            async move { is_told }
        }
    };
    until(told("the file of `cd` holds the token of `ci`")).await;
    // Then it is not in the way any more.
    write("token", "");
    until(|| async { bench.login("cd", TOKEN).await.is_ok() }).await;
    assert!(bench.login("ci", TOKEN).await.is_err());
    std::fs::remove_file(bench.dir.path().join("users")).unwrap();
    until(told("users cannot be read")).await;
    write_users(bench.dir.path(), &[("alice", "secret")]);
    until(|| async { bench.login("alice", "secret").await.is_ok() }).await;
    until(|| async { bench.gate.troubles().is_empty() }).await;
    upkeep.abort();
}

/// Waits for what the upkeep does every few seconds.
async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let waited = tokio::time::timeout(Duration::from_mins(1), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    waited.await.expect("it comes to hold");
}
