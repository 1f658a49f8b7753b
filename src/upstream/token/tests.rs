//! Who waits for which request, and what is remembered of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

fn key(scope: &str) -> TokenKey {
    TokenKey {
        upstream: UpstreamName::configured("a.io"),
        registry: "https://a.io".to_owned(),
        identity: Identity::Anonymous,
        realm: "https://a.io/token".to_owned(),
        service: None,
        scope: scope.to_owned(),
    }
}

fn parse(body: &str) -> Result<Token, &'static str> {
    Token::parse(body.as_bytes(), Instant::now(), Duration::from_secs(7))
}

#[tokio::test]
async fn fifty_waiters_share_one_request_and_its_result() {
    let tokens = Tokens::new();
    let requests = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let now = Instant::now();
    let waiters: Vec<_> = (0..50)
        .map(|_| {
            let (tokens, requests, gate) = (tokens.clone(), requests.clone(), gate.clone());
            tokio::spawn(async move {
                let fetch = || async move {
                    requests.fetch_add(1, Ordering::Relaxed);
                    gate.acquire().await.unwrap().forget();
                    parse(r#"{"token":"t"}"#).map_err(|what| UpstreamError::invalid("a.io", what))
                };
                tokens.get(&key("x"), None, now, fetch).await.unwrap().0
            })
        })
        .collect();
    tokio::task::yield_now().await;
    gate.add_permits(1);
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().header, "Bearer t");
    }
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_failure_reaches_every_waiter() {
    let tokens = Tokens::new();
    let requests = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let now = Instant::now();
    let key = key("x");
    let mut waiters: Vec<_> = (0..50)
        .map(|_| {
            let (requests, gate) = (requests.clone(), gate.clone());
            Box::pin(tokens.get(&key, None, now, || async move {
                requests.fetch_add(1, Ordering::Relaxed);
                gate.acquire().await.unwrap().forget();
                Err(UpstreamError::new(ErrorKind::Denied, "a.io", "no"))
            }))
        })
        .collect();
    // Each has found the request before the request ends.
    for waiter in &mut waiters {
        assert!(futures_util::poll!(waiter).is_pending());
    }
    gate.add_permits(1);
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap_err().kind(), ErrorKind::Denied);
    }
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}

