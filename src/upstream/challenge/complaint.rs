//! What a refusal says of the token that was sent (RFC 6750 section 3): what is wrong with it, and
//! which repository it ought to be for.

use http::HeaderMap;

use super::{challenges, param};
use crate::oci::RepositoryName;

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The registry does not say.
    #[default]
    Unsaid,
    /// `invalid_token`: expired, revoked, malformed.
    Invalid,
    /// `insufficient_scope`: good, but not for this.
    InsufficientScope,
}

/// What a refusal says of the token that was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) fault: Fault,
    /// The repositories whose `pull` the registry wants a token for.
    repositories: Vec<RepositoryName>,
}

impl Complaint {
    /// Of the first bearer challenge.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Complaint {
        let bearer = challenges(headers).find(|c| c.scheme.eq_ignore_ascii_case("bearer"));
        let Some(bearer) = bearer else {
            return Complaint::default();
        };
        let fault = match param(&bearer, "error").as_deref() {
            Some("invalid_token") => Fault::Invalid,
            Some("insufficient_scope") => Fault::InsufficientScope,
            _ => Fault::Unsaid,
        };
        let scope = param(&bearer, "scope").unwrap_or_default();
        let repositories = scope.split_ascii_whitespace().filter_map(pulled);
        Complaint {
            fault,
            repositories: repositories.collect(),
        }
    }

    /// The repository that the registry calls the one that was asked for, where it has another name
    /// for it: behind a proxy that rewrites paths the registry sees a name that clients do not.
    pub(crate) fn stand_in(&self, name: &RepositoryName) -> Option<&RepositoryName> {
        match self.repositories.first() {
            Some(_) if self.repositories.contains(name) => None,
            other => other,
        }
    }
}

/// The repository of a scope that covers pulling from it. Nothing more is ever asked for.
fn pulled(scope: &str) -> Option<RepositoryName> {
    let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
    let covers = actions.split(',').any(|action| action == "pull");
    covers.then(|| name.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;

    use super::*;

    fn complaint(line: &str) -> Complaint {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, line.parse().unwrap());
        Complaint::from_headers(&headers)
    }

    #[test]
    fn what_is_wrong_with_a_token_is_read_in_the_rfcs_words() {
        let fault = |rest: &str| complaint(&format!("Bearer realm=\"/t\"{rest}")).fault;
        assert_eq!(fault(""), Fault::Unsaid);
        assert_eq!(fault(",error=\"invalid_token\""), Fault::Invalid);
        assert_eq!(fault(",error=invalid_token"), Fault::Invalid);
        assert_eq!(
            fault(",error=\"insufficient_scope\""),
            Fault::InsufficientScope
        );
        assert_eq!(fault(",error=\"of another kind\""), Fault::Unsaid);
        assert_eq!(complaint("Basic error=invalid_token").fault, Fault::Unsaid);
    }

    #[test]
    fn only_another_repository_that_can_be_pulled_from_stands_in() {
        let name: RepositoryName = "team/app".parse().unwrap();
        let stand_in = |scope: &str| {
            let complaint = complaint(&format!("Bearer realm=\"/t\",scope=\"{scope}\""));
            complaint.stand_in(&name).map(ToString::to_string)
        };
        let other = Some("app".to_owned());
        assert_eq!(stand_in("repository:app:pull"), other);
        assert_eq!(stand_in("repository:app:push,pull"), other);
        assert_eq!(stand_in("registry:catalog:* repository:app:pull"), other);
        assert_eq!(stand_in("repository:team/app:pull"), None);
        assert_eq!(
            stand_in("repository:app:pull repository:team/app:pull"),
            None
        );
        for scope in [
            "",
            "aws",
            "repository:app",
            "repository:app:push",
            "repository:app:*",
            "repository::pull",
            "repository:App:pull",
            "repository:../app:pull",
            "registry:catalog:pull",
        ] {
            assert_eq!(stand_in(scope), None, "{scope}");
        }
    }
}
