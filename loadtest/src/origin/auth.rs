//! Who may read what: users, tokens and challenges.
//!
//! Owns the tokens that were issued. They are opaque, as GHCR's are, and forgotten
//! when they expire.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::time::Instant;

use super::reply::Reply;
use super::repository::Readers;

/// How the registry asks for credentials.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// It doesn't; only what nobody but users may read stays shut.
    #[default]
    Open,
    /// User and password on every request, as `htpasswd` behind a registry.
    Basic,
    /// Bearer tokens from the token service, as Docker Hub.
    Token(TokenAuth),
}

impl Auth {
    /// Tokens as Docker Hub issues them.
    pub fn token() -> Self {
        Self::Token(TokenAuth::default())
    }
}

/// The field of the token service's answer that holds the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenField {
    /// `token` alone.
    Token,
    /// `access_token` alone.
    AccessToken,
    /// Both, equal.
    #[default]
    Both,
}

/// Whether the token service takes refresh tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// By POST.
    #[default]
    Posted,
    /// It knows GET only.
    Unknown,
}

/// How the token service behaves.
#[derive(Clone, Debug)]
pub struct TokenAuth {
    /// The service that the challenge names and the token service insists on.
    pub service: String,
    /// How long a token is good for.
    pub lifetime: Duration,
    /// Whether the answer says so, in `expires_in` (whole seconds).
    pub announces_lifetime: bool,
    /// Whether the answer has `issued_at`.
    pub announces_issue: bool,
    /// Where the answer holds the token.
    pub field: TokenField,
    /// In the challenge in place of the token service's URL.
    pub realm: Option<String>,
    /// Whether repositories that do not exist can be asked for, to be told so
    /// with 404. Docker Hub answers 401 instead.
    pub grants_unknown: bool,
    /// What it makes of a refresh token, which a user's password is as well.
    pub refresh: Refresh,
}

impl Default for TokenAuth {
    fn default() -> Self {
        Self {
            service: "registry.docker.io".to_owned(),
            lifetime: Duration::from_mins(5),
            announces_lifetime: true,
            announces_issue: true,
            field: TokenField::default(),
            realm: None,
            grants_unknown: false,
            refresh: Refresh::default(),
        }
    }
}

/// Credentials that turned out to be good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    pub(crate) user: Option<String>,
}

#[derive(Debug)]
struct Grant {
    user: Option<String>,
    repositories: Vec<String>,
    expires: Instant,
}

/// What a token says about a repository.
#[derive(Debug)]
pub(crate) enum Granted {
    Yes(Identity),
    /// No such token, or no longer.
    Invalid,
    /// The token is good, but not for this.
    NotFor,
}

/// Users and tokens.
#[derive(Debug)]
pub(crate) struct Guard {
    users: HashMap<String, String>,
    tokens: Mutex<HashMap<String, Grant>>,
}

/// Name and password of a `Basic` header; an empty name means nobody, as podman
/// sends it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Basic {
    Absent,
    Malformed,
    User(String, String),
}

impl Basic {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let Some(encoded) = scheme(headers, "basic") else {
            return Self::Absent;
        };
        let decoded = STANDARD
            .decode(encoded)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            Some(("", _)) => Self::Absent,
            Some((user, password)) => Self::User(user.to_owned(), password.to_owned()),
            None => Self::Malformed,
        }
    }
}

/// What follows `scheme` in the `Authorization` header.
fn scheme<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (found, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    scheme(headers, "bearer")
}

impl Guard {
    pub(crate) fn new(users: HashMap<String, String>) -> Self {
        Self {
            users,
            tokens: Mutex::default(),
        }
    }

    /// Who sent these headers, by password. `Err` means that it is wrong.
    pub(crate) fn by_password(&self, headers: &HeaderMap) -> Result<Identity, ()> {
        match Basic::of(headers) {
            Basic::Absent => Ok(Identity::default()),
            // How a refresh token is sent to a service that knows GET only.
            Basic::User(user, token) if user == "<token>" => self.by_refresh_token(&token),
            Basic::User(user, password) if self.users.get(&user) == Some(&password) => {
                Ok(Identity { user: Some(user) })
            }
            Basic::User(..) | Basic::Malformed => Err(()),
        }
    }

