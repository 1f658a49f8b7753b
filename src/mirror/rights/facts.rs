//! Facts about rights, and what an upstream's answer says of them. Pure.

use std::sync::Arc;

use crate::config::Globs;
use crate::oci::{Digest, Registry, RepositoryName};
use crate::store::Audience;
use crate::upstream::{Access, Upstream};

/// A fact: `digest` may be read there, by those who may go by what was learned so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Fact {
    pub(super) registry: Registry,
    pub(super) place: Place,
    pub(super) audience: Audience,
    pub(super) digest: Digest,
}

/// Where in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// In every repository.
    Anywhere,
    /// In every repository as well, where the configuration says so: one that these globs declare public holds it. By
    /// another configuration it is another fact.
    Declared(Arc<Globs>),
    /// In this repository.
    Repository(RepositoryName),
}

impl Place {
    /// Every place that lets the repository `name` of `upstream` read what may be read there.
    pub(super) fn of(upstream: &Upstream, name: &RepositoryName) -> impl Iterator<Item = Self> {
        let declared = (!upstream.public().patterns().is_empty())
            .then(|| Self::Declared(Arc::clone(upstream.public())));
        let own = [Self::Anywhere, Self::Repository(name.clone())];
        own.into_iter().chain(declared)
    }
}

/// What an upstream's answer says.
#[derive(Debug, Clone)]
pub(super) struct Learned {
    /// What holds now.
    pub(super) fact: Fact,
    /// What is true whatever is configured.
    pub(super) lasting: Fact,
}

/// Whose eyes an upstream is seen with, where it asks for a login.
pub(in crate::mirror) fn audience(upstream: &Upstream) -> Audience {
    match upstream.passthrough() {
        None => Audience::Everyone,
        Some(_) => Audience::Logins,
    }
}

/// The fact that the repository itself holds `digest`.
pub(super) fn held(
    upstream: &Upstream,
    name: &RepositoryName,
    digest: &Digest,
    access: Access,
) -> Fact {
    Fact {
        registry: upstream.registry().clone(),
        place: Place::Repository(name.clone()),
        audience: match access {
            Access::Anonymous => Audience::Everyone,
            Access::Credentialed => audience(upstream),
        },
        digest: *digest,
    }
}

/// What an upstream's answer in the repository `name` says about who may read `digest`.
pub(super) fn learned(
    upstream: &Upstream,
    name: &RepositoryName,
    digest: &Digest,
    access: Access,
) -> Learned {
    let mut lasting = held(upstream, name, digest, access);
    if access == Access::Anonymous {
        lasting.place = Place::Anywhere;
    }
    let mut fact = lasting.clone();
    if access != Access::Anonymous && upstream.is_public(name) {
        fact.place = Place::Declared(Arc::clone(upstream.public()));
    }
    Learned { fact, lasting }
}
