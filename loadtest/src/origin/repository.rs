//! One repository: its manifests, blobs, tags, and who may read them.
//! Tests change it through [`super::Origin::edit`].

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde_json::{Value, json};

use super::descriptor::{Descriptor, Platform, media_type};
use super::digest::{Algorithm, Digest};
use super::image::{Image, ImageManifest, ImageSpec, build, json_bytes, seed_of};
use super::seeded::random_bytes;

/// Who may read a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Everyone, without credentials too.
    #[default]
    Anyone,
    /// Every user that the origin knows.
    AnyUser,
    /// These users.
    Users(Vec<String>),
}

/// A manifest as stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredManifest {
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
    /// The body as JSON; null where it isn't any.
    pub(crate) json: Value,
}

/// A repository's content.
#[derive(Clone, Debug)]
pub struct Repository {
    name: String,
    pub(crate) readers: Readers,
    pub(crate) manifests: HashMap<Digest, StoredManifest>,
    pub(crate) blobs: HashMap<Digest, Bytes>,
    pub(crate) tags: BTreeMap<String, Digest>,
}

impl Repository {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            readers: Readers::default(),
            manifests: HashMap::new(),
            blobs: HashMap::new(),
            tags: BTreeMap::new(),
        }
    }

    /// Lets everyone read, without credentials too. This is the default.
    pub fn public(&mut self) {
        self.readers = Readers::Anyone;
    }

    /// Lets every user read that the origin knows, and nobody else.
    pub fn private(&mut self) {
        self.readers = Readers::AnyUser;
    }

    /// Lets only these users read.
    pub fn only_for(&mut self, users: &[&str]) {
        self.readers = Readers::Users(users.iter().map(|&user| user.to_owned()).collect());
    }

    /// Adds an image for the first platform of `spec` and tags it.
    ///
    /// # Panics
    ///
    /// If `spec` has no platform.
    pub fn image(&mut self, tag: &str, spec: &ImageSpec) -> Descriptor {
        let platform = spec.platforms.first().expect("the image has a platform");
        let image = self.platform_image(tag, spec, platform);
        self.tag(tag, &image.digest);
        image
    }

    /// Adds an image for every platform of `spec`, an index of them, and tags it.
    pub fn multi_arch_image(&mut self, tag: &str, spec: &ImageSpec) -> Descriptor {
        let images = self.platform_images(tag, spec);
        let index = self.index(spec, &images);
        self.tag(tag, &index.digest);
        index
    }

    /// As [`Self::multi_arch_image`], with the index inside another one.
    pub fn nested_image(&mut self, tag: &str, spec: &ImageSpec) -> Descriptor {
        let images = self.platform_images(tag, spec);
        let inner = self.index(spec, &images);
        let outer = self.index(spec, &[inner]);
        self.tag(tag, &outer.digest);
        outer
    }

    /// Adds an artifact that refers to `subject`, such as a signature or an SBOM.
    pub fn artifact(
        &mut self,
        subject: &Descriptor,
        artifact_type: &str,
        payload: impl Into<Bytes>,
    ) -> Descriptor {
        let mut config = self.blob("{}");
        media_type::OCI_EMPTY.clone_into(&mut config.media_type);
        let mut layer = self.blob(payload);
        artifact_type.clone_into(&mut layer.media_type);
        let mut subject = subject.clone();
        subject.platform = None;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": config,
            "layers": [layer],
            "subject": subject,
        });
        self.manifest(media_type::OCI_MANIFEST, json_bytes(&manifest))
    }

    /// Adds a manifest as it is, whatever it holds.
    pub fn manifest(&mut self, media_type: &str, bytes: impl Into<Bytes>) -> Descriptor {
        self.manifest_by(Algorithm::Sha256, media_type, bytes.into())
    }

    /// Adds a blob.
    pub fn blob(&mut self, bytes: impl Into<Bytes>) -> Descriptor {
        self.blob_by(Algorithm::Sha256, bytes.into())
    }

    /// Adds a blob that is addressed by `algorithm`.
    pub fn blob_by(&mut self, algorithm: Algorithm, bytes: Bytes) -> Descriptor {
        let digest = Digest::of(algorithm, &bytes);
        let size = bytes.len() as u64;
        self.blobs.insert(digest.clone(), bytes);
        Descriptor::new(media_type::OCTET_STREAM, digest, size)
    }

    /// Adds a blob of random bytes, see [`random_bytes`].
    pub fn random_blob(&mut self, seed: u64, size: u64) -> Descriptor {
        self.blob(random_bytes(seed, size))
    }

    /// Points a tag at a manifest; moves it if it exists.
    pub fn tag(&mut self, tag: &str, digest: &Digest) {
        self.tags.insert(tag.to_owned(), digest.clone());
    }

    /// Forgets a tag; its manifest stays.
    pub fn remove_tag(&mut self, tag: &str) {
        self.tags.remove(tag);
    }

    /// Forgets a manifest; tags that point at it answer 404.
    pub fn remove_manifest(&mut self, digest: &Digest) {
        self.manifests.remove(digest);
    }

    /// Forgets a blob.
    pub fn remove_blob(&mut self, digest: &Digest) {
        self.blobs.remove(digest);
    }

    fn platform_images(&mut self, tag: &str, spec: &ImageSpec) -> Vec<Descriptor> {
        spec.platforms
            .iter()
            .map(|platform| self.platform_image(tag, spec, platform))
            .collect()
    }

    fn platform_image(&mut self, tag: &str, spec: &ImageSpec, platform: &Platform) -> Descriptor {
        let seed = spec
            .seed
            .unwrap_or_else(|| seed_of(&[self.name.as_bytes(), tag.as_bytes()]));
        let built = build(spec, seed, platform);
        for blob in built.blobs {
            self.blob_by(spec.algorithm, blob);
        }
        let mut descriptor = self.manifest_by(spec.algorithm, built.media_type, built.manifest);
        descriptor.platform = Some(platform.clone());
        descriptor
    }

    fn index(&mut self, spec: &ImageSpec, children: &[Descriptor]) -> Descriptor {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": spec.flavour.index(),
            "manifests": children,
        });
        self.manifest_by(spec.algorithm, spec.flavour.index(), json_bytes(&index))
    }

    fn manifest_by(&mut self, algorithm: Algorithm, media_type: &str, bytes: Bytes) -> Descriptor {
        let digest = Digest::of(algorithm, &bytes);
        let size = bytes.len() as u64;
        let stored = StoredManifest {
            media_type: media_type.to_owned(),
            json: serde_json::from_slice(&bytes).unwrap_or_default(),
            bytes,
        };
        self.manifests.insert(digest.clone(), stored);
        Descriptor::new(media_type, digest, size)
    }

    /// The manifest that a tag or digest names.
    pub(crate) fn find_manifest(&self, reference: &str) -> Option<(&Digest, &StoredManifest)> {
        let digest = self.tags.get(reference).map_or(reference, Digest::as_str);
        self.manifests.get_key_value(digest)
    }

    /// The bytes of a blob or manifest.
    pub(crate) fn content(&self, digest: &str) -> Option<Bytes> {
        let manifest = self.manifests.get(digest).map(|stored| &stored.bytes);
        manifest.or_else(|| self.blobs.get(digest)).cloned()
    }

    /// What a tag stands for, all the way down.
    pub(crate) fn describe(&self, tag: &str) -> Option<Image> {
        let (digest, stored) = self.find_manifest(tag)?;
        let size = stored.bytes.len() as u64;
        let root = Descriptor::new(&stored.media_type, digest.clone(), size);
        let mut image = Image {
            repository: self.name.clone(),
            tag: tag.to_owned(),
            root: root.clone(),
            indexes: Vec::new(),
            manifests: Vec::new(),
        };
        self.descend(root, &mut image);
        Some(image)
    }

    fn descend(&self, mut descriptor: Descriptor, image: &mut Image) {
        let Some(stored) = self.manifests.get(&descriptor.digest) else {
            return;
        };
        let json = &stored.json;
        if let Some(children) = parsed::<Vec<Descriptor>>(&json["manifests"]) {
            image.indexes.push(descriptor);
            for child in children {
                self.descend(child, image);
            }
        } else if let (Some(config), Some(layers)) = (
            parsed::<Descriptor>(&json["config"]),
            parsed(&json["layers"]),
        ) {
            if descriptor.platform.is_none() {
                let config = self.blobs.get(&config.digest);
                descriptor.platform = config.and_then(|json| serde_json::from_slice(json).ok());
            }
            image.manifests.push(ImageManifest {
                descriptor,
                config,
                layers,
            });
        }
    }

    /// Descriptors of the manifests that refer to `subject`.
    pub(crate) fn referrers(&self, subject: &str) -> Vec<Descriptor> {
        let mut referrers: Vec<Descriptor> = self
            .manifests
            .iter()
            .filter(|(_, stored)| stored.json["subject"]["digest"] == subject)
            .map(|(digest, stored)| {
                let size = stored.bytes.len() as u64;
                let mut descriptor = Descriptor::new(&stored.media_type, digest.clone(), size);
                descriptor.artifact_type = parsed(&stored.json["artifactType"])
                    .or_else(|| parsed(&stored.json["config"]["mediaType"]));
                descriptor.annotations = parsed(&stored.json["annotations"]).unwrap_or_default();
                descriptor
            })
            .collect();
        referrers.sort_by(|a, b| a.digest.cmp(&b.digest));
        referrers
    }
}

