//! Shared by the types that are text on the wire: deserialising through `FromStr`, and quoting
//! hostile text in errors.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Deserialises a string by parsing it.
pub(super) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(PhantomData))
}

/// What an error shows of text that was refused: escaped, so that it cannot forge a log line, and
/// short, so that it cannot fill one.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let head: String = text.chars().take(SHOWN).collect();
    let ellipsis = if head.len() < text.len() { "..." } else { "" };
    format!("`{}{ellipsis}`", head.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_escaped_and_short() {
        assert_eq!(quoted("a\nb\0\u{1b}[31m"), r"`a\nb\0\u{1b}[31m`");
        assert!(quoted(&"x".repeat(10_000)).len() < 100);
    }
}
