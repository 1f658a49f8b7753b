//! Tags and references (distribution-spec, "Pulling manifests").

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::{Digest, DigestError};
use super::name::NameError;
use super::text;

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

impl Tag {
    /// Longest tag in bytes.
    pub const MAX_LEN: usize = 128;

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if text.len() <= Self::MAX_LEN
            && text.starts_with(word)
            && text.chars().all(|c| word(c) || c == '.' || c == '-')
        {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Tag(text::quoted(text)))
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// By a name that may move.
    Tag(Tag),
    /// By its content.
    Digest(Digest),
}

/// Why text is not a reference. Text with a colon was meant as a digest, since no tag has one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// Meant as a tag.
    #[error(transparent)]
    Tag(#[from] NameError),
    /// Meant as a digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') {
            Ok(Self::Digest(text.parse()?))
        } else {
            Ok(Self::Tag(text.parse()?))
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_outside_the_grammar_are_refused() {
        for text in [
            "", ".", "..", ".a", "-a", "a/b", "a\\b", "a b", "a\0", "a\n", "a@b", "a+b", "ä",
            "a%20",
        ] {
            assert!(text.parse::<Tag>().is_err(), "{text:?}");
        }
        assert!("a".repeat(128).parse::<Tag>().is_ok());
        assert!("a".repeat(129).parse::<Tag>().is_err());
    }

    #[test]
    fn a_colon_makes_it_a_digest() {
        assert!(matches!(
            "sha256:00".parse::<Reference>(),
            Err(ReferenceError::Digest(_))
        ));
        assert!(matches!(
            "a/b".parse::<Reference>(),
            Err(ReferenceError::Tag(_))
        ));
        let signature = format!("sha256-{}.sig", "0".repeat(64));
        assert!(matches!(signature.parse(), Ok(Reference::Tag(_))));
    }

    proptest! {
        #[test]
        fn tags_of_the_grammar_round_trip(text in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}") {
            prop_assert_eq!(text.parse::<Tag>().unwrap().to_string(), text.clone());
            prop_assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }

        #[test]
        fn digests_round_trip_as_references(bytes in any::<[u8; 32]>()) {
            let reference = Reference::Digest(Digest::Sha256(bytes));
            prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }

        #[test]
        fn accepted_references_are_one_plain_path_component(text in "[a-z0-9.:/\\\\_\\x00-]{0,12}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let printed = reference.to_string();
                prop_assert!(!printed.contains(['/', '\\', '\0']) && !printed.starts_with('.'));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = text.parse::<Reference>();
        }
    }
}
