//! How upstreams are reached: the certificate that is shown to them, and the proxy that leads to them.

mod certificate;
mod proxy;
mod tinyproxy;

use forebay_loadtest::origin::{ImageSpec, Repository};

use crate::harness::authority;

const APP: &str = "library/app";

/// A line of the table of an upstream behind the harness's TLS.
fn trusting() -> String {
    format!("ca_file = \"{}\"", authority().display())
}

/// `v1` and `v2`, with three layers each that nothing else has but what has the same seed.
fn images(repository: &mut Repository, seed: u64) {
    for (tag, seed) in [("v1", seed), ("v2", seed + 1)] {
        let spec = ImageSpec {
            seed: Some(seed),
            layers: 3,
            layer_size: 100_000,
            ..ImageSpec::default()
        };
        repository.image(tag, &spec);
    }
}
