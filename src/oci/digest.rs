//! Content digests (image-spec, descriptor.md#digests), held as bytes.
//!
//! A file path is only ever made from one of these, so its parts are an algorithm's fixed name and
//! lower-case hex of a fixed length.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

use super::text;
use super::verify::{Mismatch, Verified, Verifier};

/// The registered digest algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, which every implementation must know.
    Sha256,
    /// SHA-512, which implementations may know.
    Sha512,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of a digest in bytes; its hex is twice as long.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| DigestError::Unsupported(text::quoted(text)))
    }
}

/// The name of content: an algorithm and what it makes of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// A SHA-256 digest.
    Sha256([u8; 32]),
    /// A SHA-512 digest.
    Sha512([u8; 64]),
}

/// Why text or bytes are not a digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DigestError {
    /// No `algorithm:hex`.
    #[error("{0} is not a digest: write algorithm:hex, such as sha256:<64 hex digits>")]
    Malformed(String),
    /// An algorithm other than those of [`Algorithm`].
    #[error("digest algorithm {0} is not supported: only sha256 and sha512 are")]
    Unsupported(String),
    /// Too short, too long, or not lower-case hex.
    #[error("a {algorithm} digest has {} lower-case hex digits", algorithm.digest_len() * 2)]
    Encoding {
        /// Whose digest it was to be.
        algorithm: Algorithm,
    },
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::digest(bytes).into()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::digest(bytes).into()),
        }
    }

    /// A digest from its raw bytes; fails when their number is not the algorithm's.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, DigestError> {
        let wrong = |_| DigestError::Encoding { algorithm };
        match algorithm {
            Algorithm::Sha256 => bytes.try_into().map(Self::Sha256).map_err(wrong),
            Algorithm::Sha512 => bytes.try_into().map(Self::Sha512).map_err(wrong),
        }
    }

    /// The algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The raw bytes.
    pub const fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }

    /// The bytes as lower-case hex, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.bytes())
    }

    /// Checks a whole body at once; [`Verifier`] does it as the bytes come.
    pub fn verify(&self, bytes: &[u8]) -> Result<Verified, Mismatch> {
        let mut verifier = Verifier::new(*self);
        verifier.update(bytes);
        verifier.finish()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = text
            .split_once(':')
            .ok_or_else(|| DigestError::Malformed(text::quoted(text)))?;
        let algorithm: Algorithm = algorithm.parse()?;
        // The hex crate takes upper case too; one digest must have one spelling.
        if hex.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(DigestError::Encoding { algorithm });
        }
        let mut bytes = [0; 64];
        let bytes = &mut bytes[..algorithm.digest_len()];
        hex::decode_to_slice(hex, bytes).map_err(|_| DigestError::Encoding { algorithm })?;
        Self::from_bytes(algorithm, bytes)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn any_digest() -> impl Strategy<Value = Digest> {
        prop_oneof![
            any::<[u8; 32]>().prop_map(Digest::Sha256),
            (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(a, b)| Digest::from_bytes(
                Algorithm::Sha512,
                &[a, b].concat()
            )
            .unwrap()),
        ]
    }

    #[test]
    fn known_digests_are_computed() {
        assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), EMPTY);
        let abc = Digest::of(Algorithm::Sha512, b"abc").to_string();
        assert!(abc.starts_with("sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea2"));
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            ":",
            "sha256",
            "sha256:",
            &EMPTY.to_uppercase(),
            &EMPTY.replace("e3", "E3"),
            &EMPTY.replace("e3", "0x"),
            &EMPTY[..EMPTY.len() - 1],
            &format!("{EMPTY}0"),
            &format!("{EMPTY}\n"),
            &format!(" {EMPTY}"),
            &EMPTY.replace("sha256", "sha512"),
            &EMPTY.replace("sha256", "sha256+b64"),
            &EMPTY.replace("sha256", "../sha256"),
            &EMPTY.replace("e3b0", "../."),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
        }
        assert_eq!(
            "md5:d41d8cd98f00b204e9800998ecf8427e"
                .parse::<Digest>()
                .unwrap_err()
                .to_string(),
            "digest algorithm `md5` is not supported: only sha256 and sha512 are"
        );
    }

    #[test]
    fn raw_bytes_must_have_the_algorithms_length() {
        assert!(Digest::from_bytes(Algorithm::Sha256, &[0; 32]).is_ok());
        assert!(Digest::from_bytes(Algorithm::Sha256, &[0; 64]).is_err());
        assert!(Digest::from_bytes(Algorithm::Sha512, &[]).is_err());
    }

    #[test]
    fn serde_goes_through_the_parser() {
        let json = format!("\"{EMPTY}\"");
        let digest: Digest = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&digest).unwrap(), json);
        assert!(serde_json::from_str::<Digest>("\"sha256:00\"").is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(digest in any_digest()) {
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        }

        #[test]
        fn what_is_accepted_prints_as_it_was(text in "(sha256|sha512|[a-z0-9+._-]{0,8}):[0-9a-fA-F./]{0,130}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = text.parse::<Digest>();
        }

        #[test]
        fn a_path_of_a_digest_stays_under_its_root(digest in any_digest()) {
            let hex = digest.hex();
            prop_assert_eq!(hex.len(), digest.algorithm().digest_len() * 2);
            prop_assert!(hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
            let path = Path::new("/root").join(digest.algorithm().as_str()).join(&hex[..2]).join(&hex);
            let parts: Vec<_> = path.components().collect();
            prop_assert_eq!(parts.len(), 5);
            prop_assert!(path.starts_with("/root"));
            prop_assert!(parts[1..].iter().all(|part| matches!(part, Component::Normal(_))));
        }
    }
}
