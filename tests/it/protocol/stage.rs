//! An origin with known content, a mirror before it, and what the mirror cost its upstream.

use std::collections::HashMap;

use bytes::Bytes;
use forebay_loadtest::origin::{
    Builder, Content, Descriptor, Flavour, ImageSpec, Kind, Origin, Request,
};

use crate::harness::{Forebay, Setup};

/// The repository that everything is in.
const REPOSITORY: &str = "library/app";

/// A mirror of an origin whose content has names.
pub(super) struct Stage {
    pub(super) origin: Origin,
    pub(super) forebay: Forebay,
    /// What `{name}` stands for in a transcript.
    pub(super) names: Vec<(String, String)>,
    /// What a body may be.
    pub(super) contents: HashMap<&'static str, Bytes>,
    blobs: Vec<(&'static str, Descriptor)>,
}

/// What an upstream was asked for, each request in one place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Answered with 401: log in first.
    pub(super) challenges: u64,
    pub(super) tokens: u64,
    pub(super) manifest_heads: u64,
    pub(super) manifest_gets: u64,
    pub(super) blob_heads: u64,
    /// GETs of blobs that were told where to go.
    pub(super) redirects: u64,
    /// Bodies of blobs, or parts of them.
    pub(super) bodies: u64,
    /// Refused otherwise: what they asked for.
    pub(super) refused: Vec<Kind>,
    /// All else: pings, lists.
    pub(super) others: Vec<Kind>,
}

impl Cost {
    /// One platform of an image of two: index and manifest, and each of its blobs once. No HEAD: one of a tag that was
    /// never seen fetches what it is, which its client asks for next.
    pub(super) fn of_a_pull(blobs: usize) -> Self {
        Self {
            manifest_gets: 2,
            ..Self::of_blobs(blobs)
        }
    }

    /// Each blob once, with a login for all of them.
    pub(super) fn of_blobs(blobs: usize) -> Self {
        Self {
            redirects: blobs as u64,
            bodies: blobs as u64,
            ..Self::of_a_login()
        }
    }

    /// Something that is not there, asked for once.
    pub(super) fn of_absence(kinds: &[Kind]) -> Self {
        Self {
            refused: kinds.to_vec(),
            ..Self::of_a_login()
        }
    }

    fn of_a_login() -> Self {
        Self {
            challenges: 1,
            tokens: 1,
            ..Self::default()
        }
    }

    fn add(&mut self, request: &Request) {
        match (request.kind, request.status) {
            (_, Some(401)) => self.challenges += 1,
            (kind, Some(400..)) => self.refused.push(kind),
            (Kind::Token, _) => self.tokens += 1,
            (Kind::ManifestHead, _) => self.manifest_heads += 1,
            (Kind::ManifestGet, _) => self.manifest_gets += 1,
            (Kind::BlobHead | Kind::CdnHead, _) => self.blob_heads += 1,
            (Kind::BlobGet, Some(300..)) => self.redirects += 1,
            (Kind::BlobGet | Kind::CdnGet, _) => self.bodies += 1,
            (kind, _) => self.others.push(kind),
        }
    }
}

impl Stage {
    /// Docker Hub, as it is in the tests of real clients: a token service, signed redirects to a CDN, a quota. Its image
    /// `library/app:v1` has two platforms; `index`, `manifest`, `config`, `layer` and `second` name what a client of
    /// amd64 pulls of it.
    pub(super) async fn image(flavour: Flavour) -> Self {
        Self::image_with(flavour, |setup, _| setup).await
    }

    /// As [`Self::image`], with more of a configuration.
    pub(super) async fn image_with(
        flavour: Flavour,
        configure: impl FnOnce(Setup, &Origin) -> Setup,
    ) -> Self {
        Self::image_at(Origin::docker_hub(), flavour, configure).await
    }

    /// As [`Self::image`], at a registry that has no referrers API.
    pub(super) async fn without_referrers() -> Self {
        let builder = Origin::docker_hub().without_referrers();
        Self::image_at(builder, Flavour::Oci, |setup, _| setup).await
    }

    async fn image_at(
        builder: Builder,
        flavour: Flavour,
        configure: impl FnOnce(Setup, &Origin) -> Setup,
    ) -> Self {
        let spec = ImageSpec {
            flavour,
            layer_size: 300_000,
            content: Content::Opaque,
            ..ImageSpec::default()
        };
        let builder = builder.repository(REPOSITORY, |repository| {
            drop(repository.multi_arch_image("v1", &spec));
        });
        let origin = builder.start().await.expect("the origin starts");
        let image = origin.image(REPOSITORY, "v1");
        let ours = image.linux("amd64");
        let manifests = vec![
            ("index", image.root.clone()),
            ("manifest", ours.descriptor.clone()),
        ];
        let blobs = vec![
            ("config", ours.config.clone()),
            ("layer", ours.layers[0].clone()),
            ("second", ours.layers[1].clone()),
        ];
        let setup = configure(Setup::new(&origin), &origin);
        Self::of(origin, setup, manifests, blobs).await
    }

    /// Docker Hub with one blob, `layer`, of `size` random bytes.
    pub(super) async fn layer(size: u64) -> Self {
        Self::layer_with(size, |setup| setup).await
    }

