//! Registries that people run themselves or rent.

use std::time::Duration;

use super::{Profile, Settings};
use crate::origin::auth::{Auth, Passwords, TokenAuth, TokenField};
use crate::origin::cdn::Blobs;

/// Tokens for half an hour; blobs from the registry itself.
pub(super) const HARBOR: Profile = Profile {
    name: "harbor",
    registry: "harbor.example.com",
    user: Some("robot$ci"),
    settings: || Settings {
        auth: Auth::Token(TokenAuth {
            service: "harbor-registry".to_owned(),
            path: "/service/token",
            lifetime: Duration::from_mins(30),
            passwords: Passwords::Taken,
            ..TokenAuth::default()
        }),
        ..Settings::default()
    },
};

/// Tokens for a quarter of an hour, from another port where the real one has another host; signed redirects.
pub(super) const GITLAB: Profile = Profile {
    name: "gitlab",
    registry: "registry.gitlab.com",
    user: Some("gitlab+deploy-token-1"),
    settings: || Settings {
        auth: Auth::Token(TokenAuth {
            service: "container_registry".to_owned(),
            path: "/jwt/auth",
            lifetime: Duration::from_mins(15),
            announces_issue: false,
            field: TokenField::Token,
            ..TokenAuth::default()
        }),
        blobs: Blobs::redirect(),
        ..Settings::default()
    },
};

/// The reference registry with `htpasswd`: the password on every request, blobs from the registry itself.
pub(super) const DISTRIBUTION_BASIC: Profile = Profile {
    name: "distribution-basic",
    registry: "registry.example.com",
    user: Some("ci"),
    settings: || Settings {
        auth: Auth::Basic,
        ..Settings::default()
    },
};
