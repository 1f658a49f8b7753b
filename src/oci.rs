//! The vocabulary of the OCI image and distribution specifications: digests, names, descriptors,
//! manifests and wire errors.
//!
//! Everything here is pure and owns no state. Text becomes one of these types at the edge and stays
//! one: deserialising goes through `FromStr`, so that nothing unchecked can get in.

mod descriptor;
mod digest;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod manifest;
pub mod media_type;
mod name;
mod reference;
mod registry;
mod text;
mod verify;

pub use descriptor::{Descriptor, Platform};
pub use digest::{Algorithm, Digest, DigestError};
pub use error::{ErrorCode, UnknownCode, WireError, WireErrors};
pub use manifest::{
    MAX_DEPTH, MAX_DESCRIPTORS, MAX_MANIFEST_BYTES, Manifest, ManifestError, ManifestKind,
};
pub use media_type::{MediaType, MediaTypeError};
pub use name::{NameError, Repository, RepositoryName};
pub use reference::{Reference, ReferenceError, Tag};
pub use registry::Registry;
pub use verify::{Mismatch, Verified, Verifier};
