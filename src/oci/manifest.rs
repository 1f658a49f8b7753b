//! Image manifests and indexes, OCI and Docker version 2 (image-spec, manifest.md, image-index.md).
//!
//! A manifest is read for what it refers to and served as the bytes that came; nothing is ever
//! printed from here. What is refused: more than the limits below, schema 1, and bodies that two
//! clients could take for two kinds (CVE-2021-41190).

mod lookalike;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::descriptor::Descriptor;
use super::media_type::{MediaType, OCI_INDEX, OCI_MANIFEST};
use super::text;
use lookalike::Lookalike;

/// Largest manifest in bytes; what the distribution spec asks registries to take, and no more.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// How deep a manifest's JSON may be nested.
pub const MAX_DEPTH: usize = 32;
/// How many descriptors a manifest may hold.
pub const MAX_DESCRIPTORS: usize = 10_000;

/// The two kinds of manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManifestKind {
    /// One image or artifact: a config and layers.
    Image,
    /// A list of manifests, one a platform.
    Index,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Which kind it is.
    pub kind: ManifestKind,
    /// Its own type: one of [`media_type::MANIFESTS`](super::media_type::MANIFESTS).
    pub media_type: MediaType,
    /// An image's configuration; always there in an image.
    pub config: Option<Descriptor>,
    /// An image's layers, in order.
    pub layers: Vec<Descriptor>,
    /// An index's manifests, in order.
    pub manifests: Vec<Descriptor>,
    /// What this manifest is attached to.
    pub subject: Option<Descriptor>,
    /// Type of an artifact.
    pub artifact_type: Option<String>,
}

/// Why a body is not a manifest that can be served.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More than [`MAX_MANIFEST_BYTES`].
    #[error("the manifest has {size} bytes: more than {MAX_MANIFEST_BYTES} are not accepted")]
    TooLarge {
        /// Its length in bytes.
        size: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the manifest is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More than [`MAX_DESCRIPTORS`].
    #[error("the manifest has {count} descriptors: more than {MAX_DESCRIPTORS} are not accepted")]
    TooManyDescriptors {
        /// How many it has.
        count: usize,
    },
    /// Docker schema 1.
    #[error(
        "the manifest is of Docker schema 1, which is not supported: push the image again with a current client"
    )]
    Schema1,
    /// Not text, as JSON is.
    #[error("the manifest cannot be read: it is not text in UTF-8")]
    NotText,
    /// Not JSON, or not of a manifest's shape.
    #[error("the manifest cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A `schemaVersion` other than 2.
    #[error("the manifest has schemaVersion {0}: only 2 is supported")]
    SchemaVersion(u64),
    /// The fields of an image and of an index together.
    #[error(
        "the manifest has the fields of an image and of an index, so that clients could disagree on what it is"
    )]
    Ambiguous,
    /// A field that is another one to clients that do not look at case.
    #[error(
        "the manifest has `{0}` in another spelling, so that clients could disagree on what it is"
    )]
    Lookalike(&'static str),
    /// The body's own type is not the one that it was served as.
    #[error("the manifest was served as {served} but says that it is {body}")]
    TypeMismatch {
        /// The content type.
        served: MediaType,
        /// The body's `mediaType`.
        body: MediaType,
    },
    /// A type that is no manifest's.
    #[error("{0} is not a type of manifest that is supported")]
    UnknownType(String),
    /// A field without which its kind makes no sense.
    #[error("the manifest has no `{0}`")]
    Missing(&'static str),
}

/// The body as it stands.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    #[serde(default)]
    config: Field<Descriptor>,
    #[serde(default)]
    layers: Field<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Field<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default)]
    fs_layers: Field<IgnoredAny>,
}

/// A field that decides what the body is. Some clients take `null` for its presence.
#[derive(Default)]
enum Field<T> {
    #[default]
    Absent,
    Null,
    Value(T),
}

impl<T> Field<T> {
    fn is_present(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::deserialize(deserializer)?;
        Ok(value.map_or(Self::Null, Self::Value))
    }
}

