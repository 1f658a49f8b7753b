//! Whether the configured login is to be had, and whether the registry takes it: as `docker login` does, with a token of no
//! scope where it is tokens that are asked for.

use super::greeting::{Asked, Greeting};
use super::{Finding, Probe, Step};
use crate::config::Credentials;
use crate::upstream::auth::Grant;
use crate::upstream::challenge::Challenge;
use crate::upstream::credentials::Login;
use crate::upstream::error::{ErrorKind, UpstreamError, printable};
use crate::upstream::refusal::Refusal;
use crate::upstream::transport::host_of;

impl Probe<'_> {
    /// Who forebay is to the registry, and what that is worth.
    pub(super) async fn log_in(&self, greeting: &Greeting) -> Finding {
        if self.is_for_clients() {
            return self.logins_of_clients(greeting).await;
        }
        let origin = &self.endpoint.origin;
        let held = match self.upstream.auth().login(origin, None).await {
            Ok(held) => held,
            Err(error) => {
                return Finding::wrong(Step::Login, self.told(&error)).change(self.source_advice());
            }
        };
        let who = self.who(&held.login);
        let is_anonymous = held.login == Login::Anonymous;
        let Asked { challenge, refusal } = match &greeting.asks {
            Some(asked) => asked,
            None if is_anonymous => return Finding::good(Step::Login, who),
            None => {
                let seen = format!("{who}, which GET /v2/ does not ask for");
                return if self.images.is_empty() {
                    Finding::note(Step::Login, seen)
                        .change("name an image of this registry to see whether the login opens it")
                } else {
                    Finding::good(Step::Login, seen)
                };
            }
        };
        match challenge {
            Challenge::Basic if held.login.basic().is_none() => self.no_password(&who),
            Challenge::Basic => self.accepted(refusal, format!("{who} is accepted")).await,
            Challenge::Bearer(bearer) => {
                let service = host_of(&bearer.realm);
                if is_anonymous {
                    self.anonymous_token(refusal, &who, &service).await
                } else {
                    let seen = format!("{who} gets a token of {service}, which is accepted");
                    self.accepted(refusal, seen).await
                }
            }
        }
    }

    /// Meets the challenge, and asks once more with what meets it.
    async fn accepted(&self, challenged: &Refusal, seen: String) -> Finding {
        let grant = match self.meet(challenged).await {
            Ok(grant) => grant,
            Err(error) => return self.no_token(&error),
        };
        let refused = match self.ping(Some(&grant)).await {
            Ok(ping) if ping.refusal.status.is_success() => {
                return Finding::good(Step::Login, seen);
            }
            Ok(ping) => grant.withhold(ping.into_error(&self.ping_url())),
            Err(error) => grant.withhold(error),
        };
        let seen = format!("the login is refused: {}", self.told(&refused));
        Finding::wrong(Step::Login, seen).change(self.source_advice())
    }

    /// Nobody needs a token of no scope to read what is public, so not to get one is no mistake.
    async fn anonymous_token(&self, challenged: &Refusal, who: &str, service: &str) -> Finding {
        match self.meet(challenged).await {
            Ok(_) => Finding::good(Step::Login, format!("{who}; {service} gives tokens")),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Unauthorized | ErrorKind::Denied | ErrorKind::Invalid
                ) =>
            {
                let found = Finding::note(Step::Login, format!("{who}; {}", self.told(&error)));
                if self.images.is_empty() {
                    found
                        .change("name an image of this registry to see whether it may be pulled so")
                } else {
                    found
                }
            }
            Err(error) => self.no_token(&error),
        }
    }

    pub(super) async fn meet(&self, challenged: &Refusal) -> Result<Grant, UpstreamError> {
        let url = self.ping_url();
        let (origin, memory) = (&self.endpoint.origin, &self.endpoint.memory);
        let auth = self.upstream.auth();
        let met = auth
            .answer(origin, memory, &url, challenged, None, None)
            .await?;
        let message = "its challenge can't be met";
        met.ok_or_else(|| UpstreamError::invalid(host_of(&url), message))
    }

    pub(super) fn no_token(&self, error: &UpstreamError) -> Finding {
        let advice = match error.kind() {
            ErrorKind::Unauthorized | ErrorKind::Denied => self.source_advice(),
            ErrorKind::TooManyRequests => "wait: the token service refuses for load",
            ErrorKind::Unavailable(_) => {
                "the registry sends logins to this host: let this machine reach it, as it does the registry"
            }
            _ => "no usable answer of a token service: a proxy may have answered instead",
        };
        Finding::wrong(Step::Login, self.told(error)).change_after(error, advice)
    }

    /// Some registries let everyone read all the same; an image tells.
    fn no_password(&self, who: &str) -> Finding {
        let seen = format!("{who}, and the registry asks for a password");
        let found = if self.images.is_empty() {
            Finding::wrong(Step::Login, seen)
        } else {
            Finding::note(Step::Login, seen)
        };
        found.change(self.source_advice())
    }

    /// The user, and where the login comes from.
    fn who(&self, login: &Login) -> String {
        let source = match &self.settings.credentials {
            Credentials::None => return "anonymous (no credentials are set)".to_owned(),
            Credentials::Password { .. } => "`username`".to_owned(),
            Credentials::DockerConfig(settings) => settings.path.display().to_string(),
            Credentials::Ecr(_) => "Amazon ECR's API".to_owned(),
            Credentials::Gcp(_) => "Google's access token".to_owned(),
            Credentials::Acr(_) => "Entra ID".to_owned(),
        };
        match login {
            Login::Anonymous => format!("anonymous (no login in {source})"),
            Login::Password { username, .. } => {
                format!("user `{}` ({source})", printable(username))
            }
            Login::IdentityToken(_) => format!("an identity token ({source})"),
        }
    }

    /// What to look at where the login is not to be had, or refused.
    pub(super) fn source_advice(&self) -> &'static str {
        match self.settings.credentials {
            Credentials::None => "set `username` and `password_file`, or `credentials`",
            Credentials::Password { .. } => {
                "see that `username` is right, and that `password_file` (or `password`) holds a password or access token that \
                 has not expired"
            }
            Credentials::DockerConfig(_) => {
                "log in again with docker or podman as the user that runs the mirror; a credential helper has to be in the \
                 mirror's PATH, and to answer within `helper_timeout`"
            }
            Credentials::Ecr(_) => {
                "see that the AWS key (`aws_profile`, or the environment) is valid and may call \
                 ecr:GetAuthorizationToken, and that the API can be reached (`ecr_endpoint`)"
            }
            Credentials::Gcp(_) => {
                "see that the credentials of Google's (`gcp_key_file`, or the environment) are valid, and that their account \
                 may read the registry (roles/artifactregistry.reader)"
            }
            Credentials::Acr(_) => {
                "see that the identity (`azure_client_id`, or the environment) is right, and may pull (AcrPull)"
            }
        }
    }
}
