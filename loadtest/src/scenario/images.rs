//! The images of a scenario, as the origin holds them.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::file::Images;
use crate::fleet::Reference;
use crate::origin::{Descriptor, Digest, Origin, Platform, Repository, media_type, random_bytes};

const TAG: &str = "v1";

/// What the origin holds, and under which names.
#[derive(Debug)]
pub(super) struct Gallery {
    images: Images,
    run: Run,
    /// How often each image's tag has moved.
    moved: Vec<u32>,
    sizes: HashMap<Digest, u64>,
}

/// Which run the images are of. A mirror that was there before may have those of another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    /// The only one that its mirror sees: names and bytes are the same each time.
    Only,
    /// One of many, by its number.
    One(u32),
}

impl Run {
    pub(super) fn of_many() -> Self {
        Self::One(rand::random())
    }

    /// The repository of an image.
    fn name(self, number: usize) -> String {
        match self {
            Self::Only => format!("library/image-{number}"),
            Self::One(run) => format!("library/image-{number}-{run:08x}"),
        }
    }

    /// What bytes are made of, which were made of `seed` otherwise.
    fn seed(self, seed: u64) -> u64 {
        match self {
            Self::Only => seed,
            Self::One(run) => seed ^ u64::from(run) << 32,
        }
    }
}

impl Gallery {
    /// Puts every image into the origin.
    pub(super) fn put(images: &Images, origin: &Origin, run: Run) -> Self {
        let count = images.count as usize;
        let mut gallery = Self {
            images: images.clone(),
            run,
            moved: vec![0; count],
            sizes: HashMap::new(),
        };
        let mut shared = HashMap::new();
        for number in 0..count {
            gallery.make(origin, number, &mut shared);
        }
        gallery
    }

    /// What they are called.
    pub(super) fn references(&self) -> Vec<Reference> {
        let reference = |number| Reference::of_docker_hub(&self.run.name(number), TAG);
        (0..self.moved.len()).map(reference).collect()
    }

    /// Moves the tags of the first ones.
    pub(super) fn move_tags(&mut self, origin: &Origin, count: u32) {
        for number in 0..count as usize {
            self.moved[number] += 1;
            self.make(origin, number, &mut HashMap::new());
        }
    }

    /// How many bytes a blob has, if it is one of these images'.
    pub(super) fn size(&self, digest: &str) -> Option<u64> {
        self.sizes.get(digest).copied()
    }

    fn make(&mut self, origin: &Origin, number: usize, shared: &mut HashMap<u64, Bytes>) {
        let layers: Vec<_> = (0..self.images.layers)
            .map(|layer| self.layer(number, layer, shared))
            .collect();
        let moved = self.moved[number];
        let name = self.run.name(number);
        let blobs = origin.edit(&name, |repository| {
            image(repository, &format!("{name}.{moved}"), layers)
        });
        self.sizes
            .extend(blobs.into_iter().map(|it| (it.digest, it.size)));
    }

    /// Shared ones are the same everywhere; of the others the uppermost is another one whenever the tag has moved.
    fn layer(&self, number: usize, layer: u32, shared: &mut HashMap<u64, Bytes>) -> Bytes {
        let size = self.images.layer_size.0;
        let own = 1 + number as u64;
        let layer_seed = u64::from(layer);
        if layer < self.images.shared_layers {
            let bytes = shared.entry(layer_seed);
            return bytes
                .or_insert_with(|| random_bytes(self.run.seed(layer_seed), size))
                .clone();
        }
        let is_uppermost = layer + 1 == self.images.layers;
        let moved = if is_uppermost { self.moved[number] } else { 0 };
        let seed = own << 40 | u64::from(moved) << 20 | layer_seed;
        random_bytes(self.run.seed(seed), size)
    }
}

/// Makes an image for two platforms, of which clients pull the first one, and points the tag at it. Gives its blobs.
fn image(repository: &mut Repository, which: &str, layers: Vec<Bytes>) -> Vec<Descriptor> {
    let mut blobs = Vec::new();
    let platforms = [
        ("amd64", layers),
        ("arm64", vec![Bytes::from_static(b"arm64")]),
    ];
    let mut children = Vec::new();
    for (architecture, layers) in platforms {
        let config = json!({"architecture": architecture, "os": "linux", "which": which});
        let config = repository.blob(config.to_string());
        let layers: Vec<_> = layers.into_iter().map(|it| repository.blob(it)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": typed(&config, media_type::OCI_CONFIG),
            "layers": layers.iter().map(|it| typed(it, media_type::OCI_LAYER)).collect::<Vec<_>>(),
        });
        blobs.push(config);
        blobs.extend(layers);
        let mut child = repository.manifest(media_type::OCI_MANIFEST, manifest.to_string());
        child.platform = Some(Platform::linux(architecture));
        children.push(child);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": children,
    });
    let index = repository.manifest(media_type::OCI_INDEX, index.to_string());
    repository.tag(TAG, &index.digest);
    blobs
}

fn typed(blob: &Descriptor, media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest, "size": blob.size})
}
