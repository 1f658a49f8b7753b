//! Who forebay is to an upstream: the seam behind which each kind of credentials has a file.
//!
//! A [`Source`] comes up with a [`Login`] when it is asked; [`Keeper`] asks it as seldom as it may. What meets a
//! challenge with it is [`super::auth`].

#[cfg(feature = "azure")]
mod acr;
#[cfg_attr(
    not(any(feature = "aws", feature = "azure", feature = "gcp")),
    expect(dead_code, reason = "no other login is asked for with it")
)]
mod cloud;
mod docker_config;
#[cfg(feature = "aws")]
mod ecr;
mod files;
#[cfg(feature = "gcp")]
mod gcp;
mod helper;
mod keeper;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use super::address::Origin;
use super::error::{ErrorKind, Trouble, UpstreamError};
use super::transport::Transport;
use crate::config::{self, Secret};
use crate::oci::{Registry, RepositoryName};

pub(crate) use cloud::Cloud;
pub(crate) use docker_config::LoginFiles;
pub(crate) use keeper::{Held, Keeper};

/// What a registry or its token service is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// Nothing: anonymous tokens only.
    Anonymous,
    /// A user's name and password, for Basic and for the token service alike.
    Password {
        /// The user.
        username: String,
        /// The password, an access token or the like.
        password: Secret,
    },
    /// A refresh token, which only a token service takes.
    IdentityToken(Secret),
}

impl Login {
    /// `Authorization` for the Basic scheme; `None` unless there is a password.
    pub(crate) fn basic(&self) -> Option<HeaderValue> {
        match self {
            Login::Password { username, password } => Some(basic(username, password)),
            Login::Anonymous | Login::IdentityToken(_) => None,
        }
    }

    /// Whether what it opens may not be shown to everyone.
    pub(crate) fn access(&self) -> Access {
        match self {
            Login::Anonymous => Access::Anonymous,
            Login::Password { .. } | Login::IdentityToken(_) => Access::Credentialed,
        }
    }
}

/// `Basic` with this pair, marked as sensitive.
pub(crate) fn basic(username: &str, password: &Secret) -> HeaderValue {
    let pair = STANDARD.encode(format!("{username}:{}", password.expose()));
    let mut value =
        HeaderValue::try_from(format!("Basic {pair}")).expect("base64 is a header value");
    value.set_sensitive(true);
    value
}

/// How the account begins of a login that a client has brought: what follows means nothing to another process.
pub(crate) const BROUGHT: &str = "client ";

/// Whose a token is, as part of its key in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    Anonymous,
    /// A user, by the account that its password was found under: one name may have a password each for two of them.
    User {
        name: String,
        account: String,
    },
    /// The holder of an identity token, by the account that it was found under.
    Holder(String),
}

/// A login that a source came up with.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) login: Login,
    /// When to ask for another one, while this one still serves.
    pub(crate) renew_after: Duration,
    /// When it is of no use any more, where it ends by itself.
    pub(crate) expires_after: Option<Duration>,
}

impl Issued {
    /// A login that ends: renewed at half of its life.
    #[cfg(any(test, feature = "aws", feature = "azure", feature = "gcp"))]
    pub(crate) fn for_a_while(login: Login, life: Duration) -> Issued {
        Issued {
            login,
            renew_after: life / 2,
            expires_after: Some(life),
        }
    }

    /// A login that does not end, but may be replaced where it came from.
    pub(crate) fn looked_up(login: Login, renew_after: Duration) -> Issued {
        Issued {
            login,
            renew_after,
            expires_after: None,
        }
    }
}

/// Why a source has no login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoginError {
    /// It can't say now: a helper that hangs, a file that can't be read, a cloud that is out of reach. Nothing is known
    /// about the right to read, so a stale answer may still be served.
    #[error("{0}")]
    Broken(String),
    /// Whoever gives out logins says no: a key that is unknown or expired.
    #[cfg_attr(
        not(any(feature = "aws", feature = "azure", feature = "gcp")),
        expect(dead_code, reason = "nobody else says no")
    )]
    #[error("{0}")]
    Refused(String),
}

impl LoginError {
    /// The error of the request that needed the login, which is of this `credentials`. What a helper prints and a cloud
    /// says, with its accounts and paths, is for the operator; clients are told where to look.
    pub(crate) fn at(&self, registry: &Origin, credentials: &str) -> UpstreamError {
        let (kind, what) = match self {
            LoginError::Broken(_) => (ErrorKind::Unavailable(Trouble::Login), "can't be had"),
            LoginError::Refused(_) => (ErrorKind::Unauthorized, "is refused"),
        };
        let message = format!("the login of its {credentials} {what}: the mirror's log says why");
        UpstreamError::new(kind, registry.host(), message).because(self.to_string())
    }
}

/// What a source is waited for.
pub(crate) type Issuing<'a> = Pin<Box<dyn Future<Output = Result<Issued, LoginError>> + Send + 'a>>;

/// From a question to a cloud to its login. The metadata of a machine that is none of that cloud's takes a while to not
/// answer.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
const PATIENCE: Duration = Duration::from_secs(15);

/// A cloud's answer, if it comes in time; the error says what did not.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
async fn in_time(
    what: &str,
    asking: impl Future<Output = Result<Issued, LoginError>>,
) -> Result<Issued, LoginError> {
    let answer = tokio::time::timeout(PATIENCE, asking).await;
    answer.unwrap_or_else(|_| Err(LoginError::Broken(format!("{what} within {PATIENCE:?}"))))
}

