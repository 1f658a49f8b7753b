//! Why a flow has no answer, in terms that `http` maps to a status and an operator can act on.

use std::time::Duration;

use crate::oci::{Digest, ErrorCode, ManifestError, Reference, Registry, Repository, Tag};
use crate::upstream::{ErrorKind, Spent, Trouble, UpstreamError};

use super::fill::plan::Dishonest;
use super::flight;
use super::served::StaleReason;

/// A request that the mirror can't answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// No upstream is configured for the registry: 404 `NAME_UNKNOWN`.
    #[error("registry {0} is not configured here")]
    NotConfigured(Registry),
    /// The operator lets nobody pull it: 403.
    #[error("{repository} may not be pulled through this mirror")]
    NotAllowed {
        /// What was asked for.
        repository: Repository,
        /// For the operator: which key to look at.
        detail: String,
    },
    /// The upstream says that it does not exist: 404 with its code.
    #[error("{message}")]
    NotFound {
        /// `MANIFEST_UNKNOWN`, `BLOB_UNKNOWN` or `NAME_UNKNOWN`.
        code: ErrorCode,
        /// For the client.
        message: String,
    },
    /// The upstream wants a login, or refuses the one configured: 401 without a challenge of our own, as 403.
    #[error("{message}")]
    Denied {
        /// For the client.
        message: String,
        /// For the operator: which key to look at.
        detail: String,
    },
    /// Each client logs in for itself, and this one has not: 401 with a challenge.
    #[error("{message}")]
    LoginNeeded {
        /// For the client.
        message: String,
        /// For whoever uses it: where to log in.
        detail: String,
    },
    /// The login that the upstream wants can't be had, which says nothing of the right to read: 403, or what is stale.
    #[error("{message}")]
    NoLogin {
        /// For the client.
        message: String,
        /// For the operator: which key to look at.
        detail: String,
    },
    /// The range lies outside the blob: 416 with `bytes */size`.
    #[error("the range lies outside the {size} bytes of the blob")]
    RangeNotSatisfiable {
        /// Size of the blob in bytes.
        size: u64,
    },
    /// The upstream's quota is used up and nothing is cached: 429.
    #[error("{message}")]
    TooManyRequests {
        /// When another try makes sense.
        retry_after: Option<Duration>,
        /// For the client.
        message: String,
        /// For the operator: which quota, where that is known.
        quota: Option<Box<Spent>>,
    },
    /// The upstream's answer is unusable (wrong digest, bad manifest, refused redirect): 502.
    #[error("{message}")]
    BadUpstream {
        /// For the client.
        message: String,
        /// For the operator.
        detail: Option<String>,
    },
    /// The upstream can't be reached or is failing: 503, or 504 for a time-out.
    #[error("{message}")]
    Unavailable {
        /// Whether it was a time-out.
        timed_out: bool,
        /// Where it was not asked, since it has kept failing: for how long it is left alone.
        left_alone: Option<Duration>,
        /// For the client.
        message: String,
    },
    /// The mirror itself is at a bound of its own or stopping: 503.
    #[error("{0}")]
    Busy(String),
    /// A fault of the mirror's own that is not the upstream's: 500. Details are in the log.
    #[error("internal error")]
    Internal,
}

impl MirrorError {
    /// Whether a stale answer may take its place, and why: only while the upstream is unreachable or refuses for load.
    pub fn allows_stale(&self) -> Option<StaleReason> {
        match self {
            Self::Unavailable { .. } | Self::NoLogin { .. } => Some(StaleReason::Unavailable),
            Self::TooManyRequests { .. } => Some(StaleReason::Quota),
            _ => None,
        }
    }

    /// An upstream's answer to a question about a manifest.
    pub fn from_manifest(
        error: &UpstreamError,
        repository: &Repository,
        reference: &Reference,
    ) -> Self {
        let separator = match reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        let what = format!("manifest {repository}{separator}{reference}");
        Self::from_upstream(error, repository, &what, ErrorCode::ManifestUnknown)
    }

