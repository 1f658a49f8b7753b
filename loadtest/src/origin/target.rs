//! What a request's method and path ask for.

use http::Method;
use percent_encoding::percent_decode_str;

use super::connection::Head;
use super::request::Kind;
use super::script::Facts;
use super::state::Settings;
use super::{Server, cdn};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Ping,
    Token {
        scopes: Vec<String>,
    },
    /// A refresh token for an access token of the registry's cloud, as at Azure's registries.
    Exchange,
    Manifest {
        name: String,
        reference: String,
    },
    Blob {
        name: String,
        digest: String,
    },
    Cdn {
        name: Option<String>,
        digest: String,
    },
    Tags {
        name: String,
    },
    Referrers {
        name: String,
        digest: String,
    },
    Unknown,
}

impl Target {
    pub(crate) fn of(server: Server, head: &Head, settings: &Settings) -> Self {
        let path = percent_decode_str(head.path()).decode_utf8_lossy();
        if server != Server::Token && path.starts_with(cdn::PREFIX) {
            return cdn::target(&path, &head.query()).unwrap_or(Self::Unknown);
        }
        match server {
            Server::Registry if path == "/oauth2/exchange" => Self::Exchange,
            Server::Registry => Self::at_registry(&path).unwrap_or(Self::Unknown),
            Server::Cdn if settings.quirks.moved_below.is_some() => {
                Self::at_registry(&path).unwrap_or(Self::Unknown)
            }
            Server::Token if path == settings.token_path() => Self::Token {
                scopes: head
                    .parameters()
                    .into_iter()
                    .filter(|(key, _)| key == "scope")
                    .flat_map(|(_, value)| value.split(' ').map(str::to_owned).collect::<Vec<_>>())
                    .filter(|scope| !scope.is_empty())
                    .collect(),
            },
            Server::Token | Server::Cdn => Self::Unknown,
        }
    }

    fn at_registry(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/v2")?;
        if rest.is_empty() || rest == "/" {
            return Some(Self::Ping);
        }
        let (front, last) = rest.strip_prefix('/')?.rsplit_once('/')?;
        let (name, what) = front.rsplit_once('/')?;
        let (name, last) = (name.to_owned(), last.to_owned());
        match what {
            "manifests" => Some(Self::Manifest {
                name,
                reference: last,
            }),
            "blobs" => Some(Self::Blob { name, digest: last }),
            "referrers" => Some(Self::Referrers { name, digest: last }),
            "tags" if last == "list" => Some(Self::Tags { name }),
            _ => None,
        }
    }

    pub(crate) fn kind(&self, method: &Method) -> Kind {
        let is_head = match *method {
            Method::POST if matches!(self, Self::Token { .. } | Self::Exchange) => false,
            Method::GET => false,
            Method::HEAD => true,
            _ => return Kind::Other,
        };
        match (self, is_head) {
            (Self::Ping, _) => Kind::Ping,
            (Self::Token { .. } | Self::Exchange, _) => Kind::Token,
            (Self::Manifest { .. }, true) => Kind::ManifestHead,
            (Self::Manifest { .. }, false) => Kind::ManifestGet,
            (Self::Blob { .. }, true) => Kind::BlobHead,
            (Self::Blob { .. }, false) => Kind::BlobGet,
            (Self::Cdn { .. }, true) => Kind::CdnHead,
            (Self::Cdn { .. }, false) => Kind::CdnGet,
            (Self::Tags { .. }, _) => Kind::Tags,
            (Self::Referrers { .. }, _) => Kind::Referrers,
            (Self::Unknown, _) => Kind::Other,
        }
    }

    /// The repository whose readers may ask; a token's first.
    pub(crate) fn repository(&self) -> Option<&str> {
        match self {
            Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::Tags { name }
            | Self::Referrers { name, .. } => Some(name),
            Self::Cdn { name, .. } => name.as_deref(),
            Self::Token { scopes } => scopes.iter().find_map(|scope| repository_of(scope)),
            Self::Ping | Self::Exchange | Self::Unknown => None,
        }
    }

    pub(crate) fn reference(&self) -> Option<&str> {
        match self {
            Self::Manifest { reference, .. } => Some(reference),
            Self::Blob { digest, .. }
            | Self::Cdn { digest, .. }
            | Self::Referrers { digest, .. } => Some(digest),
            Self::Ping
            | Self::Token { .. }
            | Self::Exchange
            | Self::Tags { .. }
            | Self::Unknown => None,
        }
    }

    pub(crate) fn facts(&self, head: &Head) -> Facts<'_> {
        Facts {
            kind: self.kind(&head.method),
            repository: self.repository(),
            reference: self.reference(),
            ranged: head.headers.contains_key(http::header::RANGE),
        }
    }
}

/// The name in `repository:<name>:<actions>`, if pull is among the actions.
pub(crate) fn repository_of(scope: &str) -> Option<&str> {
    let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
    actions
        .split(',')
        .any(|action| action == "pull" || action == "*")
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart_whatever_the_repository_is_called() {
        let manifest = Target::at_registry("/v2/a/manifests/b/manifests/latest");
        assert_eq!(
            manifest,
            Some(Target::Manifest {
                name: "a/manifests/b".into(),
                reference: "latest".into()
            })
        );
        assert_eq!(Target::at_registry("/v2/"), Some(Target::Ping));
        assert_eq!(Target::at_registry("/v2"), Some(Target::Ping));
        assert_eq!(
            Target::at_registry("/v2/x/tags/list"),
            Some(Target::Tags { name: "x".into() })
        );
        assert_eq!(Target::at_registry("/v2/x/tags/other"), None);
        assert_eq!(Target::at_registry("/v1/x"), None);
    }

    #[test]
    fn scope_must_ask_to_pull_from_a_repository() {
        assert_eq!(
            repository_of("repository:library/app:pull"),
            Some("library/app")
        );
        assert_eq!(
            repository_of("repository:h:5000/app:push,pull"),
            Some("h:5000/app")
        );
        assert_eq!(repository_of("repository:library/app:push"), None);
        assert_eq!(repository_of("registry:catalog:*"), None);
    }
}
