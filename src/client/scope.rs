//! What a client pulls through the mirror: a registry, or all of them.

use std::fmt;

use crate::oci::Registry;

/// One registry, or every one that a client can be told of at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A registry by its host.
    One(Registry),
    /// `*`
    All,
}

impl Scope {
    /// The registry, where it is one.
    pub fn registry(&self) -> Option<&Registry> {
        match self {
            Self::One(registry) => Some(registry),
            Self::All => None,
        }
    }

    /// The URL of the registry itself, where a client goes without a mirror; `None` where that depends on the image.
    pub(super) fn server(&self) -> Option<String> {
        let registry = self.registry()?;
        Some(if registry.is_docker_hub() {
            "https://registry-1.docker.io".into()
        } else {
            format!("https://{registry}")
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(registry) => registry.fmt(f),
            Self::All => f.write_str("*"),
        }
    }
}

/// A value of `--registry`.
pub fn parse_scope(text: &str) -> Result<Scope, String> {
    if text == "*" {
        return Ok(Scope::All);
    }
    text.parse().map(Scope::One).map_err(|_| {
        format!(
            "`{}` is not a registry: write its host, such as ghcr.io or registry.example.com:5000, or '*' for all",
            text.escape_debug()
        )
    })
}