    /// Whose refresh token this is: a user's password is one too.
    pub(crate) fn by_refresh_token(&self, token: &str) -> Result<Identity, ()> {
        let user = self.users.iter().find(|(_, password)| *password == token);
        user.map(|(user, _)| Identity {
            user: Some(user.clone()),
        })
        .ok_or(())
    }

    /// Issues a token for these repositories.
    pub(crate) fn issue(
        &self,
        identity: &Identity,
        repositories: Vec<String>,
        lifetime: Duration,
    ) -> String {
        let token = format!("{:032x}", rand::random::<u128>());
        let now = Instant::now();
        let grant = Grant {
            user: identity.user.clone(),
            repositories,
            expires: now + lifetime,
        };
        let mut tokens = self.lock();
        tokens.retain(|_, grant| grant.expires > now);
        tokens.insert(token.clone(), grant);
        token
    }

    /// What a token allows; no repository means the ping, which any token does.
    pub(crate) fn by_token(&self, token: &str, repository: Option<&str>) -> Granted {
        let tokens = self.lock();
        let Some(grant) = tokens
            .get(token)
            .filter(|grant| grant.expires > Instant::now())
        else {
            return Granted::Invalid;
        };
        if repository.is_none_or(|name| grant.repositories.iter().any(|granted| granted == name)) {
            return Granted::Yes(Identity {
                user: grant.user.clone(),
            });
        }
        Granted::NotFor
    }

    /// Makes every token that was issued expire now.
    pub(crate) fn expire_tokens(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Grant>> {
        self.tokens.lock().expect("nobody panics with the lock")
    }
}

impl Readers {
    pub(crate) fn include(&self, identity: &Identity) -> bool {
        match (self, &identity.user) {
            (Self::Anyone, _) | (Self::AnyUser, Some(_)) => true,
            (Self::Users(users), Some(user)) => users.contains(user),
            (Self::AnyUser | Self::Users(_), None) => false,
        }
    }
}

/// A 401 with a challenge for a token.
pub(crate) fn bearer_challenge(
    auth: &TokenAuth,
    token_url: &str,
    repository: Option<&str>,
    error: Option<&str>,
) -> Reply {
    let realm = auth.realm.as_deref().unwrap_or(token_url);
    let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{}\"", auth.service);
    if let Some(name) = repository {
        let _ = write!(challenge, ",scope=\"repository:{name}:pull\"");
    }
    if let Some(error) = error {
        let _ = write!(challenge, ",error=\"{error}\"");
    }
    unauthorized(&challenge)
}

/// A 401 with a challenge for user and password.
pub(crate) fn basic_challenge() -> Reply {
    unauthorized("Basic realm=\"origin\"")
}

fn unauthorized(challenge: &str) -> Reply {
    Reply::error(401, "UNAUTHORIZED", "authentication required")
        .header("www-authenticate", challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        headers
    }

    #[test]
    fn basic_header_names_a_user_unless_the_name_is_empty() {
        assert_eq!(
            Basic::of(&headers("basic YTpiOmM=")),
            Basic::User("a".into(), "b:c".into())
        );
        assert_eq!(Basic::of(&headers("Basic Og==")), Basic::Absent);
        assert_eq!(Basic::of(&headers("Basic %%%")), Basic::Malformed);
        assert_eq!(Basic::of(&headers("Bearer YTpi")), Basic::Absent);
    }

    #[tokio::test]
    async fn token_is_good_for_its_repositories_until_it_expires() {
        tokio::time::pause();
        let guard = Guard::new(HashMap::new());
        let token = guard.issue(
            &Identity::default(),
            vec!["a".into()],
            Duration::from_mins(1),
        );
        assert!(matches!(guard.by_token(&token, Some("a")), Granted::Yes(_)));
        assert!(matches!(guard.by_token(&token, None), Granted::Yes(_)));
        assert!(matches!(guard.by_token(&token, Some("b")), Granted::NotFor));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(matches!(
            guard.by_token(&token, Some("a")),
            Granted::Invalid
        ));
    }
}
