//! Fields that some clients take for others: JSON libraries, Go's above all, match names without regard to case, so that
//! `Layers` beside `manifests` is an image to one client and an index to another.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// What decides how a manifest is read.
const FIELDS: [&str; 8] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "fsLayers",
];

/// The first field of an object that is one of those in all but its spelling.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lookalike(pub(super) Option<&'static str>);

impl<'de> Deserialize<'de> for Lookalike {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Lookalike;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lookalike, A::Error> {
                let mut found = None;
                while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    found = found.or_else(|| taken_for(&name));
                }
                Ok(Lookalike(found))
            }
        }

        deserializer.deserialize_map(Names)
    }
}

/// The field that a name is read as, without being it.
fn taken_for(name: &str) -> Option<&'static str> {
    let is_read_as = |field: &&&str| {
        let (mut theirs, mut ours) = (name.chars().map(fold), field.chars().map(fold));
        theirs.by_ref().eq(ours.by_ref())
    };
    let field = FIELDS.iter().find(is_read_as)?;
    (*field != name).then_some(field)
}

/// Two letters beyond ASCII are ASCII ones in another case.
fn fold(letter: char) -> char {
    match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_spelling_of_a_field_is_taken_for_it() {
        for (name, field) in [
            ("layers", None),
            ("Layers", Some("layers")),
            ("LAYERS", Some("layers")),
            ("layer\u{17f}", Some("layers")),
            ("mediatype", Some("mediaType")),
            ("layer", None),
            ("layers ", None),
            ("annotations", None),
            ("Annotations", None),
            ("", None),
        ] {
            assert_eq!(taken_for(name), field, "{name}");
            let object =
                format!("{{\"config\":{{\"Layers\":1}},\"x\":[],\"{name}\":{{}},\"y\":1}}");
            let found: Lookalike = serde_json::from_str(&object).unwrap();
            assert_eq!(found, Lookalike(field));
        }
    }
}
