//! Logins: how they are asked for, what is said of wrong ones, and where none of them turns up.

use std::fmt::Write as _;

use http::{Method, StatusCode};
use tempfile::tempdir;

use super::{PASSWORD, TOKEN, ask, basic, guarded, write_users};
use crate::harness::{Answer, Forebay, manifest_path, small_images};

const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
const NAME: &str = "library/app";

fn asks_for_login(answer: &Answer) -> bool {
    answer.status == UNAUTHORIZED
        && answer.header("www-authenticate") == "Basic realm=\"forebay\""
        && answer.code() == "UNAUTHORIZED"
}

async fn status(forebay: &Forebay, path: &str, login: Option<&str>) -> StatusCode {
    ask(&forebay.client(), Method::GET, path, login)
        .await
        .status
}

/// dockerd and podman learn from the ping alone that there is a login to be sent; podman sends an empty one where it has none.
#[tokio::test(flavor = "multi_thread")]
async fn a_ping_asks_for_a_login_where_nothing_may_be_pulled_without() {
    let origin = small_images(1).start().await.unwrap();
    let dir = tempdir().unwrap();
    let forebay = guarded(&origin, dir.path(), "").start().await;
    let client = forebay.client();
    for login in [None, Some("Basic Og==")] {
        let answer = ask(&client, Method::GET, "/v2/", login).await;
        assert!(asks_for_login(&answer), "{}", answer.text());
        assert_eq!(
            ask(&client, Method::HEAD, "/v2/", login).await.status,
            UNAUTHORIZED
        );
    }
    let (alice, token) = (basic("alice", PASSWORD), basic("ci", TOKEN));
    for login in [&alice, &token, &format!("Bearer {TOKEN}")] {
        assert_eq!(status(&forebay, "/v2/", Some(login)).await, StatusCode::OK);
    }
    for login in [&basic("alice", "x"), "Bearer x", "Basic !", "Digest x"] {
        let answer = ask(&client, Method::GET, "/v2/", Some(login)).await;
        assert!(asks_for_login(&answer), "{login}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_asks_nobody_where_some_may_be_pulled_without() {
    let origin = small_images(1).start().await.unwrap();
    let dir = tempdir().unwrap();
    let open = "[[access.rules]]\nclients = ['*']\nrepositories = ['docker.io/library/app']\nallow = true\n";
    let forebay = guarded(&origin, dir.path(), open).start().await;
    let (client, path) = (forebay.client(), manifest_path(NAME, "v0"));
    assert_eq!(client.get("/v2/").await.status, StatusCode::OK);
    assert_eq!(client.get(&path).await.status, StatusCode::OK);
    assert!(asks_for_login(
        &client.manifest("library/other", "v0").await
    ));
    let wrong = basic("alice", "x");
    assert_eq!(status(&forebay, "/v2/", Some(&wrong)).await, UNAUTHORIZED);
    assert_eq!(
        status(&forebay, &path, Some(&wrong)).await,
        UNAUTHORIZED,
        "a wrong login is told"
    );
}

/// What is sent to a mirror without logins, dockerd's for Docker Hub say, is not for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_without_logins_looks_at_none() {
    let origin = small_images(1).start().await.unwrap();
    let forebay = crate::harness::mirror_of(&origin).await;
    let hub = basic("hub-user", "hub-password");
    for login in [hub.as_str(), "Bearer x", "nonsense"] {
        assert_eq!(status(&forebay, "/v2/", Some(login)).await, StatusCode::OK);
        let path = manifest_path(NAME, "v0");
        assert_eq!(status(&forebay, &path, Some(login)).await, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_file_is_read_again_and_a_bad_one_keeps_the_old() {
    let origin = small_images(1).start().await.unwrap();
    let dir = tempdir().unwrap();
    let forebay = guarded(&origin, dir.path(), "").start().await;
    let path = manifest_path(NAME, "v0");
    let (old, new) = (basic("alice", PASSWORD), basic("alice", "new"));
    assert_eq!(status(&forebay, &path, Some(&old)).await, StatusCode::OK);
    write_users(dir.path(), &["alice"], "new");
    let replaced = |count: f64| count > 0.0;
    let files = "forebay_access_files_total";
    forebay
        .until_metric(files, "result=\"new\"", replaced)
        .await;
    assert_eq!(status(&forebay, &path, Some(&old)).await, UNAUTHORIZED);
    assert_eq!(status(&forebay, &path, Some(&new)).await, StatusCode::OK);
    std::fs::write(dir.path().join("users"), "alice:plain-canary\n").unwrap();
    forebay
        .until_metric(files, "result=\"unusable\"", replaced)
        .await;
    assert_eq!(status(&forebay, &path, Some(&new)).await, StatusCode::OK);
    let told =
        |log: &String| log.contains("users:1: the password of `alice` is not hashed with bcrypt");
    forebay
        .until_logged("what is wrong with the file", told)
        .await;
    assert!(!forebay.log().contains("plain-canary"));
}

/// A flood of wrong passwords is refused before it costs a check, from its own address alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_passwords_costs_few_checks_and_hurts_no_other_address() {
    let origin = small_images(1).start().await.unwrap();
    let dir = tempdir().unwrap();
    let forebay = guarded(&origin, dir.path(), "").start().await;
    let flooder = forebay.client_at(9, 9);
    let mut refused = 0;
    for number in 0..200 {
        let login = basic("alice", &number.to_string());
        let answer = ask(&flooder, Method::GET, "/v2/", Some(&login)).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.header("retry-after").parse::<u64>().unwrap() <= 6);
            assert_eq!(answer.code(), "TOOMANYREQUESTS");
            refused += 1;
        } else {
            assert_eq!(answer.status, UNAUTHORIZED);
        }
    }
    assert!(refused > 100, "{refused}");
    let checks = forebay.metric("forebay_password_checks_total", "").await;
    assert!(
        checks <= f64::from(200 - refused),
        "{checks} checks, {refused} refused"
    );
    let alice = basic("alice", PASSWORD);
    let path = manifest_path(NAME, "v0");
    for _ in 0..10 {
        assert_eq!(status(&forebay, &path, Some(&alice)).await, StatusCode::OK);
    }
    let after = forebay.metric("forebay_password_checks_total", "").await;
    assert!(after <= checks + 1.0, "a verdict is remembered");
    let token = basic("ci", TOKEN);
    let answer = ask(&flooder, Method::GET, &path, Some(&token)).await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "a token costs nothing to check"
    );
}