    /// An upstream's answer to a question about a blob.
    pub fn from_blob(error: &UpstreamError, repository: &Repository, digest: &Digest) -> Self {
        let what = format!("blob {repository}@{digest}");
        Self::from_upstream(error, repository, &what, ErrorCode::BlobUnknown)
    }

    /// An upstream's answer to a question about a repository's tags.
    pub fn from_listing(error: &UpstreamError, repository: &Repository) -> Self {
        Self::from_upstream(
            error,
            repository,
            &format!("tags of {repository}"),
            ErrorCode::NameUnknown,
        )
    }

    /// An upstream's answer to a question about what refers to a digest.
    pub fn from_referrers(error: &UpstreamError, repository: &Repository, digest: &Digest) -> Self {
        let what = format!("referrers of {repository}@{digest}");
        if error.kind() == ErrorKind::Unsupported {
            // `NAME_UNKNOWN` would keep clients from looking for the tag that stands in for the API.
            return Self::NotFound {
                code: ErrorCode::ManifestUnknown,
                message: format!("{} has no referrers API", repository.registry),
            };
        }
        Self::from_upstream(error, repository, &what, ErrorCode::ManifestUnknown)
    }

    fn from_upstream(
        error: &UpstreamError,
        repository: &Repository,
        what: &str,
        unknown: ErrorCode,
    ) -> Self {
        match error.kind() {
            ErrorKind::NotFound { code } => Self::NotFound {
                code: if code == ErrorCode::NameUnknown {
                    code
                } else {
                    unknown
                },
                message: format!("{what} is not known upstream"),
            },
            kind @ (ErrorKind::Unauthorized | ErrorKind::Denied) => Self::Denied {
                message: format!("the upstream refuses {what}: {error}"),
                detail: login_hint(&repository.registry, kind),
            },
            ErrorKind::TooManyRequests => Self::TooManyRequests {
                retry_after: error.retry_after(),
                message: format!("the quota of {} is used up: {error}", repository.registry),
                quota: error.quota().cloned().map(Box::new),
            },
            ErrorKind::Unavailable(Trouble::Login) => Self::NoLogin {
                message: format!("{what} takes a login: {error}"),
                detail: format!(
                    "see `credentials` under [upstreams.\"{}\"]",
                    repository.registry
                ),
            },
            ErrorKind::Unavailable(trouble) => Self::Unavailable {
                timed_out: trouble == Trouble::Timeout,
                left_alone: error.left_alone(),
                message: format!("{what} can't be fetched: {error}"),
            },
            ErrorKind::Cut => Self::Unavailable {
                timed_out: false,
                left_alone: None,
                message: format!("{what} broke off: {error}"),
            },
            ErrorKind::Policy => Self::BadUpstream {
                message: format!("{what} can't be used: {error}"),
                detail: Some(policy_hint(error.allowed_by(), &repository.registry)),
            },
            ErrorKind::Invalid | ErrorKind::Unsupported | ErrorKind::RangeUnsatisfiable { .. } => {
                Self::BadUpstream {
                    message: format!("{what} can't be used: {error}"),
                    detail: None,
                }
            }
        }
    }

    /// Nobody has logged in, and whoever may see it has to. Says nothing of whether it exists.
    pub fn login_needed(repository: &Repository) -> Self {
        Self::LoginNeeded {
            message: format!("{repository}, if that exists, can't be pulled without a login"),
            detail: login_advice(&repository.registry),
        }
    }

    /// A client's own login may not see it. Says nothing of whether it exists.
    pub fn login_denied(repository: &Repository) -> Self {
        Self::Denied {
            message: format!("the login may not pull {repository}, if that exists"),
            detail: login_advice(&repository.registry),
        }
    }

    /// An upstream's answer to a client's own login.
    pub fn from_login(error: &UpstreamError, registry: &Registry) -> Self {
        match error.kind() {
            ErrorKind::Unauthorized | ErrorKind::Denied | ErrorKind::NotFound { .. } => {
                Self::LoginNeeded {
                    message: format!("{registry} refuses the login"),
                    detail: login_advice(registry),
                }
            }
            ErrorKind::TooManyRequests => Self::TooManyRequests {
                retry_after: error.retry_after(),
                message: format!("{registry} refuses logins for load"),
                quota: None,
            },
            kind => Self::Unavailable {
                timed_out: kind == ErrorKind::Unavailable(Trouble::Timeout),
                left_alone: error.left_alone(),
                message: format!("{registry} can't be asked whether the login is good: {error}"),
            },
        }
    }

