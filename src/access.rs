//! Who may pull what. A request is for a client, and the [`Gate`] says what that client may ask the mirror for.
//!
//! The mirror's flows take a [`Permit`], and only a gate makes one: a new endpoint that forgets to ask does not compile.
//! The gate decides by who asks and by the repository's name alone, before anyone looks at a cache or asks an upstream, so
//! that a refusal can't tell whether there is such a repository.
//!
//! - [`permit`]: what a decision looks like.

pub mod permit;

use crate::config::Config;
use crate::oci::Repository;

pub use permit::{Permit, Refusal, Visible};

/// Decides who may pull what. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Gate {}

/// Who asks, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Client {}

impl Gate {
    /// The gate of a configuration: without `[access]`, an open one.
    pub fn new(_config: &Config) -> Self {
        Self::default()
    }

    /// What `client` needs to ask for anything of `repository`.
    pub fn permit(&self, _client: &Client, repository: &Repository) -> Result<Permit, Refusal> {
        Ok(Permit::of(repository.clone()))
    }

    /// What `client` may see of what is cached.
    pub fn visible(&self, _client: &Client) -> Visible {
        Visible::all()
    }
}
