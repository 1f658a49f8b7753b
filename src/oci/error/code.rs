//! The codes of the distribution spec, with those that the reference registry adds. One table holds each code's one
//! spelling.

use std::fmt;
use std::str::FromStr;

use crate::oci::text;

/// A code of the distribution spec or of the reference registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "TABLE says what each one means")]
pub enum ErrorCode {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    ManifestUnverified,
    NameInvalid,
    NameUnknown,
    PaginationNumberInvalid,
    RangeInvalid,
    SizeInvalid,
    TagInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
    Unavailable,
    Unknown,
}

/// Each code with its spelling and default message, in the enum's order.
const TABLE: [(ErrorCode, &str, &str); 20] = [
    (
        ErrorCode::BlobUnknown,
        "BLOB_UNKNOWN",
        "blob unknown to registry",
    ),
    (
        ErrorCode::BlobUploadInvalid,
        "BLOB_UPLOAD_INVALID",
        "blob upload invalid",
    ),
    (
        ErrorCode::BlobUploadUnknown,
        "BLOB_UPLOAD_UNKNOWN",
        "blob upload unknown to registry",
    ),
    (
        ErrorCode::DigestInvalid,
        "DIGEST_INVALID",
        "provided digest is not valid",
    ),
    (
        ErrorCode::ManifestBlobUnknown,
        "MANIFEST_BLOB_UNKNOWN",
        "manifest references a manifest or blob unknown to registry",
    ),
    (
        ErrorCode::ManifestInvalid,
        "MANIFEST_INVALID",
        "manifest invalid",
    ),
    (
        ErrorCode::ManifestUnknown,
        "MANIFEST_UNKNOWN",
        "manifest unknown to registry",
    ),
    (
        ErrorCode::ManifestUnverified,
        "MANIFEST_UNVERIFIED",
        "manifest failed verification",
    ),
    (
        ErrorCode::NameInvalid,
        "NAME_INVALID",
        "invalid repository name",
    ),
    (
        ErrorCode::NameUnknown,
        "NAME_UNKNOWN",
        "repository name not known to registry",
    ),
    (
        ErrorCode::PaginationNumberInvalid,
        "PAGINATION_NUMBER_INVALID",
        "invalid number of results requested",
    ),
    (
        ErrorCode::RangeInvalid,
        "RANGE_INVALID",
        "invalid content range",
    ),
    (
        ErrorCode::SizeInvalid,
        "SIZE_INVALID",
        "provided length did not match content length",
    ),
    (ErrorCode::TagInvalid, "TAG_INVALID", "invalid tag"),
    (
        ErrorCode::Unauthorized,
        "UNAUTHORIZED",
        "authentication required",
    ),
    (
        ErrorCode::Denied,
        "DENIED",
        "requested access to the resource is denied",
    ),
    (
        ErrorCode::Unsupported,
        "UNSUPPORTED",
        "the operation is unsupported",
    ),
    (
        ErrorCode::TooManyRequests,
        "TOOMANYREQUESTS",
        "too many requests",
    ),
    (ErrorCode::Unavailable, "UNAVAILABLE", "service unavailable"),
    (ErrorCode::Unknown, "UNKNOWN", "unknown error"),
];

/// Text that is no code; holds it, escaped and shortened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0} is not an error code")]
pub struct UnknownCode(String);

impl ErrorCode {
    /// Every code.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(code, ..)| *code)
    }

    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// The message where there is none better.
    pub const fn message(self) -> &'static str {
        TABLE[self as usize].2
    }

    /// What an upstream's text means, whatever its case and underscores: registries do not agree on
    /// `TOOMANYREQUESTS`.
    pub(super) fn lenient(text: &str) -> Self {
        let fold = |text: &str| text.replace('_', "").to_ascii_uppercase();
        let folded = fold(text);
        Self::all()
            .find(|code| fold(code.as_str()) == folded)
            .unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ErrorCode {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::all()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| UnknownCode(text::quoted(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_enums_order_and_codes_round_trip() {
        assert_eq!(ErrorCode::Unknown as usize + 1, TABLE.len());
        for (at, code) in ErrorCode::all().enumerate() {
            assert_eq!(code as usize, at);
            assert_eq!(code.as_str().parse::<ErrorCode>(), Ok(code));
            assert_eq!(ErrorCode::lenient(code.as_str()), code);
        }
        assert!("TOO_MANY_REQUESTS".parse::<ErrorCode>().is_err());
    }
}