    /// As [`Self::layer`], with more of a configuration.
    pub(super) async fn layer_with(size: u64, configure: impl FnOnce(Setup) -> Setup) -> Self {
        let spec = ImageSpec {
            layers: 1,
            layer_size: size,
            content: Content::Opaque,
            ..ImageSpec::default()
        };
        let builder = Origin::docker_hub().repository(REPOSITORY, |repository| {
            repository.image("v1", &spec);
        });
        let origin = builder.start().await.expect("the origin starts");
        let image = origin.image(REPOSITORY, "v1").manifests.remove(0);
        let setup = configure(Setup::new(&origin));
        let manifests = vec![("manifest", image.descriptor)];
        let blobs = vec![("layer", image.layers[0].clone())];
        Self::of(origin, setup, manifests, blobs).await
    }

    /// As [`Self::layer`], its manifest already pulled: what a snapshotter finds when its containerd hands it a layer.
    pub(super) async fn pulled_layer(size: u64) -> Self {
        let stage = Self::layer(size).await;
        let manifest = stage.forebay.client().manifest(REPOSITORY, "v1").await;
        assert_eq!(manifest.status, 200);
        stage.origin.reset();
        stage
    }

    async fn of(
        origin: Origin,
        setup: Setup,
        manifests: Vec<(&'static str, Descriptor)>,
        blobs: Vec<(&'static str, Descriptor)>,
    ) -> Self {
        // However long the replay takes, a tag is asked for once.
        let forebay = setup.config("[tags]\nfresh_for = \"1h\"").start().await;
        let mut names = vec![("namespace".to_owned(), "docker.io".to_owned())];
        let mut contents = HashMap::new();
        for (name, descriptor) in manifests.iter().chain(&blobs) {
            let digest = descriptor.digest.as_str();
            names.push(((*name).to_owned(), digest.to_owned()));
            names.push((format!("{name}.type"), descriptor.media_type.clone()));
            names.push((format!("{name}.tag"), digest.replace(':', "-")));
            names.push((format!("{name}.size"), descriptor.size.to_string()));
            names.push((format!("{name}.last"), (descriptor.size - 1).to_string()));
            contents.insert(*name, origin.content(REPOSITORY, digest));
        }
        Self {
            origin,
            forebay,
            names,
            contents,
            blobs,
        }
        .at_its_address()
    }

    fn at_its_address(self) -> Self {
        let address = self.forebay.address.to_string();
        self.named("mirror", &address)
    }

    /// The same, where `{name}` stands for `value`.
    pub(super) fn named(mut self, name: &str, value: &str) -> Self {
        self.names.retain(|(known, _)| known != name);
        self.names.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with the mirror stopped and started again.
    pub(super) async fn restarted(mut self) -> Self {
        let (status, setup) = self.forebay.stop().await;
        assert!(status.success(), "{status}");
        self.forebay = setup.start().await;
        self.at_its_address()
    }

    /// A blob's descriptor, by its name.
    pub(super) fn blob(&self, name: &str) -> &Descriptor {
        let blob = self.blobs.iter().find(|(known, _)| *known == name);
        &blob.expect("the stage has that blob").1
    }

    /// What it has cost so far.
    pub(super) fn cost(&self) -> Cost {
        let mut cost = Cost::default();
        for request in self.origin.requests() {
            cost.add(&request);
        }
        cost
    }

    /// Holds the upstream's bytes against what was needed of it: each of these blobs once, and nothing of any other.
    pub(super) fn sent_once(&self, needed: &[&str]) {
        let mut sent = 0;
        for (name, blob) in &self.blobs {
            let asked = self.origin.ranges_requested(&blob.digest);
            // A size that HEAD does not tell is asked for with the first byte. That fetches nothing.
            let questions = asked.iter().filter(|range| **range == (0..1)).count() as u64;
            let repeated = self.origin.repeated_bytes_requested(&blob.digest);
            assert!(repeated <= questions, "{name} was asked for as {asked:?}");
            sent += self.origin.body_bytes(&blob.digest);
        }
        let needed: u64 = needed.iter().map(|name| self.blob(name).size).sum();
        assert!(
            sent >= needed && sent * 100 <= needed * 101,
            "{sent} bytes were sent for {needed}"
        );
    }

    /// Waits until what was begun is in the cache, holds it against what was needed, and forgets it. It took one
    /// login at the most, nothing was refused, and nothing that a blob does not need was asked for.
    pub(super) async fn settle(&self, needed: &[&str]) {
        self.until_filled().await;
        self.sent_once(needed);
        let cost = self.cost();
        assert!(cost.tokens <= 1, "{cost:?}");
        assert_eq!((cost.refused, cost.others), (vec![], vec![]));
        self.origin.reset();
    }

    /// Waits until what was begun is in the cache, and forgets what it cost.
    pub(super) async fn forget(&self) {
        self.until_filled().await;
        self.origin.reset();
    }

    /// Waits until what was begun is in the cache.
    pub(super) async fn until_filled(&self) {
        self.forebay
            .until_metric("forebay_fills_running", "", |running| running < 0.5)
            .await;
    }

    /// Nothing was asked of the upstream at all, not even to log in.
    pub(super) fn cost_nothing(&self) {
        let asked = self.origin.requests();
        assert!(asked.is_empty(), "a warm replay asked upstream: {asked:?}");
    }
}
