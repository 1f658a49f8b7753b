//! Content descriptors (image-spec, descriptor.md).

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::digest::Digest;
use super::media_type::MediaType;

/// What a manifest says of content that it refers to. Fields that the mirror has no use for are
/// not kept: manifests are served verbatim, never printed from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Type of the content.
    #[serde(deserialize_with = "media_type")]
    pub media_type: MediaType,
    /// Name of the content.
    pub digest: Digest,
    /// Length of the content in bytes, as claimed.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// What an index's manifest runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Type of an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// What an image runs on (image-spec, image-index.md). Nothing is required: indexes in the wild
/// leave out what the spec asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system, such as `linux`.
    #[serde(default)]
    pub os: String,
    /// Instruction set, such as `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// Variant of the instruction set, such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Version of the operating system.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
}

impl Descriptor {
    /// A descriptor of the three things that every one has.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            platform: None,
            artifact_type: None,
        }
    }
}

/// Artifacts are pushed with whatever type their author wrote, parameters included.
fn media_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MediaType, D::Error> {
    let text = String::deserialize(deserializer)?;
    MediaType::from_content_type(&text).map_err(D::Error::custom)
}

/// The spec's size is an `int64`.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = i64::deserialize(deserializer)?;
    u64::try_from(size)
        .map_err(|_| D::Error::custom(format_args!("a size of {size} bytes is negative")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::media_type::{OCI_LAYER_GZIP, OCI_MANIFEST};
    use super::*;

    const ZERO: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    fn parse(rest: &str) -> Result<Descriptor, serde_json::Error> {
        serde_json::from_str(&format!(
            r#"{{"mediaType":"{OCI_LAYER_GZIP}","digest":"{ZERO}",{rest}}}"#
        ))
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let descriptor =
            parse(r#""size":3,"urls":["http://169.254.169.254/"],"data":"AAAA""#).unwrap();
        assert_eq!(
            descriptor,
            Descriptor::new(OCI_LAYER_GZIP, ZERO.parse().unwrap(), 3)
        );
    }

    #[test]
    fn sizes_are_what_an_int64_holds() {
        assert_eq!(
            parse(r#""size":9223372036854775807"#).unwrap().size,
            i64::MAX as u64
        );
        for size in ["-1", "9223372036854775808", "1.5", "\"1\"", "null"] {
            assert!(parse(&format!(r#""size":{size}"#)).is_err(), "{size}");
        }
        assert!(parse(r#""annotations":{}"#).is_err());
    }

    #[test]
    fn platforms_may_be_incomplete() {
        let descriptor =
            parse(r#""size":3,"platform":{"architecture":"arm64","os.version":"10"}"#).unwrap();
        let platform = descriptor.platform.unwrap();
        assert_eq!(
            (platform.os.as_str(), platform.architecture.as_str()),
            ("", "arm64")
        );
        assert_eq!(platform.os_version.as_deref(), Some("10"));
    }

    #[test]
    fn parameters_of_a_type_are_dropped() {
        let json =
            format!(r#"{{"mediaType":"text/plain; charset=utf-8","digest":"{ZERO}","size":1}}"#);
        let descriptor: Descriptor = serde_json::from_str(&json).unwrap();
        assert_eq!(descriptor.media_type.as_str(), "text/plain");
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(
            bytes in any::<[u8; 32]>(),
            size in 0..=i64::MAX as u64,
            platform in prop::option::of(("[a-z]{0,5}", "[a-z0-9]{0,5}", prop::option::of("v[0-9]"))),
            artifact_type in prop::option::of(".{0,10}"),
        ) {
            let platform = platform.map(|(os, architecture, variant)| Platform {
                os, architecture, variant, os_version: None,
            });
            let descriptor = Descriptor {
                media_type: OCI_MANIFEST, digest: Digest::Sha256(bytes), size, platform, artifact_type,
            };
            let json = serde_json::to_string(&descriptor).unwrap();
            prop_assert_eq!(serde_json::from_str::<Descriptor>(&json).unwrap(), descriptor);
        }
    }
}
