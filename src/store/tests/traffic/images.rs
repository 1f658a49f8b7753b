//! What is pulled: images that share layers, and blobs that belong to none. All of it is made once.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::oci::Digest;
use crate::store::tests::support::{Image, body, digest};

pub(super) const LAYERS: usize = 14;
pub(super) const OTHERS: usize = 10;
pub(super) const IMAGES: usize = 7;

/// Bytes with what they hash to.
pub(super) struct Made {
    pub(super) digest: Digest,
    pub(super) bytes: Bytes,
}

/// Layers of 300 to 1300 KiB, and after them others of up to 4 MiB.
static BLOBS: LazyLock<Vec<Made>> = LazyLock::new(|| {
    let layers = (0..).map(|number| 300 + number * 77).take(LAYERS);
    let others = (0..).map(|number| 300 + number * 400).take(OTHERS);
    let numbered = (0..).zip(layers.chain(others));
    let made = numbered.map(|(number, kib)| {
        let bytes = body(number, kib << 10);
        let digest = digest(&bytes);
        Made { digest, bytes }
    });
    made.collect()
});

static ALL: LazyLock<Vec<Image>> = LazyLock::new(|| {
    let bytes = |number: &usize| BLOBS[*number].bytes.clone();
    let layers = |image| layers_of(image).iter().map(bytes).collect::<Vec<_>>();
    (0..IMAGES)
        .map(|image| Image::new(&layers(image)))
        .collect()
});

pub(super) fn blob(number: usize) -> &'static Made {
    &BLOBS[number]
}

pub(super) fn other(number: usize) -> &'static Made {
    &BLOBS[LAYERS + number]
}

/// Two to five layers, of which neighbours share some; the last image has all there are, and is never
/// guarded.
fn layers_of(image: usize) -> Vec<usize> {
    let count = if image == IMAGES - 1 {
        LAYERS
    } else {
        2 + image % 4
    };
    (0..count)
        .map(|layer| (image * 2 + layer) % LAYERS)
        .collect()
}

pub(super) fn layers(image: usize) -> Vec<&'static Made> {
    layers_of(image).into_iter().map(blob).collect()
}

pub(super) fn image(number: usize) -> &'static Image {
    &ALL[number]
}

/// The number of the image that a manifest is.
pub(super) fn number(manifest: &Digest) -> usize {
    let found = ALL.iter().position(|image| image.manifest == *manifest);
    found.expect("it is one of these")
}
