//! How a token service behaves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Identity;

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
    /// By POST, and none but those that it gave for a cloud's access token, as at Azure's registries.
    Exchanged,
    /// It knows GET only.
    Unknown,
}

/// What the registry, as opposed to the token service, makes of passwords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passwords {
    /// It takes tokens only.
    #[default]
    Refused,
    /// It takes them too, and asks for one where a token is no good.
    Taken,
}

/// The scope in a challenge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// `repository:<name>:pull`.
    #[default]
    Repository,
    /// This repository's, whichever is asked for: a placeholder.
    Placeholder(&'static str),
    /// A word of the registry's own, which stands for every repository.
    Word(&'static str),
    /// A proxy before the registry puts this before its repositories' names; the registry and its token service know them
    /// without it.
    Below(&'static str),
}

impl Scope {
    /// What the registry calls the repository that clients call `name`.
    pub(crate) fn known_as<'n>(&self, name: &'n str) -> &'n str {
        match self {
            Self::Below(prefix) => name.strip_prefix(prefix).unwrap_or(name),
            _ => name,
        }
    }

    /// What clients call the repository that the registry calls `name`.
    pub(crate) fn called(&self, name: &str) -> String {
        match self {
            Self::Below(prefix) => format!("{prefix}{name}"),
            _ => name.to_owned(),
        }
    }
}

/// How the token service behaves.
#[derive(Clone, Debug)]
pub struct TokenAuth {
    /// The service that the challenge names and the token service insists on.
    pub service: String,
    /// The path of the token service.
    pub path: &'static str,
    /// The scope that challenges name.
    pub scope: Scope,
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
    /// What the registry makes of passwords.
    pub passwords: Passwords,
    /// What it makes of a refresh token, which a user's password is as well unless they are exchanged.
    pub refresh: Refresh,
    /// Makes tokens for a registry that is not the origin; the origin's own are opaque, and it takes no others.
    pub mint: Option<Mint>,
}

type Make = dyn Fn(&str, &[&str]) -> String + Send + Sync;

/// Makes a token of a user's name and of the scopes that were granted, as they were asked for.
#[derive(Clone)]
pub struct Mint(Arc<Make>);

impl Mint {
    /// Makes tokens so.
    pub fn new(mint: impl Fn(&str, &[&str]) -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(mint))
    }

    pub(crate) fn token(&self, identity: &Identity, scopes: &[&str]) -> String {
        (self.0)(identity.user.as_deref().unwrap_or_default(), scopes)
    }
}

impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mint")
    }
}

impl Default for TokenAuth {
    fn default() -> Self {
        Self {
            service: "registry.docker.io".to_owned(),
            path: "/token",
            scope: Scope::default(),
            lifetime: Duration::from_mins(5),
            announces_lifetime: true,
            announces_issue: true,
            field: TokenField::default(),
            realm: None,
            grants_unknown: false,
            passwords: Passwords::default(),
            refresh: Refresh::default(),
            mint: None,
        }
    }
}
