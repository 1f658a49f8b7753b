//! The configuration: TOML, environment and flags in, one validated [`Config`] out.
//!
//! Depends on `oci` only. Reads files while it loads, and nothing after.

mod globs;
mod pattern;
mod routes;
mod secret;
mod types;

pub use globs::Globs;
pub use pattern::{RegistryPattern, Wildcard};
pub use routes::Routes;
pub use secret::Secret;
pub use types::{
    Admin, Cache, Config, Credentials, Fetch, Limits, Log, LogFormat, LogLevel, Server, TagPolicy,
    Timeouts, Upstream,
};