/// A kind of credentials, for one upstream.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// Which of its accounts a repository, or without one the registry itself, is read with. Logins are kept by it, so it
    /// takes few values.
    fn account(&self, registry: &Origin, name: Option<&RepositoryName>) -> String;

    /// Comes up with a login for an account, in bounded time.
    fn issue<'a>(&'a self, registry: &'a Origin, account: &'a str) -> Issuing<'a>;
}

/// The credentials of an upstream.
#[derive(Debug)]
pub(crate) enum Credentials {
    /// What the configuration holds.
    Fixed(Arc<Held>),
    /// What has to be asked for.
    Kept {
        keeper: Keeper,
        /// What it was configured as.
        kind: &'static str,
    },
}

impl Credentials {
    pub(crate) fn new(
        settings: &config::Credentials,
        registry: &Registry,
        cloud: &Cloud,
        files: &LoginFiles,
        transport: &Arc<Transport>,
    ) -> Credentials {
        let kept = |kind, source: Arc<dyn Source>| Credentials::Kept {
            keeper: Keeper::new(source),
            kind,
        };
        let fixed = |login| Credentials::Fixed(Arc::new(Held::fixed(login)));
        match settings {
            config::Credentials::None => fixed(Login::Anonymous),
            config::Credentials::Password {
                username,
                file: Some(path),
                ..
            } => kept(
                "password_file",
                Arc::new(files::PasswordFile::new(username.clone(), path.clone())),
            ),
            config::Credentials::Password {
                username, password, ..
            } => fixed(Login::Password {
                username: username.clone(),
                password: password.clone(),
            }),
            config::Credentials::DockerConfig(settings) => kept(
                "docker-config",
                Arc::new(docker_config::DockerConfig::new(settings.clone(), files)),
            ),
            #[cfg(feature = "aws")]
            config::Credentials::Ecr(settings) => kept(
                "ecr",
                Arc::new(ecr::Ecr::new(
                    settings.clone(),
                    registry.clone(),
                    cloud.clone(),
                    Cloud::beside(transport),
                )),
            ),
            #[cfg(feature = "gcp")]
            config::Credentials::Gcp(settings) => kept(
                "gcp",
                Arc::new(gcp::Gcp::new(settings.clone(), cloud.clone())),
            ),
            #[cfg(feature = "azure")]
            config::Credentials::Acr(settings) => kept(
                "acr",
                Arc::new(acr::Acr::new(
                    settings.clone(),
                    cloud.clone(),
                    transport.clone(),
                )),
            ),
            // The configuration has refused a kind that this build lacks.
            #[cfg(not(all(feature = "aws", feature = "azure", feature = "gcp")))]
            _ => {
                let _ = (registry, cloud, transport);
                fixed(Login::Anonymous)
            }
        }
    }

    /// What they were configured as; `None` where the configuration has no more to say.
    pub(crate) fn kind(&self) -> Option<&'static str> {
        match self {
            Credentials::Fixed(_) => None,
            Credentials::Kept { kind, .. } => Some(kind),
        }
    }

    /// Whose login a repository is read with: the same text for the same account, in every process.
    pub(crate) fn account(&self, registry: &Origin, name: &RepositoryName) -> String {
        match self {
            Credentials::Fixed(held) => match (&held.login, held.brought_by()) {
                // Nobody is counted by where they come from, whoever asks.
                (Login::Anonymous, _) | (Login::IdentityToken(_), None) => String::new(),
                // One password is one account; of two clients that say one name, one may have made it up.
                (_, Some(client)) => format!("{BROUGHT}{client}"),
                (Login::Password { username, .. }, None) => format!("user {username}"),
            },
            Credentials::Kept { keeper, .. } => {
                format!("account {}", keeper.name_of(registry, name))
            }
        }
    }

    /// The login for a repository, or without one for the registry itself.
    pub(crate) async fn login(
        &self,
        registry: &Origin,
        name: Option<&RepositoryName>,
    ) -> Result<Arc<Held>, UpstreamError> {
        match self {
            Credentials::Fixed(held) => Ok(held.clone()),
            Credentials::Kept { keeper, kind } => keeper
                .login(registry, name)
                .await
                .map_err(|error| error.at(registry, kind)),
        }
    }

    /// A login in the place of one that was refused; `None` where there is no other.
    pub(crate) async fn another(
        &self,
        registry: &Origin,
        refused: &Held,
    ) -> Result<Option<Arc<Held>>, UpstreamError> {
        match self {
            Credentials::Fixed(_) => Ok(None),
            Credentials::Kept { keeper, kind } => keeper
                .another(registry, refused)
                .await
                .map_err(|error| error.at(registry, kind)),
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

    #[test]
    fn passwords_are_sent_as_basic_and_never_printed() {
        let login = Login::Password {
            username: "user".to_owned(),
            password: Secret::new("canary-7"),
        };
        let header = login.basic().unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic dXNlcjpjYW5hcnktNw==");
        let printed = format!("{login:?} {header:?} {:?}", Held::fixed(login.clone()));
        assert!(
            !printed.contains("canary") && !printed.contains("dXNl"),
            "{printed}"
        );
        assert!(Login::Anonymous.basic().is_none());
        assert!(Login::IdentityToken(Secret::new("t")).basic().is_none());
    }
}