/// A login that had been replaced was refused, and whoever had the new one by then was refused with it.
#[tokio::test]
async fn who_has_a_new_login_joins_no_request_with_the_old_one() {
    let tokens = Tokens::new();
    let now = Instant::now();
    let (key, old, new) = (key("x"), Some(now), Some(now + Duration::from_secs(1)));
    let (refuse, refused) = tokio::sync::oneshot::channel::<()>();
    let refusing = || async move {
        refused.await.unwrap();
        Err(UpstreamError::new(ErrorKind::Unauthorized, "a.io", "no"))
    };
    let never = || async { Err(UpstreamError::invalid("a.io", "asked twice")) };
    let working = || async { Ok(parse(r#"{"token":"t"}"#).unwrap()) };
    let mut with_the_old = Box::pin(tokens.get(&key, old, now, refusing));
    let mut joined = Box::pin(tokens.get(&key, old, now, never));
    assert!(futures_util::poll!(&mut with_the_old).is_pending());
    assert!(futures_util::poll!(&mut joined).is_pending());
    assert!(tokens.get(&key, new, now, working).await.is_ok());
    refuse.send(()).unwrap();
    for refused in [with_the_old.await, joined.await] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unauthorized);
    }
    // The old one's end takes nothing away.
    assert!(tokens.get(&key, new, now, never).await.is_ok());
}

/// Whoever made up logins was refused each, and had one more to ask with.
#[tokio::test]
async fn a_refusal_for_load_of_one_clients_login_holds_for_all_that_are_new() {
    let tokens = Tokens::new();
    let busy = || async move {
        let error = UpstreamError::new(ErrorKind::TooManyRequests, "a.io", "busy");
        Err(error.with_retry_after(Some(Duration::from_secs(30))))
    };
    let working = || async { Ok(parse(r#"{"token":"t"}"#).unwrap()) };
    let of = |name: &str| TokenKey {
        identity: Identity::Holder(name.to_owned()),
        ..key("")
    };
    let terms = |whose| Terms { issue: None, whose };
    let (new, proven) = (terms(Whose::Unproven), terms(Whose::Proven));
    let now = Instant::now();
    let one = tokens.get(&of("one"), new, now, busy).await;
    assert!(one.is_err());
    let other = tokens.get(&of("other"), new, now, working).await;
    assert_eq!(other.unwrap_err().kind(), ErrorKind::TooManyRequests);
    assert!(tokens.get(&of("two"), proven, now, working).await.is_ok());
    assert!(tokens.get(&of("own"), None, now, working).await.is_ok());
    let later = Instant::now() + Duration::from_secs(30);
    let other = tokens.get(&of("other"), new, later, working).await;
    assert!(other.is_ok());
}

#[tokio::test]
async fn a_service_that_refuses_for_load_is_asked_again_in_time() {
    let seconds = Duration::from_secs;
    for (said, left_alone) in [(Some(30), 30), (Some(0), 0), (None, 5), (Some(86_400), 300)] {
        let tokens = Tokens::new();
        let busy = || async move {
            let error = UpstreamError::new(ErrorKind::TooManyRequests, "a.io", "busy");
            Err(error.with_retry_after(said.map(seconds)))
        };
        let before = Instant::now();
        assert!(tokens.get(&key("x"), None, before, busy).await.is_err());
        let after = Instant::now();
        let working = || async { Ok(parse(r#"{"token":"t"}"#).unwrap()) };
        if left_alone > 0 {
            // Whatever it is that is asked for.
            let last = before + seconds(left_alone - 1);
            let error = tokens
                .get(&key("y"), None, last, working)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooManyRequests, "{said:?}");
            assert!(error.retry_after().unwrap() <= seconds(left_alone));
        }
        // Others are not held to it.
        let mut other = key("x");
        other.identity = Identity::Holder("else".to_owned());
        assert!(tokens.get(&other, None, after, working).await.is_ok());
        let then = after + seconds(left_alone);
        assert!(tokens.get(&key("x"), None, then, working).await.is_ok());
    }
}

#[tokio::test]
async fn a_token_is_not_used_in_its_last_seconds() {
    let tokens = Tokens::new();
    let now = Instant::now();
    let token = |body: &'static str| move || async move { Ok(parse(body).unwrap()) };
    let first = token(r#"{"token":"first"}"#);
    tokens.get(&key("x"), None, now, first).await.unwrap();
    // `parse` leaves off seven seconds of sixty.
    let second = token(r#"{"token":"second"}"#);
    let used = async |at| {
        tokens
            .get(&key("x"), None, now + at, second)
            .await
            .unwrap()
            .0
    };
    assert_eq!(used(Duration::from_secs(52)).await.header, "Bearer first");
    assert_eq!(used(Duration::from_secs(59)).await.header, "Bearer second");
}

#[tokio::test]
async fn nothing_that_a_token_depends_on_is_left_out_of_its_key() {
    let tokens = Tokens::new();
    let now = Instant::now();
    let mut keys = vec![key("x"), key("y")];
    let mut another = |change: &dyn Fn(&mut TokenKey)| {
        let mut key = key("x");
        change(&mut key);
        keys.push(key);
    };
    let user = |name: &str, account: &str| Identity::User {
        name: name.to_owned(),
        account: account.to_owned(),
    };
    another(&|key| key.upstream = UpstreamName::configured("b.io"));
    another(&|key| key.registry = "https://b.io".to_owned());
    another(&|key| key.identity = user("ci", "a.io/team"));
    another(&|key| key.identity = user("ci", "a.io/other"));
    another(&|key| key.identity = user("cd", "a.io/team"));
    another(&|key| key.realm = "https://a.io/other".to_owned());
    another(&|key| key.service = Some("a.io".to_owned()));
    for (n, key) in keys.iter().enumerate() {
        let body = format!("{{\"token\":\"{n}\"}}");
        let fetch = || async move { Ok(parse(&body).unwrap()) };
        let (_, fresh) = tokens.get(key, None, now, fetch).await.unwrap();
        assert!(fresh, "{key:?}");
    }
}

#[tokio::test]
async fn a_failure_is_not_remembered() {
    let tokens = Tokens::new();
    let now = Instant::now();
    let failing = || async { Err(UpstreamError::timeout("a.io", "slow")) };
    assert!(tokens.get(&key("x"), None, now, failing).await.is_err());
    let working = || async { Ok(parse(r#"{"token":"t"}"#).unwrap()) };
    let (token, fresh) = tokens.get(&key("x"), None, now, working).await.unwrap();
    assert!(fresh);
    let cached = tokens.get(&key("x"), None, now, working).await.unwrap();
    assert_eq!(cached, (token, false));
}

#[tokio::test]
async fn a_panicking_request_fails_its_waiters_and_leaves_no_trace() {
    let tokens = Tokens::new();
    let now = Instant::now();
    let panicking = || async { panic!("a bug") };
    assert!(tokens.get(&key("x"), None, now, panicking).await.is_err());
    let working = || async { Ok(parse(r#"{"token":"t"}"#).unwrap()) };
    assert!(tokens.get(&key("x"), None, now, working).await.is_ok());
}

#[tokio::test]
async fn only_the_refused_token_is_forgotten() {
    let tokens = Tokens::new();
    let now = Instant::now();
    let working = || async { Ok(parse(r#"{"token":"t"}"#).unwrap()) };
    let (first, _) = tokens.get(&key("x"), None, now, working).await.unwrap();
    tokens.reject(&key("x"), &first);
    let (second, fresh) = tokens.get(&key("x"), None, now, working).await.unwrap();
    assert!(fresh);
    tokens.reject(&key("x"), &first);
    let third = tokens.get(&key("x"), None, now, working).await.unwrap();
    assert_eq!(third, (second, false));
}

#[tokio::test]
async fn a_request_goes_on_when_its_client_leaves() {
    let tokens = Tokens::new();
    let now = Instant::now();
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let fetch = || async {
        gone.await.unwrap();
        Ok(parse(r#"{"token":"t"}"#).unwrap())
    };
    let leaving = tokio::spawn({
        let tokens = tokens.clone();
        let fetch = fetch();
        async move { tokens.get(&key("x"), None, now, || fetch).await.map(drop) }
    });
    while tokens.0.flights.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    leaving.abort();
    go.send(()).unwrap();
    let never = || async { Err(UpstreamError::invalid("a.io", "asked twice")) };
    assert!(tokens.get(&key("x"), None, now, never).await.is_ok());
}