impl Manifest {
    /// Reads a manifest that was served as `content_type`. Without one, or with one that says
    /// nothing (`application/json`), the body's `mediaType` decides, and without that its fields.
    pub fn parse(bytes: &[u8], content_type: Option<&MediaType>) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { size: bytes.len() });
        }
        if depth(bytes) > MAX_DEPTH {
            return Err(ManifestError::TooDeep);
        }
        if content_type.is_some_and(MediaType::is_schema1) {
            return Err(ManifestError::Schema1);
        }
        // What is skipped is not looked at by the parser.
        let text = std::str::from_utf8(bytes).map_err(|_| ManifestError::NotText)?;
        let body: Body = serde_json::from_str(text)?;
        body.check_schema()?;
        if let Lookalike(Some(field)) = serde_json::from_str(text)? {
            return Err(ManifestError::Lookalike(field));
        }
        let media_type = body.settle_type(content_type)?;
        let kind = media_type
            .manifest_kind()
            .ok_or_else(|| ManifestError::UnknownType(text::quoted(media_type.as_str())))?;
        let manifest = body.into_manifest(media_type, kind)?;
        let count = manifest.references().count() + usize::from(manifest.subject.is_some());
        if count > MAX_DESCRIPTORS {
            return Err(ManifestError::TooManyDescriptors { count });
        }
        Ok(manifest)
    }

    /// Its own type.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// What has to be pulled with it: the config, layers and manifests, not the subject.
    pub fn references(&self) -> impl Iterator<Item = &Descriptor> {
        self.config
            .iter()
            .chain(&self.layers)
            .chain(&self.manifests)
    }
}

impl Body {
    fn check_schema(&self) -> Result<(), ManifestError> {
        if self.fs_layers.is_present() {
            return Err(ManifestError::Schema1);
        }
        match self.schema_version {
            None | Some(2) => Ok(()),
            Some(1) => Err(ManifestError::Schema1),
            Some(other) => Err(ManifestError::SchemaVersion(other)),
        }
    }

    fn settle_type(&self, content_type: Option<&MediaType>) -> Result<MediaType, ManifestError> {
        let body = match self.media_type.as_deref() {
            None | Some("") => None,
            Some(text) => Some(
                text.parse::<MediaType>()
                    .map_err(|_| ManifestError::UnknownType(text::quoted(text)))?,
            ),
        };
        if body.as_ref().is_some_and(MediaType::is_schema1) {
            return Err(ManifestError::Schema1);
        }
        let served = content_type.filter(|served| !served.is_generic()).cloned();
        match (served, body) {
            (Some(served), Some(body)) if served != body => {
                Err(ManifestError::TypeMismatch { served, body })
            }
            (Some(settled), _) | (None, Some(settled)) => Ok(settled),
            (None, None) if self.manifests.is_present() => Ok(OCI_INDEX),
            (None, None) if self.layers.is_present() || self.config.is_present() => {
                Ok(OCI_MANIFEST)
            }
            (None, None) => Err(ManifestError::Missing("mediaType")),
        }
    }

    fn into_manifest(
        self,
        media_type: MediaType,
        kind: ManifestKind,
    ) -> Result<Manifest, ManifestError> {
        if self.manifests.is_present() && (self.config.is_present() || self.layers.is_present()) {
            return Err(ManifestError::Ambiguous);
        }
        if kind == ManifestKind::Index && !self.manifests.is_present() {
            return Err(ManifestError::Missing("manifests"));
        }
        let config = self.config.value();
        if kind == ManifestKind::Image && config.is_none() {
            return Err(ManifestError::Missing("config"));
        }
        Ok(Manifest {
            kind,
            media_type,
            config,
            layers: self.layers.value().unwrap_or_default(),
            manifests: self.manifests.value().unwrap_or_default(),
            subject: self.subject,
            artifact_type: self.artifact_type,
        })
    }
}

/// How deep the brackets outside of strings are nested. Runs before the parser, which would follow
/// them by recursion.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
