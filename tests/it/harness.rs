//! A mirror as a process of its own, an origin before it, and a client to ask it with.

mod apart;
mod client;
mod disk;
mod heavy;
mod log;
mod port;
mod process;
mod program;
mod proxy;
mod reload;
mod routes;
mod sampler;
mod secrets;
mod setup;
mod tls;
mod wire;

pub(crate) use apart::{Apart, is_apart};
pub(crate) use client::{Answer, Client, blob_path, manifest_path, sha256};
pub(crate) use disk::{blob_file, bytes_below, bytes_free, committed};
pub(crate) use heavy::heavy;
pub(crate) use process::Forebay;
pub(crate) use program::{PROGRAM, hang_up, program, terminate, unset, wait_for_exit};
pub(crate) use proxy::{ForwardProxy, Mood, WANTS_LOGIN, proxy_login};
pub(crate) use routes::{Held, Listed, REFUSED_METHODS, all_requests};
pub(crate) use sampler::Sampler;
pub(crate) use secrets::{assert_unseen, logins, secrets_of};
pub(crate) use setup::Setup;
pub(crate) use tls::{
    Asking, Callers, asking_files, authority, client_certificate, listener_tls, tls_before,
    tls_with,
};
pub(crate) use wire::{End, Wire, get};

use forebay_loadtest::origin::{Blobs, Builder, Descriptor, Fault, Gate, ImageSpec, Origin};

/// An origin whose blobs come from the registry itself, without a login.
pub(crate) fn plain_origin() -> Builder {
    Origin::builder().blobs(Blobs::Direct)
}

/// A plain origin whose `library/app` holds this many small images, under `v0` and so on.
pub(crate) fn small_images(count: u64) -> Builder {
    plain_origin().repository("library/app", |repository| {
        for number in 0..count {
            let spec = ImageSpec {
                layers: 1,
                layer_size: 1_000,
                seed: Some(number),
                ..ImageSpec::default()
            };
            repository.image(&format!("v{number}"), &spec);
        }
    })
}

/// A mirror of `origin` with nothing configured beyond it.
pub(crate) async fn mirror_of(origin: &Origin) -> Forebay {
    Setup::new(origin).start().await
}

/// A plain origin whose `library/app` holds one blob of `size` random bytes.
pub(crate) async fn origin_with_blob(seed: u64, size: u64) -> (Origin, Descriptor) {
    let mut blob = None;
    let builder = plain_origin().repository("library/app", |repository| {
        blob = Some(repository.random_blob(seed, size));
    });
    let origin = builder.start().await.expect("the origin starts");
    (origin, blob.expect("just made"))
}

/// The next body of a blob stops after `at` bytes, until the gate is released.
pub(crate) fn hold_body(origin: &Origin, digest: impl AsRef<str>, at: u64) -> Gate {
    let gate = Gate::new();
    origin
        .on_body(digest.as_ref())
        .once(Fault::HoldAt(at, gate.clone()));
    gate
}
