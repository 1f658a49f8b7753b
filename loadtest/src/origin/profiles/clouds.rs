//! Registries of cloud accounts. Nobody reads them without a login.

use std::time::Duration;

use super::{Profile, Settings};
use crate::origin::auth::{Auth, Refresh, TokenAuth, TokenField};
use crate::origin::cdn::{Blobs, Redirect};
use crate::origin::quirks::{Expiry, Quirks};

/// A password for twelve hours from Amazon's API; once it has expired, 403 without a challenge, and S3 says 400 of what was
/// signed with it. GET tells no digest.
pub(super) const ECR: Profile = Profile {
    name: "ecr",
    registry: "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    user: Some("AWS"),
    settings: || Settings {
        auth: Auth::Basic,
        blobs: Blobs::Redirect(Redirect {
            expired: (400, "ExpiredToken"),
            ..Redirect::default()
        }),
        quirks: Quirks {
            hides_digest: true,
            expiry: Expiry::Forbidden,
            ..Quirks::default()
        },
        ..Settings::default()
    },
};

/// Google's: relative redirects.
pub(super) const GAR: Profile = Profile {
    name: "gar",
    registry: "europe-docker.pkg.dev",
    user: Some("oauth2accesstoken"),
    settings: || Settings {
        auth: Auth::Token(TokenAuth {
            service: "europe-docker.pkg.dev".to_owned(),
            path: "/v2/token",
            lifetime: Duration::from_hours(1),
            announces_issue: false,
            field: TokenField::Token,
            ..TokenAuth::default()
        }),
        blobs: Blobs::Redirect(Redirect {
            status: 302,
            relative: true,
            ..Redirect::default()
        }),
        ..Settings::default()
    },
};

/// Azure's: the token is called `access_token` only, and does not say how long it is good.
pub(super) const ACR: Profile = Profile {
    name: "acr",
    registry: "forebay.azurecr.io",
    user: Some("00000000-0000-0000-0000-000000000000"),
    settings: || Settings {
        auth: Auth::Token(TokenAuth {
            service: "forebay.azurecr.io".to_owned(),
            path: "/oauth2/token",
            announces_lifetime: false,
            announces_issue: false,
            field: TokenField::AccessToken,
            refresh: Refresh::Exchanged,
            ..TokenAuth::default()
        }),
        blobs: Blobs::redirect(),
        ..Settings::default()
    },
};