    /// `strict_ranges` asks for what only the cache can give.
    pub fn strict_without_cache() -> Self {
        Self::Busy(
            "a range can't be verified while the cache can't take the blob (cache.strict_ranges)"
                .to_owned(),
        )
    }

    /// Too many fetches wait for their turn.
    pub fn too_many_fills() -> Self {
        Self::Busy("too many blobs are waiting to be fetched (fetch.max_fills)".to_owned())
    }

    /// All connections that one upstream may have are busy.
    pub fn busy_upstream() -> Self {
        Self::Busy(
            "all connections to the upstream are busy (fetch.connections_per_upstream)".to_owned(),
        )
    }

    /// A tag has moved, and what is left of the quota is for what is not here at all.
    pub fn put_off(repository: &Repository, tag: &Tag) -> Self {
        Self::TooManyRequests {
            retry_after: None,
            message: format!(
                "little is left of the quota of {}, so that {repository}:{tag} is not looked at now",
                repository.registry
            ),
            quota: None,
        }
    }

    /// Whether it says something of the repository itself, rather than of the moment.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Denied { .. })
    }

    /// An upstream lies about the size of a blob.
    pub fn bad_blob(digest: &Digest, lie: &Dishonest) -> Self {
        Self::BadUpstream {
            message: format!("blob {digest} can't be used: {lie}"),
            detail: None,
        }
    }

    /// A body ended too early, as often as it was continued.
    pub fn cut_short(digest: &Digest) -> Self {
        Self::Unavailable {
            timed_out: false,
            left_alone: None,
            message: format!("blob {digest} broke off before its end"),
        }
    }

    /// The bytes that an upstream gave do not match their digest.
    pub fn wrong_bytes(digest: &Digest) -> Self {
        Self::BadUpstream {
            message: format!("what the upstream sent is not {digest}"),
            detail: Some("its bytes do not match their digest; they were discarded".to_owned()),
        }
    }

    /// A manifest that no client should be given.
    pub fn bad_manifest(repository: &Repository, digest: &Digest, error: &ManifestError) -> Self {
        Self::BadUpstream {
            message: format!("manifest {repository}@{digest} can't be used: {error}"),
            detail: None,
        }
    }

    /// No upstream answered before clients give up on a response head.
    pub fn no_head(repository: &Repository) -> Self {
        Self::Unavailable {
            timed_out: true,
            left_alone: None,
            message: format!("{} has not answered in time", repository.registry),
        }
    }

    /// No upstream tells the size of a blob, and a response head can't go out without it.
    pub fn no_size(repository: &Repository, digest: &Digest) -> Self {
        Self::BadUpstream {
            message: format!(
                "{} does not tell the size of blob {digest}",
                repository.registry
            ),
            detail: None,
        }
    }
}

impl From<flight::Abandoned> for MirrorError {
    fn from(abandoned: flight::Abandoned) -> Self {
        match abandoned {
            flight::Abandoned::Stopping => Self::Busy("the mirror is stopping".to_owned()),
            flight::Abandoned::Panicked => Self::Internal,
        }
    }
}

fn login_advice(registry: &Registry) -> String {
    format!("log in to this mirror as to {registry}, with a user there who may pull it")
}

fn policy_hint(allowed_by: Option<&str>, registry: &Registry) -> String {
    match allowed_by {
        Some(key) => format!("see `{key}` under [upstreams.\"{registry}\"]"),
        None => "no setting of the mirror allows it".to_owned(),
    }
}

fn login_hint(registry: &Registry, kind: ErrorKind) -> String {
    let table = format!("[upstreams.\"{registry}\"]");
    if kind == ErrorKind::Denied {
        format!(
            "give the login that is set under {table} the right to pull it, or set one there that has it"
        )
    } else {
        format!("set or check `credentials`, or `username` and `password_file`, under {table}")
    }
}
