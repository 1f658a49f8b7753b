//! `WWW-Authenticate`: what a registry wants to see before it answers (RFC 9110 section 11.6.1, and
//! the distribution project's token specification), and which token services a login may go to.
//!
//! Pure; owns no state.

mod complaint;

pub(crate) use complaint::{Complaint, Fault};

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use http_auth::{ChallengeParser, ChallengeRef};
use url::{Host, Url, form_urlencoded};

use super::address::Origin;

/// The one challenge of an answer that forebay can meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Get a token from `realm`, then send it.
    Bearer(Bearer),
    /// Send user name and password with each request.
    Basic,
}

/// A bearer challenge, its realm made absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) realm: Url,
    pub(crate) service: Option<String>,
    /// The scope to ask for, where it is the registry's own word (ECR Public wants `aws`). For a
    /// `repository:` scope see [`Complaint`].
    pub(crate) scope: Option<String>,
}

/// Why no login follows from an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChallengeError {
    #[error("it asks for a login without saying how (no usable WWW-Authenticate header)")]
    Missing,
    #[error("its token service address can't be read")]
    BadRealm,
    #[error("its token service is plain http while the registry is https")]
    Downgrade,
    #[error(
        "its token service {0} is on another domain: add the host to trusted_realms for this upstream if \
         you trust it"
    )]
    ForeignRealm(String),
}

impl ChallengeError {
    /// The key of an upstream's table that lifts the refusal.
    pub(crate) fn allowed_by(&self) -> Option<&'static str> {
        matches!(self, ChallengeError::ForeignRealm(_)).then_some("trusted_realms")
    }
}

impl Challenge {
    /// Reads every `WWW-Authenticate` line of an answer from `asked`. Bearer is preferred to Basic:
    /// a registry that offers both takes the token for more. Of several, the first that can be read.
    pub(crate) fn from_headers(
        headers: &HeaderMap,
        asked: &Url,
    ) -> Result<Challenge, ChallengeError> {
        let mut basic = false;
        let mut unusable = ChallengeError::Missing;
        for challenge in challenges(headers) {
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                match Bearer::read(&challenge, asked) {
                    Ok(bearer) => return Ok(Challenge::Bearer(bearer)),
                    Err(error) => unusable = error,
                }
            }
            basic |= challenge.scheme.eq_ignore_ascii_case("basic");
        }
        if basic {
            Ok(Challenge::Basic)
        } else {
            Err(unusable)
        }
    }
}

/// The challenges of all lines. One that goes wrong half way still counts up to there.
fn challenges(headers: &HeaderMap) -> impl Iterator<Item = ChallengeRef<'_>> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| ChallengeParser::new(line).map_while(Result::ok))
}

/// A parameter of a challenge.
fn param(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let named = |(key, _): &&(&str, _)| key.eq_ignore_ascii_case(name);
    let (_, value) = challenge.params.iter().find(named)?;
    Some(value.to_unescaped())
}

impl Bearer {
    fn read(challenge: &ChallengeRef<'_>, asked: &Url) -> Result<Bearer, ChallengeError> {
        let param = |name| param(challenge, name);
        let realm = param("realm").ok_or(ChallengeError::BadRealm)?;
        let realm = asked
            .join(&realm)
            .map_err(|_| ChallengeError::BadRealm)
            .and_then(|url| match Origin::of(&url) {
                Some(_) if url.username().is_empty() && url.password().is_none() => Ok(url),
                _ => Err(ChallengeError::BadRealm),
            })?;
        Ok(Bearer {
            realm,
            service: param("service").filter(|service| !service.is_empty()),
            scope: param("scope").filter(|scope| !scope.is_empty() && !scope.contains(':')),
        })
    }

    /// Whether a login for the registry at `registry` may be sent to this realm: the same host, the
    /// same registrable domain, or a host that the operator trusts; never over plain http when the
    /// registry is https.
    pub(crate) fn check_realm(
        &self,
        registry: &Origin,
        trusted: &[String],
    ) -> Result<(), ChallengeError> {
        let realm = Origin::of(&self.realm).ok_or(ChallengeError::BadRealm)?;
        if registry.is_secure() && !realm.is_secure() {
            return Err(ChallengeError::Downgrade);
        }
        let host = realm.host().to_string();
        if same_site(registry.host(), realm.host())
            || trusted
                .iter()
                .any(|name| is_named(&realm, &self.realm, name))
        {
            Ok(())
        } else {
            Err(ChallengeError::ForeignRealm(host))
        }
    }

    /// The form that asks this realm for a token in exchange for a refresh token; of no scope if that is empty.
    pub(crate) fn refresh_form(&self, scope: &str, refresh_token: &str) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token")
            .append_pair("client_id", "forebay")
            .append_pair("refresh_token", refresh_token);
        if !scope.is_empty() {
            form.append_pair("scope", scope);
        }
        if let Some(service) = &self.service {
            form.append_pair("service", service);
        }
        form.finish()
    }

    /// The URL that asks this realm for a token, of no scope if that is empty; a query that the realm already has is kept.
    pub(crate) fn token_url(&self, scope: &str) -> Url {
        let mut url = self.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &self.service {
                query.append_pair("service", service);
            }
            if !scope.is_empty() {
                query.append_pair("scope", scope);
            }
        }
        url
    }
}

/// `trusted_realms` names hosts, or `host:port` to trust one port only.
fn is_named(realm: &Origin, url: &Url, trusted: &str) -> bool {
    let host = realm.host().to_string();
    trusted.eq_ignore_ascii_case(&host)
        || url
            .port_or_known_default()
            .is_some_and(|port| trusted.eq_ignore_ascii_case(&format!("{host}:{port}")))
}

fn same_site(a: &Host<String>, b: &Host<String>) -> bool {
    if a == b {
        return true;
    }
    match (a, b) {
        (Host::Domain(a), Host::Domain(b)) => {
            let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
            match (psl::domain_str(&a), psl::domain_str(&b)) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
