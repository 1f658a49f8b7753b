//! What a token service answers, and until when its token is good.

use std::time::{Duration, Instant};

use http::HeaderValue;
use serde::Deserialize;

/// The largest answer of a token service.
pub(crate) const MAX_TOKEN_BYTES: usize = 64 << 10;
/// The token specification's default, and the least for which one is sent: some services say 0.
const MIN_LIFETIME: Duration = Duration::from_mins(1);
/// A token that claims to live longer is asked for again anyway.
const MAX_LIFETIME: Duration = Duration::from_hours(24);

/// A token, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// `Bearer ...`, marked as sensitive.
    pub(crate) header: HeaderValue,
    /// When it is renewed, on the monotonic clock.
    renew_at: Instant,
    /// What it proves is believed no longer than this.
    good_until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<serde_json::Value>,
}

impl Token {
    /// Reads a token service's answer to a request sent at `asked_at`. `early` is how long before its
    /// end the token is renewed.
    ///
    /// `issued_at` is not read: it is the service's clock, and a clock that differs from ours would
    /// make each token dead on arrival. Where a service hands out one that it has had for a while, the
    /// registry refuses it early, and it is replaced.
    pub(crate) fn parse(
        body: &[u8],
        asked_at: Instant,
        early: Duration,
    ) -> Result<Token, &'static str> {
        let answer: Answer =
            serde_json::from_slice(body).map_err(|_| "the token service's answer is not JSON")?;
        let text = answer
            .token
            .filter(|token| !token.is_empty())
            .or(answer.access_token)
            .filter(|token| !token.is_empty())
            .ok_or("the token service's answer holds no token")?;
        let mut header = HeaderValue::try_from(format!("Bearer {text}"))
            .map_err(|_| "the token service's token can't be sent in a header")?;
        header.set_sensitive(true);
        let told = told(answer.expires_in.as_ref());
        let renew_at = asked_at + lifetime(told).saturating_sub(early);
        Ok(Token {
            header,
            renew_at,
            good_until: told.map_or(renew_at, |told| renew_at.min(asked_at + told)),
        })
    }

    /// Until when what it proves is believed: as long as it is sent, and not beyond the end that its service has told.
    pub(crate) fn good_until(&self) -> Instant {
        self.good_until
    }

    /// Whether it is still sent. In its last seconds it is not, even where a new one can't be had: it may end on the way.
    pub(super) fn is_good(&self, now: Instant) -> bool {
        now < self.renew_at
    }
}

/// A number, or one in quotes; anything else counts as absent, and so does 0.
fn told(expires_in: Option<&serde_json::Value>) -> Option<Duration> {
    let seconds = expires_in.and_then(|value| match value {
        serde_json::Value::String(text) => text.parse().ok(),
        value => value.as_f64(),
    });
    seconds
        .and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok())
        .filter(|told| !told.is_zero())
        .map(|told| told.min(MAX_LIFETIME))
}

/// For how long it is sent.
fn lifetime(told: Option<Duration>) -> Duration {
    told.unwrap_or(MIN_LIFETIME).max(MIN_LIFETIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Token, &'static str> {
        Token::parse(body.as_bytes(), Instant::now(), Duration::from_secs(7))
    }

    #[test]
    fn either_name_of_the_token_is_read() {
        for body in [
            r#"{"token":"t"}"#,
            r#"{"access_token":"t"}"#,
            r#"{"token":"","access_token":"t"}"#,
            r#"{"token":null,"access_token":"t"}"#,
            r#"{"token":"t","access_token":"u","issued_at":"1970-01-01T00:00:00Z","more":{}}"#,
            r#"{"token":"t","expires_in":"soon","issued_at":"9999-12-31T23:59:59Z"}"#,
            r#"{"token":"t","expires_in":{},"issued_at":7}"#,
        ] {
            assert_eq!(parse(body).unwrap().header, "Bearer t", "{body}");
        }
        for body in [
            "",
            "{}",
            "[]",
            r#"{"token":""}"#,
            r#"{"token":"a\nb"}"#,
            r#"{"token":"","access_token":""}"#,
            r#"{"token":7}"#,
        ] {
            assert!(parse(body).is_err(), "{body}");
        }
    }

    #[test]
    fn lifetimes_are_clamped_and_default_to_a_minute() {
        let seconds = |json: &str| {
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            lifetime(told(Some(&value))).as_secs()
        };
        assert_eq!(lifetime(None).as_secs(), 60);
        assert_eq!(seconds("300"), 300);
        assert_eq!(seconds("\"300\""), 300);
        assert_eq!(seconds("300.5"), 300);
        assert_eq!(seconds("0"), 60);
        assert_eq!(seconds("-300"), 60);
        assert_eq!(seconds("null"), 60);
        assert_eq!(seconds("1e300"), 60);
        assert_eq!(seconds("999999999"), 86_400);
    }

    #[test]
    fn what_a_token_proves_ends_no_later_than_its_service_says() {
        let asked = Instant::now();
        let until = |expires_in: &str| {
            let body = format!(r#"{{"token":"t","expires_in":{expires_in}}}"#);
            let token = Token::parse(body.as_bytes(), asked, Duration::from_secs(7)).unwrap();
            (token.good_until() - asked).as_secs()
        };
        assert_eq!(until("20"), 20);
        assert_eq!(until("300"), 293);
        assert_eq!(until("0"), 53, "some say that, and mean nothing by it");
    }

    #[test]
    fn tokens_are_renewed_early_and_never_printed() {
        let asked = Instant::now();
        let token = Token::parse(
            br#"{"token":"canary","expires_in":100}"#,
            asked,
            Duration::from_secs(7),
        )
        .unwrap();
        assert!(token.is_good(asked + Duration::from_secs(92)));
        assert!(!token.is_good(asked + Duration::from_secs(93)));
        assert!(!format!("{token:?}").contains("canary"));
    }
}