/// Logs, metrics, status and errors name who asks, and hold no secret of theirs.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_clients_are_nowhere() {
    let origin = small_images(1).start().await.unwrap();
    let dir = tempdir().unwrap();
    let setup = guarded(&origin, dir.path(), "").config("[log]\nlevel = 'trace'");
    let checked = setup.checked().await;
    let forebay = setup.start().await;
    let path = manifest_path(NAME, "v0");
    let mut seen = checked;
    for login in [
        basic("alice", PASSWORD),
        basic("alice", "wrong-canary"),
        basic("bob", PASSWORD),
        basic("ci", TOKEN),
        format!("Bearer {TOKEN}"),
        "Bearer wrong-canary".to_owned(),
    ] {
        let answer = ask(&forebay.client(), Method::GET, &path, Some(&login)).await;
        write!(seen, "{:?}", answer.headers).unwrap();
        seen += &answer.text();
    }
    let named = |log: &String| {
        ["user:alice", "user:bob", "token:ci"]
            .iter()
            .all(|name| log.contains(name))
    };
    forebay.until_logged("who asked", named).await;
    seen += &forebay.log();
    seen += &forebay.admin().get("/metrics").await.text();
    seen += &forebay.admin().get("/api/status").await.text();
    for request in origin.requests() {
        write!(seen, "{request:?}").unwrap();
    }
    for secret in [
        "canary",
        "$2b$",
        &basic("alice", PASSWORD)[6..],
        &basic("ci", TOKEN)[6..],
    ] {
        assert!(!seen.contains(secret), "{secret} turned up");
    }
}

/// The trusted address of a proxy that nobody had listed let in all of its clients.
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_address_lets_in_nobody_whom_it_asks_for() {
    let origin = small_images(1).start().await.unwrap();
    let dir = tempdir().unwrap();
    let forebay = guarded(&origin, dir.path(), "").start().await;
    let (trusted, path) = (forebay.client_at(77, 1), manifest_path(NAME, "v0"));
    let alice = basic("alice", PASSWORD);
    let other = "198.51.100.1";
    for (headers, wanted) in [
        (&[][..], StatusCode::OK),
        (&[("x-forwarded-for", "127.0.77.1")], StatusCode::OK),
        (&[("x-forwarded-for", other)], UNAUTHORIZED),
        (&[("x-real-ip", other)], UNAUTHORIZED),
        (&[("forwarded", "for=198.51.100.1")], UNAUTHORIZED),
        (
            &[("x-forwarded-for", other), ("authorization", &alice)],
            StatusCode::OK,
        ),
    ] {
        let answer = trusted.ask(Method::GET, &path, headers).await;
        assert_eq!(answer.status, wanted, "{headers:?}: {}", answer.text());
    }
}

/// A limit goes by the name that a client has proven, wherever it comes from, and not by what others there do.
#[tokio::test(flavor = "multi_thread")]
async fn limits_go_by_a_proven_name() {
    let origin = small_images(1).start().await.unwrap();
    let dir = tempdir().unwrap();
    let limits = "[limits]\nper_client_requests = '2/h'\nmax_delay = '0s'";
    let forebay = guarded(&origin, dir.path(), "")
        .config(limits)
        .start()
        .await;
    let path = manifest_path(NAME, "v0");
    let alice = basic("alice", PASSWORD);
    for (from, wanted) in [(1, 200), (2, 200), (3, 429)] {
        let answer = ask(
            &forebay.client_at(7, from),
            Method::GET,
            &path,
            Some(&alice),
        )
        .await;
        assert_eq!(answer.status.as_u16(), wanted);
    }
    let token = basic("ci", TOKEN);
    let answer = ask(&forebay.client_at(7, 1), Method::GET, &path, Some(&token)).await;
    assert_eq!(answer.status, StatusCode::OK);
}
