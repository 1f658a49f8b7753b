//! Images made to measure: what a test asks for ([`ImageSpec`]), how it is
//! built, and what it turned out to be ([`Image`]).

use serde::Serialize;
use serde_json::{Value, json};

use bytes::Bytes;

use super::descriptor::{Descriptor, Platform, media_type};
use super::digest::{Algorithm, Digest};
use super::seeded::{Layer, opaque_layer, tar_layer};

/// Whose media types an image uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// OCI manifests and indexes.
    #[default]
    Oci,
    /// Docker manifests (schema 2) and manifest lists.
    Docker,
}

impl Flavour {
    pub(crate) fn index(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_INDEX,
            Self::Docker => media_type::DOCKER_LIST,
        }
    }

    fn manifest(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_MANIFEST,
            Self::Docker => media_type::DOCKER_MANIFEST,
        }
    }

    fn config(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_CONFIG,
            Self::Docker => media_type::DOCKER_CONFIG,
        }
    }

    fn layer(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_LAYER,
            Self::Docker => media_type::DOCKER_LAYER,
        }
    }
}

/// What layers are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Real `tar.gz` layers, which clients unpack.
    #[default]
    TarGz,
    /// Random bytes of exactly `layer_size`: quick to make, not to be unpacked.
    Opaque,
}

/// An image to make.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// Decides every byte. Without one it follows from repository and tag, so
    /// that different images share nothing.
    pub seed: Option<u64>,
    /// Layers for each platform.
    pub layers: usize,
    /// About how many bytes each layer has (exactly, for [`Content::Opaque`]).
    pub layer_size: u64,
    /// What the layers are made of.
    pub content: Content,
    /// Whose media types.
    pub flavour: Flavour,
    /// What everything is addressed by.
    pub algorithm: Algorithm,
    /// One image for each of these in an index; a lone image takes the first.
    pub platforms: Vec<Platform>,
}

impl Default for ImageSpec {
    /// Two platforms, two layers of 64 KiB each.
    fn default() -> Self {
        Self {
            seed: None,
            layers: 2,
            layer_size: 64 << 10,
            content: Content::default(),
            flavour: Flavour::default(),
            algorithm: Algorithm::default(),
            platforms: vec![Platform::linux("amd64"), Platform::linux("arm64")],
        }
    }
}

/// An image that the origin holds under a tag.
#[derive(Clone, Debug, Serialize)]
pub struct Image {
    /// The repository's name.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// What the tag points at: an index, or the only manifest.
    pub root: Descriptor,
    /// Every index, the root first.
    pub indexes: Vec<Descriptor>,
    /// Every image manifest, nested ones too.
    pub manifests: Vec<ImageManifest>,
}

/// One platform's image.
#[derive(Clone, Debug, Serialize)]
pub struct ImageManifest {
    /// The manifest.
    pub descriptor: Descriptor,
    /// Its config.
    pub config: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
}

impl Image {
    /// The manifest for Linux on `architecture`.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn linux(&self, architecture: &str) -> &ImageManifest {
        let wanted = Some(Platform::linux(architecture));
        self.manifests
            .iter()
            .find(|manifest| manifest.descriptor.platform == wanted)
            .unwrap_or_else(|| panic!("{}:{} has no {architecture}", self.repository, self.tag))
    }

    /// Configs and layers of all manifests, each once.
    pub fn blobs(&self) -> Vec<Descriptor> {
        let mut blobs: Vec<Descriptor> = Vec::new();
        for blob in self.manifests.iter().flat_map(ImageManifest::blobs) {
            if !blobs.iter().any(|known| known.digest == blob.digest) {
                blobs.push(blob.clone());
            }
        }
        blobs
    }
}

impl ImageManifest {
    /// Config and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }
}

/// A platform's image as built: its manifest, and the blobs it refers to.
pub(crate) struct Built {
    pub(crate) media_type: &'static str,
    pub(crate) manifest: Bytes,
    pub(crate) blobs: Vec<Bytes>,
}

/// Builds the image of one platform. Differs with seed and platform.
pub(crate) fn build(spec: &ImageSpec, seed: u64, platform: &Platform) -> Built {
    let layers: Vec<Layer> = (0..spec.layers)
        .map(|number| {
            let seed = seed_of(&[
                &seed.to_le_bytes(),
                platform.architecture.as_bytes(),
                &number.to_le_bytes(),
            ]);
            match spec.content {
                Content::TarGz => tar_layer(seed, spec.layer_size, spec.algorithm),
                Content::Opaque => opaque_layer(seed, spec.layer_size, spec.algorithm),
            }
        })
        .collect();
    let config = json_bytes(&config(seed, platform, &layers));
    let describe = |kind: &str, bytes: &Bytes| {
        Descriptor::new(kind, Digest::of(spec.algorithm, bytes), bytes.len() as u64)
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": spec.flavour.manifest(),
        "config": describe(spec.flavour.config(), &config),
        "layers": layers.iter().map(|layer| describe(spec.flavour.layer(), &layer.bytes)).collect::<Vec<_>>(),
    });
    Built {
        media_type: spec.flavour.manifest(),
        manifest: json_bytes(&manifest),
        blobs: std::iter::once(config)
            .chain(layers.into_iter().map(|layer| layer.bytes))
            .collect(),
    }
}

fn config(seed: u64, platform: &Platform, layers: &[Layer]) -> Value {
    let history: Vec<Value> = (0..layers.len())
        .map(|number| {
            json!({
                "created": "2023-11-14T22:13:20Z",
                "created_by": format!("COPY part-{number} / # seed {seed}"),
            })
        })
        .collect();
    let mut config = json!({
        "created": "2023-11-14T22:13:20Z",
        "architecture": platform.architecture,
        "os": platform.os,
        "config": {
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "Cmd": [format!("/usr/bin/tool-{seed:016x}")],
            "Labels": {"seed": seed.to_string()},
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>(),
        },
        "history": history,
    });
    if let Some(variant) = &platform.variant {
        config["variant"] = json!(variant);
    }
    config
}

/// A seed that follows from `parts`.
pub(crate) fn seed_of(parts: &[&[u8]]) -> u64 {
    // FNV-1a, with a separator so that ("a", "bc") and ("ab", "c") differ.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.iter().chain(&[0xff])) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

pub(crate) fn json_bytes(value: &Value) -> Bytes {
    serde_json::to_vec_pretty(value)
        .expect("JSON values always serialize")
        .into()
}
