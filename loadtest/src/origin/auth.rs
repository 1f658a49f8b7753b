//! Who may read what: users, tokens and challenges.
//!
//! Owns the tokens that were issued. They are opaque, as GHCR's are, and forgotten
//! when they expire.

mod service;

pub use self::service::{Mint, Passwords, Refresh, Scope, TokenAuth, TokenField};

use std::collections::{HashMap, HashSet};
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

/// Credentials that turned out to be good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    pub(crate) user: Option<String>,
}

#[derive(Debug)]
struct Grant {
    user: Option<String>,
    repositories: Repositories,
    expires: Instant,
}

/// What a token is good for.
#[derive(Debug)]
pub(crate) enum Repositories {
    /// Whatever its user may read.
    All,
    Named(Vec<String>),
}

impl Repositories {
    fn include(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|named| named == name),
        }
    }
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
    users: Mutex<Users>,
    tokens: Mutex<HashMap<String, Grant>>,
}

#[derive(Debug, Default)]
struct Users {
    passwords: HashMap<String, String>,
    /// Passwords that were good once.
    expired: HashSet<String>,
    /// Refresh tokens that were given for passwords, and whose they are.
    exchanged: HashMap<String, String>,
}

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Wrong,
    /// It was good once.
    Expired,
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
            users: Mutex::new(Users {
                passwords: users,
                ..Users::default()
            }),
            tokens: Mutex::default(),
        }
    }

    /// Who sent these headers, by password. `Err` means that it is wrong.
    pub(crate) fn by_password(&self, headers: &HeaderMap) -> Result<Identity, Refused> {
        match Basic::of(headers) {
            Basic::Absent => Ok(Identity::default()),
            // How a refresh token is sent to a service that knows GET only.
            Basic::User(user, token) if user == "<token>" => self.by_refresh_token(&token),
            Basic::User(user, password) => {
                let users = self.users();
                if users.passwords.get(&user) == Some(&password) {
                    Ok(Identity { user: Some(user) })
                } else if users.expired.contains(&password) {
                    Err(Refused::Expired)
                } else {
                    Err(Refused::Wrong)
                }
            }
            Basic::Malformed => Err(Refused::Wrong),
        }
    }

    /// Whose refresh token this is: a user's password is one too.
    pub(crate) fn by_refresh_token(&self, token: &str) -> Result<Identity, Refused> {
        let users = self.users();
        let user = users
            .passwords
            .iter()
            .find(|(_, password)| *password == token);
        user.map(|(user, _)| Identity {
            user: Some(user.clone()),
        })
        .ok_or(Refused::Wrong)
    }

    /// Gives a refresh token for a user's password, which is what a cloud's access token is here.
    pub(crate) fn exchange(&self, access_token: &str) -> Result<String, Refused> {
        let user = self.by_refresh_token(access_token)?.user;
        let token = format!("{:032x}", rand::random::<u128>());
        let user = user.ok_or(Refused::Wrong)?;
        self.users().exchanged.insert(token.clone(), user);
        Ok(token)
    }

    /// Whose refresh token this is, among those that were given for access tokens.
    pub(crate) fn by_exchanged(&self, token: &str) -> Result<Identity, Refused> {
        let user = self.users().exchanged.get(token).cloned();
        let identity = user.map(|user| Identity { user: Some(user) });
        identity.ok_or(Refused::Wrong)
    }

    /// The refresh tokens that were given for access tokens and are good.
    pub(crate) fn exchanged(&self) -> Vec<String> {
        self.users().exchanged.keys().cloned().collect()
    }

    /// Gives a user another password; the old one has expired, and what was given for it.
    pub(crate) fn set_password(&self, user: &str, password: &str) {
        let mut users = self.users();
        users.exchanged.retain(|_, owner| owner != user);
        let old = users.passwords.insert(user.to_owned(), password.to_owned());
        users.expired.extend(old);
        users.expired.remove(password);
    }

    /// Issues a token for these repositories.
    pub(crate) fn issue(
        &self,
        identity: &Identity,
        repositories: Repositories,
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
        if repository.is_none_or(|name| grant.repositories.include(name)) {
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

    fn users(&self) -> std::sync::MutexGuard<'_, Users> {
        self.users.lock().expect("nobody panics with the lock")
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
    let of = |name| format!("repository:{name}:pull");
    let scope = match auth.scope {
        Scope::Repository | Scope::Below(_) => repository.map(|name| of(auth.scope.known_as(name))),
        Scope::Placeholder(name) => Some(of(name)),
        Scope::Word(word) => Some(word.to_owned()),
    };
    if let Some(scope) = scope {
        let _ = write!(challenge, ",scope=\"{scope}\"");
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
            Repositories::Named(vec!["a".into()]),
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
