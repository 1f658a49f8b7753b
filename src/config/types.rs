//! The validated configuration: what the rest of the house sees. Units are in the types; every
//! default is in `config/default.toml`, none here.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::access::Access;
use super::globs::{Globs, Pulls};
use super::pattern::RegistryPattern;
use super::proxy::Proxy;
use super::secret::Secret;
use super::tag_rules::TagRules;
use super::tags::TagPolicy;
use crate::oci::Registry;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The registry of a request that names none.
    pub default_registry: Registry,
    /// The clients' listener.
    pub server: Server,
    /// The operators' listener.
    pub admin: Admin,
    /// The cache on disk and the tier in memory before it.
    pub cache: Cache,
    /// How long tags are trusted; [`Upstream::tags`] holds what applies to an upstream.
    pub tags: TagPolicy,
    /// How blobs are fetched.
    pub fetch: Fetch,
    /// How long upstreams are waited for; [`Upstream::timeouts`] holds what applies to one.
    pub timeouts: Timeouts,
    /// What clients may take.
    pub limits: Limits,
    /// Who may pull what; `None` where everybody may pull everything.
    pub access: Option<Access>,
    /// What is logged, and how.
    pub log: Log,
    /// The registries that may be fetched from, no two alike.
    pub upstreams: Vec<Upstream>,
    /// Those whose tables are switched off.
    pub(super) disabled: Vec<RegistryPattern>,
    /// A sentence about each file with a secret in it that everybody on the machine can read.
    pub(super) exposed: Vec<String>,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where clients are listened for; at least one address.
    pub listen: Vec<SocketAddr>,
    /// From the first byte of a request's head, or from accepting the connection, to the head's end.
    pub header_timeout: Duration,
    /// How long a connection may stay without a request.
    pub idle_timeout: Duration,
    /// How long a write may stand still because the client does not read.
    pub write_idle_timeout: Duration,
    /// How long running transfers may go on after SIGTERM.
    pub drain: Duration,
    /// Whether clients may ask what is cached.
    pub catalog: bool,
    /// Whose word on a client's address is taken.
    pub proxies: Proxies,
    /// What clients are shown; `None` speaks to them in the clear.
    pub tls: Option<Tls>,
}

/// `[server.tls]` and `[admin.tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the certificate, and of those between it and its authority.
    pub certificate: PathBuf,
    /// PEM file of its private key, which may be the same.
    pub key: PathBuf,
    /// Who may vouch for clients; `None` asks none for a certificate.
    pub clients: Option<ClientAuthority>,
}

/// Who may vouch for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthority {
    /// PEM file of its certificate, or of those of several.
    pub file: PathBuf,
    /// Whether a client without a certificate is turned away.
    pub required: bool,
}

/// The proxies before the clients' listener: keys of `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxies {
    /// Their addresses, in canonical form: no IPv4 address is written as IPv6.
    pub trusted: Vec<IpNet>,
    /// Whether each of their connections begins with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Whether TLS on such a connection is the client's, which the proxy passes on as it is.
    pub pass_tls: bool,
    /// The header in which they name a request's client.
    pub header: ForwardedHeader,
}

/// `server.forwarded_header`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, as nearly all do.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where operators are listened for; `None` turns it off.
    pub listen: Option<SocketAddr>,
    /// What they are shown; `None` speaks to them in the clear.
    pub tls: Option<Tls>,
}

/// `[cache]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Where the cache lives.
    pub dir: PathBuf,
    /// How long a start waits for another process to let go of it.
    pub lock_wait: Duration,
    /// Most bytes on disk, unfinished fills and the index included.
    pub max_size: u64,
    /// Bytes of the file system that are left free.
    pub min_free: u64,
    /// Bytes of the tier in memory: manifests, descriptors, tags.
    pub memory: u64,
    /// How many blobs are kept open.
    pub open_files: usize,
    /// Whether a bounded range of a running fill waits until the whole blob is verified.
    pub strict_ranges: bool,
}

/// `[fetch]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// How long a fill goes on that nobody reads.
    pub linger: Duration,
    /// Most connections of one fill.
    pub connections_per_fill: usize,
    /// Most blob connections to one upstream, unless [`Upstream::max_connections`] says otherwise.
    pub connections_per_upstream: usize,
    /// Most blob connections in all.
    pub connections_total: usize,
    /// Most fills that run at once.
    pub max_fills: usize,
    /// How long a request for a blob waits, for its turn and for its upstream, before it is refused.
    pub wait: Duration,
}

/// `[timeouts]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name lookup, connection and TLS handshake.
    pub connect: Duration,
    /// From a request sent to its response's head.
    pub first_byte: Duration,
    /// Between two chunks of a body.
    pub body_idle: Duration,
}

