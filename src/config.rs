//! The configuration: the embedded default, a TOML file, the environment and flags in, one validated
//! [`Config`] out.
//!
//! Sources become trees of values that know where they were written (`tree`), are laid over each
//! other (`merge`, `env`), and are read key by key (`section`, `read`, `upstreams`), so that every
//! problem is found in one run and names its file, key and line. Nothing else sees the trees.
//!
//! Depends on `oci` only. Reads files while it loads, and none after; who may need a password's file once more has
//! [`read_password`].

mod access;
mod certificates;
mod changes;
mod credentials;
mod ecr;
mod env;
mod error;
mod exposed;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod globs;
mod limits;
mod load;
mod merge;
mod passthrough;
mod pattern;
mod proxy;
mod read;
mod render;
mod routes;
mod secret;
mod section;
mod suggest;
mod tag_rules;
mod tags;
mod tls;
mod tree;
mod types;
mod units;
mod upstreams;
mod values;
mod warnings;

pub(crate) use values::parse_address;

pub use access::{
    Access, AccessRule, AccessToken, ClientPattern, Htpasswd, PasswordFile, PasswordHash,
    RepositoryPattern, read_token, read_token_again,
};
pub use credentials::read_password;
pub use ecr::EcrHost;
pub use env::PREFIX as ENVIRONMENT;
pub use error::{ConfigError, ConfigErrors};
pub use globs::{Globs, Pulls};
pub use load::{DEFAULT, Overrides, Sources};
pub use pattern::{RegistryPattern, Wildcard};
pub use proxy::{Proxy, ProxyServer};
pub use render::render;
pub use routes::Routes;
pub use secret::Secret;
pub use tag_rules::{TagPattern, TagRule, TagRules};
pub use tags::TagPolicy;
pub use tree::{Origin, Source};
pub use types::{
    Acr, Admin, ByteRate, Cache, ClientAuthority, ClientCertificate, Config, Credentials,
    DockerConfig, Ecr, Fetch, ForwardedHeader, Gcp, Limits, Log, LogFormat, LogLevel, Proxies,
    Quota, Rate, Server, Timeouts, Tls, Upstream,
};
