//! `WWW-Authenticate`: what a registry wants to see before it answers (RFC 9110 section 11.6.1, and
//! the distribution project's token specification), and which token services a login may go to.
//!
//! Pure; owns no state.

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
    /// The scope to ask for, where it is the registry's own word (ECR Public wants `aws`). A
    /// `repository:` scope is never taken from here: the challenge of a ping holds a placeholder.
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
    /// a registry that offers both takes the token for more.
    pub(crate) fn from_headers(
        headers: &HeaderMap,
        asked: &Url,
    ) -> Result<Challenge, ChallengeError> {
        let mut basic = false;
        for line in headers.get_all(WWW_AUTHENTICATE) {
            // A line that is not text, or goes wrong half way, still counts up to there.
            let line = line.to_str().unwrap_or_default();
            for challenge in ChallengeParser::new(line).map_while(Result::ok) {
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    return Bearer::read(&challenge, asked).map(Challenge::Bearer);
                }
                basic |= challenge.scheme.eq_ignore_ascii_case("basic");
            }
        }
        if basic {
            Ok(Challenge::Basic)
        } else {
            Err(ChallengeError::Missing)
        }
    }
}

impl Bearer {
    fn read(challenge: &ChallengeRef<'_>, asked: &Url) -> Result<Bearer, ChallengeError> {
        let param = |name: &str| {
            challenge
                .params
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_unescaped())
        };
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
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(lines: &[&str]) -> Result<Challenge, ChallengeError> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(line).unwrap());
        }
        let asked = Url::parse("https://registry.example.com/v2/a/manifests/b").unwrap();
        Challenge::from_headers(&headers, &asked)
    }

    fn bearer(lines: &[&str]) -> Bearer {
        match read(lines) {
            Ok(Challenge::Bearer(bearer)) => bearer,
            other => panic!("expected a bearer challenge, got {other:?}"),
        }
    }

    #[test]
    fn bearer_challenge_is_read_with_commas_in_its_values() {
        let found = bearer(&[
            r#"Bearer realm="https://auth.example.com/token?a=1,2",service="reg, the first",scope="repository:a/b:pull,push""#,
        ]);
        assert_eq!(found.realm.as_str(), "https://auth.example.com/token?a=1,2");
        assert_eq!(found.service.as_deref(), Some("reg, the first"));
        assert_eq!(found.scope, None);
    }

    #[test]
    fn bearer_is_found_behind_other_schemes_and_on_later_lines() {
        for lines in [
            &[r#"Basic realm="x", Bearer realm="https://a.example.com/t""#][..],
            &[
                r#"Basic realm="x""#,
                r#"bearer REALM="https://a.example.com/t""#,
            ],
            &["Negotiate", r#"Bearer realm="https://a.example.com/t""#],
            &[
                "Negotiate abc==",
                r#"Bearer realm="https://a.example.com/t""#,
            ],
        ] {
            assert_eq!(bearer(lines).realm.as_str(), "https://a.example.com/t");
        }
    }

    #[test]
    fn relative_realm_is_resolved_and_its_query_kept() {
        let found = bearer(&[r#"Bearer realm="/token?account=x""#]);
        assert_eq!(
            found.token_url("repository:a/b:pull").as_str(),
            "https://registry.example.com/token?account=x&scope=repository%3Aa%2Fb%3Apull"
        );
    }

    #[test]
    fn scope_in_the_registrys_own_words_is_kept() {
        let found =
            bearer(&[r#"Bearer realm="https://p.example.com/token/",service="p",scope="aws""#]);
        assert_eq!(found.scope.as_deref(), Some("aws"));
    }

    #[test]
    fn basic_alone_is_basic_and_nothing_usable_is_an_error() {
        assert_eq!(read(&[r#"Basic realm="Registry""#]), Ok(Challenge::Basic));
        assert_eq!(read(&[]), Err(ChallengeError::Missing));
        assert_eq!(read(&["Digest nonce=1"]), Err(ChallengeError::Missing));
        assert_eq!(read(&["Bearer service=x"]), Err(ChallengeError::BadRealm));
        assert_eq!(
            read(&[r#"Bearer realm="https://user:pw@a.example.com/""#]),
            Err(ChallengeError::BadRealm)
        );
        assert_eq!(
            read(&[r#"Bearer realm="file:///etc/passwd""#]),
            Err(ChallengeError::BadRealm)
        );
    }

    #[test]
    fn realm_must_be_on_the_registrys_domain_or_listed() {
        let check = |registry: &str, realm: &str, trusted: &[&str]| {
            let bearer = Bearer {
                realm: Url::parse(realm).unwrap(),
                service: None,
                scope: None,
            };
            let registry = Origin::of(&Url::parse(registry).unwrap()).unwrap();
            let trusted: Vec<String> = trusted.iter().map(ToString::to_string).collect();
            bearer.check_realm(&registry, &trusted).is_ok()
        };
        let hub = "https://registry-1.docker.io";
        assert!(check(hub, "https://auth.docker.io/token", &[]));
        assert!(check("https://ghcr.io", "https://ghcr.io/token", &[]));
        assert!(check("https://ghcr.io", "https://ghcr.io:8443/token", &[]));
        assert!(!check(hub, "http://auth.docker.io/token", &[]));
        assert!(!check(hub, "https://evil.io/token", &[]));
        assert!(!check(hub, "https://docker.io.evil.io/token", &[]));
        assert!(!check(hub, "https://notdocker.io/token", &[]));
        // Different owners under one public suffix.
        assert!(!check(
            "https://a.github.io",
            "https://b.github.io/token",
            &[]
        ));
        assert!(!check("https://a.co.uk", "https://b.co.uk/token", &[]));
        assert!(check(
            "https://nvcr.io",
            "https://authn.nvidia.com/token",
            &["authn.nvidia.com"]
        ));
        assert!(check(
            "https://nvcr.io",
            "https://authn.nvidia.com/token",
            &["authn.nvidia.com:443"]
        ));
        assert!(!check(
            "https://nvcr.io",
            "https://authn.nvidia.com:444/token",
            &["authn.nvidia.com:443"]
        ));
        assert!(!check(
            "https://nvcr.io",
            "http://authn.nvidia.com/token",
            &["authn.nvidia.com"]
        ));
        // Addresses have no domain to share.
        assert!(check(
            "http://10.0.0.1:5000",
            "http://10.0.0.1:5001/token",
            &[]
        ));
        assert!(!check(
            "http://10.0.0.1:5000",
            "http://10.0.0.2:5001/token",
            &[]
        ));
    }

    #[test]
    fn a_token_without_a_scope_is_asked_for_without_the_word() {
        let found = bearer(&[r#"Bearer realm="https://auth.example.com/token",service="reg""#]);
        let url = found.token_url("");
        assert_eq!(url.as_str(), "https://auth.example.com/token?service=reg");
        assert!(!found.refresh_form("", "t").contains("scope"));
        assert!(
            found
                .refresh_form("repository:a:pull", "t")
                .contains("scope=repository")
        );
    }

    proptest::proptest! {
        #[test]
        fn any_header_text_is_survived(line in "[ -~]{0,200}") {
            let _ = read(&[&line]);
        }

        #[test]
        fn any_realm_text_gives_http_or_https_or_an_error(realm in "[!#-\\[\\]-~]{0,60}") {
            if let Ok(Challenge::Bearer(bearer)) = read(&[&format!("Bearer realm=\"{realm}\"")]) {
                proptest::prop_assert!(matches!(bearer.realm.scheme(), "http" | "https"));
                proptest::prop_assert!(bearer.realm.password().is_none());
            }
        }
    }
}