/// `[limits]`; what is `None` is not limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most client connections at once; `None` leaves it to the descriptor limit.
    pub max_connections: Option<usize>,
    /// Requests of one client.
    pub per_client_requests: Option<Rate>,
    /// Most requests of one client that are answered at once, to the last byte.
    pub per_client_in_flight: Option<usize>,
    /// Body bytes that are sent to one client.
    pub per_client_bytes: Option<ByteRate>,
    /// Most connections of one client.
    pub per_client_connections: Option<usize>,
    /// How long a request is held before it is refused.
    pub max_delay: Duration,
    /// Addresses that none of these limits applies to, in canonical form.
    pub exempt: Vec<IpNet>,
}

/// So many in so long, all of which may come at once: `100/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In how long; never zero.
    pub per: Duration,
}

/// So many bytes in so long, all of which may go at once: `50MiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate {
    /// How many; at least 64 KiB, and in a second too.
    pub bytes: u64,
    /// In how long; never zero.
    pub per: Duration,
}

/// `[log]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe events that are logged.
    pub level: LogLevel,
    /// How they look.
    pub format: LogFormat,
    /// How long the lines of requests may wait, to be written together.
    pub wait: Duration,
}

/// Severity of a log event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are tracing's own")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// A table of `[upstreams]`: a registry, or a family of them, that may be fetched from.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Which registries; prints as the table's key.
    pub registry: RegistryPattern,
    /// Where an exact registry's API is, first things first; never empty for one. Scheme, host and
    /// port only. Empty for a family, where each registry is at `https://<registry>`.
    pub endpoints: Vec<Url>,
    /// Host names, without port, under which clients reach this upstream. Empty for a family.
    pub hosts: Vec<String>,
    /// A dot-free name: the first path component that means this upstream (not for a family), and
    /// its name in the environment.
    pub alias: Option<String>,
    /// How to log in.
    pub credentials: Credentials,
    /// Repositories that any client may read, however they were fetched.
    pub public: Globs,
    /// Which repositories may be pulled.
    pub pulls: Pulls,
    /// Whether addresses of private networks may be connected to.
    pub allow_private: bool,
    /// Further hosts (`host[:port]`, lower case) whose token service gets this upstream's
    /// credentials.
    pub trusted_realms: Vec<String>,
    /// PEM file of certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// What is shown to its endpoints, and to nobody else.
    pub client_certificate: Option<ClientCertificate>,
    /// How it is reached, its token service and the targets of its redirects too.
    pub proxy: Proxy,
    /// Most blob connections.
    pub max_connections: usize,
    /// How long it is waited for.
    pub timeouts: Timeouts,
    /// How long its tags are trusted.
    pub tags: TagPolicy,
    /// How long some of them are trusted instead.
    pub tag_rules: TagRules,
    /// What may be pulled from it, beside what it reports itself.
    pub quota: Option<Quota>,
    /// Whether it is asked at the start how much of its quota is left.
    pub read_quota: bool,
    /// Where each client logs in for itself: how long it is believed what such a login may see.
    pub passthrough: Option<Duration>,
}

/// A quota: so many pulls in any window of such a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// GETs of manifests.
    pub pulls: u64,
    /// The window.
    pub window: Duration,
}

/// A certificate for TLS in which the server asks who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM file of the certificate, and of those between it and its authority.
    pub certificate: PathBuf,
    /// PEM file of its private key, which may be the same.
    pub key: PathBuf,
}

/// How to log in to an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all: anonymous tokens only.
    None,
    /// With a user's name and password, for Basic and the token service alike.
    Password {
        /// The user.
        username: String,
        /// The password, an access token or the like.
        password: Secret,
        /// Where it was read, and may be replaced.
        file: Option<PathBuf>,
    },
    /// As docker or podman would.
    DockerConfig(DockerConfig),
    /// With a password that Amazon ECR gives for an AWS key.
    Ecr(Ecr),
    /// With an access token of Google's.
    Gcp(Gcp),
    /// With a refresh token that an Azure registry gives for a token of Entra ID.
    Acr(Acr),
}

/// `credentials = "gcp"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gcp {
    /// A service account's key; `None` leaves it to the application default credentials.
    pub key_file: Option<PathBuf>,
}

/// `credentials = "acr"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acr {
    /// Which identity counts, where the environment does not say or has several.
    pub client_id: Option<String>,
}

/// `credentials = "ecr"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ecr {
    /// Where the API is that gives passwords; `None` for the one of the registry's region.
    pub endpoint: Option<Url>,
    /// Which profile of AWS's configuration counts; `None` leaves it to the environment.
    pub profile: Option<String>,
}

/// `credentials = "docker-config"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerConfig {
    /// The `config.json` or `auth.json`.
    pub path: PathBuf,
    /// How long a credential helper is waited for.
    pub helper_timeout: Duration,
}
