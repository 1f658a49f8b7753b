//! The files in which Google's tools keep who they are, and what each proves to the token service (RFC 7523 for a service
//! account's key, RFC 6749 for a user's login).

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;

use crate::upstream::credentials::LoginError;
use crate::upstream::error::printable;

/// Where tokens are given, unless the file says otherwise.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const BY_ASSERTION: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long an assertion is good, in seconds; the token for it is good for as long.
const LIFE: u64 = 3600;
/// The most that such a file holds.
const MAX_FILE: u64 = 64 << 10;

/// What stands in a file. It can't be printed.
pub(super) enum Key {
    ServiceAccount(ServiceAccount),
    AuthorizedUser(AuthorizedUser),
}

/// A service account's key, as Google hands it out.
#[derive(Deserialize)]
pub(super) struct ServiceAccount {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: String,
    token_uri: Option<String>,
}

/// A user's login, as `gcloud auth application-default login` writes it.
#[derive(Deserialize)]
pub(super) struct AuthorizedUser {
    client_id: String,
    client_secret: String,
    refresh_token: String,
    token_uri: Option<String>,
}

/// What the token service is sent.
pub(super) struct Proof {
    pub(super) token_uri: String,
    pub(super) fields: Vec<(&'static str, String)>,
    /// Which of the fields are nobody else's business.
    pub(super) secrets: &'static [&'static str],
}

impl Key {
    /// Reads a file. Nothing of its secrets stands in an error.
    pub(super) fn read(path: &Path) -> Result<Key, LoginError> {
        let problem = |what: String| LoginError::Broken(format!("{} {what}", path.display()));
        let unreadable = |error| problem(format!("can't be read: {error}"));
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_FILE {
            return Err(problem("is too large for Google's credentials".to_owned()));
        }
        let text = std::fs::read(path).map_err(unreadable)?;
        Key::parse(&text).map_err(problem)
    }

    fn parse(text: &[u8]) -> Result<Key, String> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "type")]
            kind: String,
        }
        let Kind { kind } = serde_json::from_slice(text)
            .map_err(|_| "holds no credentials of Google's, which are JSON with a `type`")?;
        let key = match kind.as_str() {
            "service_account" => serde_json::from_slice(text).map(Key::ServiceAccount),
            "authorized_user" => serde_json::from_slice(text).map(Key::AuthorizedUser),
            other => {
                return Err(format!(
                    "is of the type `{}`, which forebay can't use: it takes `service_account` and `authorized_user`, and \
                     the metadata server where there is no file; for others write credentials = \"docker-config\" and use \
                     gcloud's credential helper",
                    printable(other)
                ));
            }
        };
        // What a parser complains of may quote the file.
        key.map_err(|_| format!("lacks what a `{kind}` of Google's has"))
    }

    /// What gets a token for a scope.
    pub(super) fn proof(self, scope: &str, now: SystemTime) -> Result<Proof, LoginError> {
        let or_usual = |uri: Option<String>| uri.unwrap_or_else(|| TOKEN_URI.to_owned());
        Ok(match self {
            Key::ServiceAccount(mut account) => {
                let token_uri = or_usual(account.token_uri.take());
                let assertion = account.assertion(&token_uri, scope, now)?;
                Proof {
                    token_uri,
                    fields: vec![
                        ("grant_type", BY_ASSERTION.to_owned()),
                        ("assertion", assertion),
                    ],
                    secrets: &["assertion"],
                }
            }
            Key::AuthorizedUser(user) => Proof {
                token_uri: or_usual(user.token_uri),
                fields: vec![
                    ("grant_type", "refresh_token".to_owned()),
                    ("client_id", user.client_id),
                    ("client_secret", user.client_secret),
                    ("refresh_token", user.refresh_token),
                ],
                secrets: &["client_secret", "refresh_token"],
            },
        })
    }
}

impl ServiceAccount {
    /// A JSON Web Token in the account's name, signed with its key by RS256.
    fn assertion(
        &self,
        token_uri: &str,
        scope: &str,
        now: SystemTime,
    ) -> Result<String, LoginError> {
        let unusable = || {
            let message = "the private key of Google's service account is no RSA key in PEM form";
            LoginError::Broken(message.to_owned())
        };
        let der = PrivateKeyDer::from_pem_slice(self.private_key.as_bytes());
        let der = der.map_err(|_| unusable())?;
        let signer = any_supported_type(&der)
            .ok()
            .and_then(|key| key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]))
            .ok_or_else(unusable)?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.private_key_id});
        let claims = json!({
            "iss": self.client_email,
            "scope": scope,
            "aud": token_uri,
            "iat": now,
            "exp": now + LIFE,
        });
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let header = encode(header.to_string().as_bytes());
        let text = format!("{header}.{}", encode(claims.to_string().as_bytes()));
        let signature = signer.sign(text.as_bytes()).map_err(|_| unusable())?;
        Ok(format!("{text}.{}", encode(&signature)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of another type than a service account's key ended the search with an error that did not say so.
    #[test]
    fn a_file_that_can_not_be_used_is_told_by_its_type_and_not_quoted() {
        for (text, told) in [
            (
                r#"{"type": "external_account", "audience": "canary"}"#,
                "`external_account`, which forebay can't use",
            ),
            (
                r#"{"type": "service_account", "private_key": 7, "x": "canary"}"#,
                "lacks what a `service_account`",
            ),
            (
                r#"{"type": "authorized_user", "refresh_token": "canary"}"#,
                "lacks what a `authorized_user`",
            ),
            ("canary", "JSON with a `type`"),
        ] {
            let error = Key::parse(text.as_bytes()).err().expect("it is no key");
            assert!(error.contains(told), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_private_key_that_is_none_is_told_and_not_quoted() {
        let text = r#"{"type": "service_account", "client_email": "a@b", "private_key": "canary"}"#;
        let Ok(key) = Key::parse(text.as_bytes()) else {
            panic!("it has all it takes");
        };
        let error = key.proof("scope", SystemTime::now());
        let error = error.err().expect("it signs nothing").to_string();
        assert!(error.contains("no RSA key"), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}
