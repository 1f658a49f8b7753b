//! What the API's answers come to, by a clock that the tests move.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use ::http::{Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::time::advance;

use super::*;
use crate::upstream::credentials::{Held, Keeper};

/// The API as far as its answers: the next of what it was told to say.
#[derive(Debug)]
struct Api(Mutex<Vec<Response<Bytes>>>);

impl Api {
    fn says(answers: impl IntoIterator<Item = Response<Bytes>>) -> Keeper {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        Keeper::new(Arc::new(Api(Mutex::new(answers))))
    }
}

impl Source for Api {
    fn account(&self, registry: &Origin, _: Option<&RepositoryName>) -> String {
        registry.authority()
    }

    fn issue<'a>(&'a self, _: &'a Origin, _: &'a str) -> Issuing<'a> {
        let answer = self.0.lock().unwrap().pop();
        Box::pin(async move { issued(&answer.expect("no more questions"), now()) })
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(500_000)
}

/// A password that ends after so many hours.
fn password(password: &str, hours: u64) -> Response<Bytes> {
    let end = now() + Duration::from_hours(hours);
    let end = end.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let token = STANDARD.encode(format!("AWS:{password}"));
    let text = serde_json::json!({"authorizationData": [{
        "authorizationToken": token,
        "expiresAt": end,
    }]});
    Response::new(text.to_string().into())
}

fn refusal() -> Response<Bytes> {
    let mut answer = Response::new(r#"{"__type": "AccessDeniedException"}"#.into());
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer
}

async fn login(keeper: &Keeper) -> Result<Arc<Held>, LoginError> {
    let registry = Origin::of(&"https://registry.example".parse().unwrap()).unwrap();
    let held = keeper.login(&registry, None).await;
    // What was asked beside it has its answer.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    held
}

async fn word(keeper: &Keeper) -> String {
    match &login(keeper).await.unwrap().login {
        Login::Password { password, .. } => password.expose().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_password_is_replaced_at_half_of_its_life() {
    let keeper = Api::says([password("one", 12), password("two", 12)]);
    assert_eq!(word(&keeper).await, "one");
    advance(Duration::from_mins(359)).await;
    assert_eq!(word(&keeper).await, "one");
    assert_eq!(word(&keeper).await, "one", "it is good for longer");
    advance(Duration::from_mins(2)).await;
    assert_eq!(word(&keeper).await, "one", "nobody waits for another");
    assert_eq!(word(&keeper).await, "two");
}

#[tokio::test(start_paused = true)]
async fn the_old_password_serves_through_the_second_half_of_its_life_while_the_api_refuses() {
    let keeper = Api::says([password("one", 12), refusal(), refusal(), refusal()]);
    assert_eq!(word(&keeper).await, "one");
    for _ in 0..2 {
        advance(Duration::from_mins(355)).await;
        assert_eq!(word(&keeper).await, "one");
    }
    advance(Duration::from_mins(11)).await;
    let error = login(&keeper).await.unwrap_err();
    assert!(matches!(error, LoginError::Refused(_)), "{error}");
}

#[test]
fn a_clock_that_is_off_makes_no_password_endless() {
    let life = |hours: i64| {
        let at = if hours < 0 {
            now() + Duration::from_hours(hours.unsigned_abs())
        } else {
            now()
        };
        let hours = u64::try_from(hours).unwrap_or(0);
        let issued = issued(&password("p", hours), at).unwrap();
        issued.expires_after.unwrap()
    };
    assert_eq!(life(2), Duration::from_hours(2));
    assert_eq!(life(13), Duration::from_hours(12));
    assert_eq!(life(-24), Duration::from_mins(1));
}
