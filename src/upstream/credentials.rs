//! Who forebay is to an upstream. The one seam for kinds of credentials to come (docker's config and
//! helpers, cloud tokens): they end up as a user name and a password, or as a token to exchange.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::config::Credentials;

/// Whose a token is, as part of its key in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    Anonymous,
    User(String),
}

impl Identity {
    pub(crate) fn of(credentials: &Credentials) -> Identity {
        match credentials {
            Credentials::None => Identity::Anonymous,
            Credentials::Password { username, .. } => Identity::User(username.clone()),
        }
    }
}

/// `Authorization` for the Basic scheme, for a registry that asks for it or for its token service;
/// `None` without credentials.
pub(crate) fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    match credentials {
        Credentials::None => None,
        Credentials::Password { username, password } => {
            let pair = STANDARD.encode(format!("{username}:{}", password.expose()));
            let mut value =
                HeaderValue::try_from(format!("Basic {pair}")).expect("base64 is a header value");
            value.set_sensitive(true);
            Some(value)
        }
    }
}

/// Whether forebay's own credentials opened the way to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// No credentials; an anonymous token counts as none. What came is public.
    Anonymous,
    /// The configured credentials, as a password or through a token.
    Credentialed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn passwords_are_sent_as_basic_and_never_printed() {
        let credentials = Credentials::Password {
            username: "user".to_owned(),
            password: Secret::new("canary-7"),
        };
        let header = basic(&credentials).unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic dXNlcjpjYW5hcnktNw==");
        let printed = format!(
            "{credentials:?} {header:?} {:?}",
            Identity::of(&credentials)
        );
        assert!(
            !printed.contains("canary") && !printed.contains("dXNl"),
            "{printed}"
        );
        assert!(basic(&Credentials::None).is_none());
    }
}
