//! Registries that everyone can use.

use super::{Profile, Settings};
use crate::origin::auth::{Auth, Scope, TokenAuth, TokenField};
use crate::origin::cdn::{Blobs, Redirect};
use crate::origin::quirks::{Expiry, Quirks, Unaccepted};
use crate::origin::quota::Quota;

/// Tokens for five minutes, signed redirects, a quota on manifests.
pub(super) const DOCKER_HUB: Profile = Profile {
    name: "docker-hub",
    registry: "docker.io",
    user: Some("ci"),
    settings: || Settings {
        auth: Auth::token(),
        blobs: Blobs::redirect(),
        quota: Some(Quota::default()),
        ..Settings::default()
    },
};

/// Challenges with a placeholder for the scope (its ping's does; here all do), tokens that do not say how long they are good,
/// 404 where `Accept` lacks the type, and a CDN that refuses HEAD.
pub(super) const GHCR: Profile = Profile {
    name: "ghcr",
    registry: "ghcr.io",
    user: Some("ci"),
    settings: || Settings {
        auth: Auth::Token(TokenAuth {
            service: "ghcr.io".to_owned(),
            scope: Scope::Placeholder("user/image"),
            announces_lifetime: false,
            announces_issue: false,
            field: TokenField::Token,
            ..TokenAuth::default()
        }),
        blobs: Blobs::Redirect(Redirect {
            refuses_head: true,
            ..Redirect::default()
        }),
        quirks: Quirks {
            unaccepted: Unaccepted::Missing,
            ..Quirks::default()
        },
        ..Settings::default()
    },
};

/// One anonymous token for every repository, HEAD of blobs refused, and an expired token answered with 400 and no challenge.
pub(super) const ECR_PUBLIC: Profile = Profile {
    name: "ecr-public",
    registry: "public.ecr.aws",
    user: None,
    settings: || Settings {
        auth: Auth::Token(TokenAuth {
            service: "public.ecr.aws".to_owned(),
            path: "/token/",
            scope: Scope::Word("aws"),
            announces_lifetime: false,
            announces_issue: false,
            field: TokenField::Token,
            ..TokenAuth::default()
        }),
        blobs: Blobs::redirect(),
        quirks: Quirks {
            refuses_blob_head: true,
            expiry: Expiry::BadRequest,
            ..Quirks::default()
        },
        ..Settings::default()
    },
};

/// Tokens that do not say how long they are good, redirects that ask to be kept for a year, and schema 1 where `Accept` lacks
/// the type.
pub(super) const QUAY: Profile = Profile {
    name: "quay",
    registry: "quay.io",
    user: Some("ci+robot"),
    settings: || Settings {
        auth: Auth::Token(TokenAuth {
            service: "quay.io".to_owned(),
            path: "/v2/auth",
            announces_lifetime: false,
            announces_issue: false,
            field: TokenField::Token,
            ..TokenAuth::default()
        }),
        blobs: Blobs::Redirect(Redirect {
            status: 302,
            cache_control: Some("max-age=31536000".to_owned()),
            ..Redirect::default()
        }),
        quirks: Quirks {
            unaccepted: Unaccepted::Converted,
            ..Quirks::default()
        },
        ..Settings::default()
    },
};

/// A ping that is always answered 200; all else is at another registry, which makes a challenge of its own.
pub(super) const K8S: Profile = Profile {
    name: "k8s",
    registry: "registry.k8s.io",
    user: None,
    settings: || Settings {
        auth: Auth::Token(TokenAuth {
            service: "europe-west1-docker.pkg.dev".to_owned(),
            path: "/v2/token",
            field: TokenField::Token,
            ..TokenAuth::default()
        }),
        blobs: Blobs::redirect(),
        quirks: Quirks {
            open_ping: true,
            moved_below: Some("k8s-artifacts-prod/images"),
            ..Quirks::default()
        },
        ..Settings::default()
    },
};
