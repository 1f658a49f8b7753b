//! The wire errors of the distribution spec ("Error codes"): what a body of errors says, ours and an upstream's. HTTP
//! statuses are the `http` module's business.

mod code;

use std::fmt;

use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use code::{ErrorCode, UnknownCode};

/// One error of a response.
#[derive(Clone, Debug, PartialEq)]
pub struct WireError {
    /// What went wrong, for programs.
    pub code: ErrorCode,
    /// What went wrong, for people.
    pub message: String,
    /// What to do about it.
    pub detail: Option<Value>,
}

impl WireError {
    /// An error with its code's own message.
    pub fn new(code: ErrorCode) -> Self {
        Self {
            code,
            message: code.message().into(),
            detail: None,
        }
    }

    /// The same with a detail.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<Value>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message.escape_debug())
    }
}

impl Serialize for WireError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("WireError", 3)?;
        fields.serialize_field("code", self.code.as_str())?;
        fields.serialize_field("message", &self.message)?;
        match &self.detail {
            Some(detail) => fields.serialize_field("detail", detail)?,
            None => fields.skip_field("detail")?,
        }
        fields.end()
    }
}

/// The errors of a response, which is its body.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WireErrors {
    errors: Vec<WireError>,
}

/// An upstream's body, of which nothing is sure.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Lenient {
    errors: Vec<LenientError>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LenientError {
    code: Value,
    message: Value,
    detail: Option<Value>,
}

impl WireErrors {
    /// How many errors of an upstream's body are kept, and how much of each message.
    const KEPT: usize = 8;
    const KEPT_CHARS: usize = 500;

    /// The errors, first things first.
    pub fn as_slice(&self) -> &[WireError] {
        &self.errors
    }

    /// The code that stands for the response.
    pub fn code(&self) -> Option<ErrorCode> {
        self.errors.first().map(|error| error.code)
    }

    /// The response's body.
    ///
    /// # Panics
    /// Never: strings and JSON values can be printed.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and JSON values can be printed")
    }

    /// Reads an upstream's body for what can be made of it: nothing, if it is not the spec's JSON;
    /// `UNKNOWN` for a code that the spec does not have.
    pub fn parse(body: &[u8]) -> Self {
        let lenient: Lenient = serde_json::from_slice(body).unwrap_or_default();
        let errors = lenient
            .errors
            .into_iter()
            .take(Self::KEPT)
            .map(WireError::from)
            .collect();
        Self { errors }
    }
}

impl From<LenientError> for WireError {
    fn from(lenient: LenientError) -> Self {
        let code = ErrorCode::lenient(lenient.code.as_str().unwrap_or_default());
        let message = match lenient.message.as_str() {
            Some(message) if !message.is_empty() => {
                message.chars().take(WireErrors::KEPT_CHARS).collect()
            }
            _ => code.message().to_owned(),
        };
        Self {
            code,
            message,
            detail: lenient.detail,
        }
    }
}

impl From<WireError> for WireErrors {
    fn from(error: WireError) -> Self {
        Self {
            errors: vec![error],
        }
    }
}

impl FromIterator<WireError> for WireErrors {
    fn from_iter<I: IntoIterator<Item = WireError>>(errors: I) -> Self {
        Self {
            errors: errors.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_are_the_specs() {
        let error = WireError::new(ErrorCode::TooManyRequests);
        assert_eq!(
            WireErrors::from(error.clone()).to_json(),
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"too many requests"}]}"#
        );
        let body: Value =
            serde_json::from_str(&WireErrors::from(error.with_detail("wait")).to_json()).unwrap();
        assert_eq!(body["errors"][0]["detail"], json!("wait"));
    }

    #[test]
    fn what_an_upstream_says_is_read_leniently() {
        for (body, code) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"x","detail":{"Tag":"y"}}]}"#,
                ErrorCode::ManifestUnknown,
            ),
            (
                r#"{"errors":[{"code":"TOO_MANY_REQUESTS"}]}"#,
                ErrorCode::TooManyRequests,
            ),
            (
                r#"{"errors":[{"code":"denied","message":null}]}"#,
                ErrorCode::Denied,
            ),
            (
                r#"{"errors":[{"code":17,"message":{"a":1}}]}"#,
                ErrorCode::Unknown,
            ),
            (r#"{"errors":[{}]}"#, ErrorCode::Unknown),
        ] {
            let errors = WireErrors::parse(body.as_bytes());
            assert_eq!(errors.code(), Some(code), "{body}");
            assert!(!errors.as_slice()[0].message.is_empty());
        }
        for body in [
            "",
            "Too Many Requests",
            "<html>",
            "[]",
            "{}",
            r#"{"errors":[]}"#,
            r#"{"errors":"x"}"#,
        ] {
            assert_eq!(WireErrors::parse(body.as_bytes()).code(), None, "{body}");
        }
    }

    #[test]
    fn what_an_upstream_says_is_bounded_and_escaped_in_logs() {
        let long = json!({"errors": vec![json!({"code": "DENIED", "message": "\u{1b}\n".repeat(9_000)}); 99]});
        let errors = WireErrors::parse(long.to_string().as_bytes());
        assert_eq!(errors.as_slice().len(), WireErrors::KEPT);
        let shown = errors.as_slice()[0].to_string();
        assert!(shown.len() < 5_000 && !shown.contains(['\n', '\u{1b}']));
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(
            errors in prop::collection::vec(
                (prop::sample::select(ErrorCode::all().collect::<Vec<_>>()), ".{1,20}", prop::option::of(".{0,20}")),
                0..4,
            ),
        ) {
            let errors: WireErrors = errors
                .into_iter()
                .map(|(code, message, detail)| WireError { code, message, detail: detail.map(Value::from) })
                .collect();
            prop_assert_eq!(WireErrors::parse(errors.to_json().as_bytes()), errors);
        }
    }
}
