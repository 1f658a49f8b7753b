//! The flows over real sockets, against the scriptable origin. What is counted is named in each test.

mod addresses;
mod blobs;
mod brought;
mod lists;
mod login;
mod manifests;
mod proxy;
mod scopes;
mod secrets;
mod tls;
mod tokens;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use forebay_loadtest::origin::{Builder, Descriptor, ImageSpec, Kind, Origin};

use tokio::time::Instant;

use super::{Caller, FetchedManifest, Upstream, UpstreamError, Upstreams};
use crate::config::{self, Config, Credentials, Globs, Secret, TagPolicy, Timeouts};
use crate::oci::{Digest, Reference, RepositoryName};

pub(super) const NAME: &str = "library/app";

/// An upstream at these endpoints, everywhere allowed, impatient.
pub(super) fn settings(endpoints: &[&str]) -> config::Upstream {
    config::Upstream {
        registry: "registry.test".parse().unwrap(),
        endpoints: endpoints.iter().map(|url| url.parse().unwrap()).collect(),
        hosts: Vec::new(),
        alias: None,
        credentials: Credentials::None,
        public: Globs::default(),
        pulls: config::Pulls::default(),
        allow_private: true,
        trusted_realms: Vec::new(),
        ca_file: None,
        client_certificate: None,
        proxy: config::Proxy::System,
        max_connections: 8,
        timeouts: Timeouts {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(5),
            body_idle: Duration::from_secs(5),
        },
        tags: tag_policy(),
        tag_rules: config::TagRules::default(),
        quota: None,
        read_quota: false,
        passthrough: None,
    }
}

fn tag_policy() -> TagPolicy {
    TagPolicy {
        fresh_for: Duration::from_mins(1),
        stale_while_revalidate: Duration::ZERO,
        stale_for: Duration::from_hours(1),
        negative_for: Duration::from_secs(10),
        confirm_wait: Duration::from_secs(2),
        keep_deleted: false,
        immutable: false,
    }
}

pub(super) fn password(username: &str, password: &str) -> Credentials {
    Credentials::Password {
        username: username.to_owned(),
        password: Secret::new(password),
        file: None,
    }
}

/// The default configuration with these upstreams alone.
pub(super) fn configured(upstreams: Vec<config::Upstream>) -> Config {
    let mut config = Config::from_toml("cache.dir = \"/nowhere\"").unwrap();
    config.upstreams = upstreams;
    config
}

pub(super) fn set_up(settings: config::Upstream) -> Arc<Upstream> {
    let registry = settings.registry.exact().unwrap().clone();
    let upstreams = Upstreams::new(&configured(vec![settings])).unwrap();
    upstreams.get(&registry).unwrap()
}

/// The upstream that `origin` is, without credentials.
pub(super) fn upstream_of(origin: &Origin) -> Arc<Upstream> {
    set_up(settings(&[&origin.registry_url()]))
}

/// An origin with one small image under `latest`.
pub(super) async fn origin(builder: Builder) -> Origin {
    let spec = ImageSpec {
        layers: 1,
        layer_size: 20_000,
        ..ImageSpec::default()
    };
    builder
        .repository(NAME, |repository| repository.image("latest", &spec))
        .start()
        .await
        .unwrap()
}

pub(super) fn name() -> RepositoryName {
    NAME.parse().unwrap()
}

pub(super) fn latest() -> Reference {
    "latest".parse().unwrap()
}

pub(super) fn digest_of(descriptor: &Descriptor) -> Digest {
    descriptor.digest.as_str().parse().unwrap()
}

/// The digest of the image's manifest and of its layer.
pub(super) fn manifest_and_layer(origin: &Origin) -> (Digest, Digest) {
    let image = origin.image(NAME, "latest");
    (
        digest_of(&image.root),
        digest_of(&image.manifests[0].layers[0]),
    )
}

impl Upstream {
    /// For a client that nobody knows, as most tests have it.
    pub(super) async fn get_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<FetchedManifest, UpstreamError> {
        let until = Instant::now() + Duration::from_secs(20);
        self.pull_manifest(name, reference, &Caller::client(None, until))
            .await
    }
}

pub(super) fn count(origin: &Origin, kind: Kind) -> u64 {
    origin.counts().requests(kind)
}
