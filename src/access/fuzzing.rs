//! What has to hold of a login, whoever sends it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::attempt::{Attempt, Malformed};
use crate::config::Secret;

/// `Authorization`: what is taken for a login is one as it is written, nothing of what is secret shows, and it is read in one
/// way.
pub(crate) fn authorization(input: &[u8]) {
    match Attempt::parse(input) {
        Ok(Some(attempt)) => {
            let (written, concealed) = match &attempt {
                Attempt::Basic { user, password } => basic(user, password.expose()),
                Attempt::Bearer(token) => bearer(token.expose()),
            };
            assert_eq!(
                Attempt::parse(written.as_bytes()),
                Ok(Some(attempt.clone()))
            );
            assert_eq!(format!("{attempt:?}"), format!("{concealed:?}"));
        }
        // Nobody, as podman says it.
        Ok(None) => {
            let text = std::str::from_utf8(input).expect("a login is text");
            assert!(text.trim_end().ends_with("Og=="));
        }
        Err(Malformed) => {}
    }
}

/// The header that says the same, and the same login with another secret.
fn basic(user: &str, password: &str) -> (String, Attempt) {
    assert!(!user.contains(':'), "a user's name ends at the first colon");
    assert!(!(user.is_empty() && password.is_empty()), "this is nobody");
    assert!(!password.contains('\0'), "a check would end there");
    let other = Attempt::Basic {
        user: user.to_owned(),
        password: Secret::new("another"),
    };
    let encoded = STANDARD.encode(format!("{user}:{password}"));
    (format!("Basic {encoded}"), other)
}

fn bearer(token: &str) -> (String, Attempt) {
    assert!(!token.is_empty());
    assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
    let other = Attempt::Bearer(Secret::new("another"));
    (format!("bearer {token}"), other)
}
