//! Registries by name: how each of them behaves, as its documentation and its users describe it.
//!
//! A profile is settings only; what they do is in `auth`, `cdn`, `quirks` and `quota`. `public` holds the registries that
//! everyone can use, `clouds` those of cloud accounts, `hosted` those that people run or rent.

mod clouds;
mod hosted;
mod public;

use super::auth::Auth;
use super::builder::Builder;
use super::cdn::Blobs;
use super::quirks::Quirks;
use super::quota::Quota;

/// A registry's behaviour.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// What it is called: `docker-hub`, `ghcr`, ...
    pub name: &'static str,
    /// A registry of its kind.
    pub registry: &'static str,
    /// Under which name its users log in; none where nobody does.
    pub user: Option<&'static str>,
    settings: fn() -> Settings,
}

/// What a profile sets.
#[derive(Debug, Default)]
struct Settings {
    auth: Auth,
    blobs: Blobs,
    quirks: Quirks,
    quota: Option<Quota>,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 11] = [
        public::DOCKER_HUB,
        public::GHCR,
        clouds::ECR,
        public::ECR_PUBLIC,
        clouds::GAR,
        public::QUAY,
        clouds::ACR,
        public::K8S,
        hosted::HARBOR,
        hosted::GITLAB,
        hosted::DISTRIBUTION_BASIC,
    ];

    /// Docker Hub.
    pub const DOCKER_HUB: Self = public::DOCKER_HUB;

    /// The one that is called this.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name == name)
    }

    /// Begins an origin that allows as many pulls, and is open and sends all by itself otherwise.
    pub fn open(&self) -> Builder {
        let quota = (self.settings)().quota;
        quota.map_or_else(Builder::default, |quota| Builder::default().quota(quota))
    }

    /// Begins an origin that behaves so.
    pub fn origin(&self) -> Builder {
        let Settings {
            auth,
            blobs,
            quirks,
            quota,
        } = (self.settings)();
        let builder = Builder::default().auth(auth).blobs(blobs).quirks(quirks);
        match quota {
            Some(quota) => builder.quota(quota),
            None => builder,
        }
    }
}