fn parsed<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ImageSpec {
        ImageSpec {
            layer_size: 2_000,
            ..ImageSpec::default()
        }
    }

    #[test]
    fn images_of_different_tags_share_no_blob_and_equal_seeds_share_all() {
        let mut repository = Repository::new("library/app");
        repository.multi_arch_image("v1", &spec());
        repository.multi_arch_image("v2", &spec());
        let v1 = repository.describe("v1").unwrap();
        let v2 = repository.describe("v2").unwrap();
        assert_eq!(v1.blobs().len(), 6);
        assert!(v1.blobs().iter().all(|blob| !v2.blobs().contains(blob)));

        let seeded = ImageSpec {
            seed: Some(5),
            ..spec()
        };
        let first = repository.image("a", &seeded);
        assert_eq!(first.digest, repository.image("b", &seeded).digest);
    }

    #[test]
    fn nested_image_is_described_to_its_leaves() {
        let mut repository = Repository::new("library/app");
        let root = repository.nested_image("deep", &spec());
        let image = repository.describe("deep").unwrap();
        assert_eq!(image.root.digest, root.digest);
        assert_eq!(image.indexes.len(), 2);
        assert_eq!(image.linux("arm64").layers.len(), 2);
    }

    #[test]
    fn descriptors_hold_for_the_content() {
        let mut repository = Repository::new("library/app");
        repository.multi_arch_image(
            "v1",
            &ImageSpec {
                algorithm: Algorithm::Sha512,
                ..spec()
            },
        );
        for blob in repository.describe("v1").unwrap().blobs() {
            let bytes = &repository.blobs[&blob.digest];
            assert_eq!(bytes.len() as u64, blob.size);
            assert_eq!(Digest::of(Algorithm::Sha512, bytes), blob.digest);
        }
    }

    #[test]
    fn referrers_are_the_manifests_whose_subject_it_is() {
        let mut repository = Repository::new("library/app");
        let image = repository.image("v1", &spec());
        let sbom = repository.artifact(&image, "application/vnd.example.sbom", "an sbom");
        let referrers = repository.referrers(image.digest.as_str());
        assert_eq!(referrers.len(), 1);
        assert_eq!(referrers[0].digest, sbom.digest);
        assert_eq!(
            referrers[0].artifact_type.as_deref(),
            Some("application/vnd.example.sbom")
        );
    }
}
