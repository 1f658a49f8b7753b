//! Media types: bare `type/subtype` (RFC 6838), and those of the OCI and Docker specifications.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::manifest::ManifestKind;
use super::text;

/// An OCI image manifest.
pub const OCI_MANIFEST: MediaType = known("application/vnd.oci.image.manifest.v1+json");
/// An OCI image index.
pub const OCI_INDEX: MediaType = known("application/vnd.oci.image.index.v1+json");
/// A Docker image manifest, version 2, schema 2.
pub const DOCKER_MANIFEST: MediaType =
    known("application/vnd.docker.distribution.manifest.v2+json");
/// A Docker manifest list.
pub const DOCKER_LIST: MediaType =
    known("application/vnd.docker.distribution.manifest.list.v2+json");
/// A Docker manifest, schema 1, which is refused.
pub const DOCKER_SCHEMA1: MediaType = known("application/vnd.docker.distribution.manifest.v1+json");
/// A signed Docker manifest, schema 1, which is refused.
pub const DOCKER_SCHEMA1_SIGNED: MediaType =
    known("application/vnd.docker.distribution.manifest.v1+prettyjws");
/// An OCI image's configuration.
pub const OCI_CONFIG: MediaType = known("application/vnd.oci.image.config.v1+json");
/// A gzipped OCI layer.
pub const OCI_LAYER_GZIP: MediaType = known("application/vnd.oci.image.layer.v1.tar+gzip");
/// The type of a blob on the wire.
pub const OCTET_STREAM: MediaType = known("application/octet-stream");
/// JSON of no stated kind.
pub const JSON: MediaType = known("application/json");

/// The types of manifest that are fetched and served, in the order in which they are asked for.
pub const MANIFESTS: [MediaType; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// A media type without parameters.
#[derive(Clone)]
pub struct MediaType(Text);

#[derive(Clone)]
enum Text {
    Known(&'static str),
    Parsed(Arc<str>),
}

/// Why text is not a media type; holds the text, escaped and shortened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0} is not a media type: write type/subtype without parameters")]
pub struct MediaTypeError(String);

const fn known(text: &'static str) -> MediaType {
    MediaType(Text::Known(text))
}

impl MediaType {
    /// Longest type, and longest subtype, in bytes.
    const MAX_PART: usize = 127;

    /// `type/subtype`.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Known(text) => text,
            Text::Parsed(text) => text,
        }
    }

    /// Parses a `Content-Type` field, whose parameters are dropped.
    pub fn from_content_type(field: &str) -> Result<Self, MediaTypeError> {
        let bare = field.split_once(';').map_or(field, |(bare, _)| bare);
        bare.trim_matches([' ', '\t']).parse()
    }

    /// What kind of manifest this type says; `None` for any other type, schema 1 included.
    pub fn manifest_kind(&self) -> Option<ManifestKind> {
        if *self == OCI_MANIFEST || *self == DOCKER_MANIFEST {
            Some(ManifestKind::Image)
        } else if *self == OCI_INDEX || *self == DOCKER_LIST {
            Some(ManifestKind::Index)
        } else {
            None
        }
    }

    /// Whether this is a Docker schema 1 type.
    pub fn is_schema1(&self) -> bool {
        *self == DOCKER_SCHEMA1 || *self == DOCKER_SCHEMA1_SIGNED
    }

    /// Whether this type says nothing of a manifest's kind, so that the body has to.
    pub fn is_generic(&self) -> bool {
        *self == JSON || *self == OCTET_STREAM || self.as_str() == "text/plain"
    }
}

/// RFC 6838, section 4.2: `restricted-name`.
fn is_restricted_name(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    text.len() <= MediaType::MAX_PART
        && text.starts_with(alphanumeric)
        && text
            .chars()
            .all(|c| alphanumeric(c) || "!#$&-^_.+".contains(c))
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        match text.split_once('/') {
            Some((kind, subtype)) if is_restricted_name(kind) && is_restricted_name(subtype) => {
                Ok(Self(Text::Parsed(text.into())))
            }
            _ => Err(MediaTypeError(text::quoted(text))),
        }
    }
}

impl PartialEq for MediaType {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for MediaType {}

impl Hash for MediaType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use ManifestKind::{Image, Index};

    #[test]
    fn known_types_parse_to_themselves() {
        let others = [
            DOCKER_SCHEMA1,
            DOCKER_SCHEMA1_SIGNED,
            OCI_CONFIG,
            OCI_LAYER_GZIP,
            OCTET_STREAM,
            JSON,
        ];
        for known in MANIFESTS.iter().chain(&others) {
            assert_eq!(&known.as_str().parse::<MediaType>().unwrap(), known);
        }
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for text in [
            "",
            "/",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "a/b; q=1",
            "a /b",
            "a/b ",
            "a/*",
            "*/*",
            "a/b\r\nx: y",
            "a/ä",
        ] {
            assert!(text.parse::<MediaType>().is_err(), "{text:?}");
        }
        let long = "a".repeat(127);
        assert!(format!("{long}/{long}").parse::<MediaType>().is_ok());
        assert!(format!("{long}/{long}a").parse::<MediaType>().is_err());
    }

    #[test]
    fn parameters_of_a_field_are_dropped() {
        let parsed = MediaType::from_content_type("application/json ; charset=utf-8").unwrap();
        assert_eq!(parsed, JSON);
        assert_eq!(
            MediaType::from_content_type("application/json").unwrap(),
            JSON
        );
        assert!(MediaType::from_content_type("; charset=utf-8").is_err());
    }

    #[test]
    fn manifest_types_say_their_kind() {
        let kinds: Vec<_> = MANIFESTS
            .iter()
            .map(|known| known.manifest_kind().unwrap())
            .collect();
        assert_eq!(kinds, [Index, Image, Index, Image]);
        assert_eq!(DOCKER_SCHEMA1.manifest_kind(), None);
        assert_eq!(OCI_CONFIG.manifest_kind(), None);
    }

    proptest! {
        #[test]
        fn types_of_the_grammar_round_trip(text in "[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}/[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}") {
            let parsed: MediaType = text.parse().unwrap();
            prop_assert_eq!(parsed.to_string(), text);
        }

        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = text.parse::<MediaType>();
            let _ = MediaType::from_content_type(&text);
        }
    }
}
