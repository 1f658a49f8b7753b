//! What has to hold of names, references and manifests, whoever wrote them.

use std::fmt::{Debug, Display};
use std::path::{Component, Path};
use std::str::FromStr;

use super::media_type::{JSON, MANIFESTS};
use super::{
    MAX_DESCRIPTORS, Manifest, MediaType, Reference, Registry, Repository, RepositoryName, Tag,
};

/// What an error may say of text that a stranger wrote.
const LONGEST_MESSAGE: usize = 1_500;

/// Text that is taken prints as itself, or as what reads back as the same; text that is not, makes an error that can
/// neither fill nor forge a line of the log.
fn parsed<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: Display> + Display + PartialEq + Debug,
{
    match text.parse::<T>() {
        Ok(value) => {
            let printed = value.to_string();
            assert_eq!(printed.parse::<T>().ok().as_ref(), Some(&value));
            assert!(!printed.contains(char::is_control));
            Some(value)
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() < LONGEST_MESSAGE);
            assert!(!message.contains(char::is_control), "{message:?}");
            None
        }
    }
}

/// A path stays where it was begun, whatever name is put at its end.
fn stays(name: &str) {
    let path = Path::new("/root").join(name);
    let mut components = path.components();
    assert_eq!(components.next(), Some(Component::RootDir));
    assert_eq!(components.next(), Some(Component::Normal("root".as_ref())));
    assert!(components.all(|part| matches!(part, Component::Normal(_))));
}

/// Names of repositories and registries.
pub(crate) fn name(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Some(name) = parsed::<RepositoryName>(text) {
        assert_eq!(name.as_str(), text, "a name has one spelling");
        assert!(text.len() <= RepositoryName::MAX_LEN);
        assert!(!text.contains(|c: char| c.is_ascii_uppercase() || c == '\\' || c == ':'));
        stays(text);
    }
    if let Some(registry) = parsed::<Registry>(text) {
        let (host, port) = (registry.host(), registry.port());
        let joined = port.map_or(host.to_owned(), |port| format!("{host}:{port}"));
        assert_eq!(joined, registry.as_str());
        assert!(!host.is_empty() && !host.contains(['/', '@', '\\', ' ']));
    }
    if let Some(repository) = parsed::<Repository>(text) {
        assert_eq!(parsed(repository.name.as_str()), Some(repository.name));
    }
}

/// Tags and references.
pub(crate) fn reference(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Some(tag) = parsed::<Tag>(text) {
        assert_eq!(tag.as_str(), text);
        assert!((1..=Tag::MAX_LEN).contains(&text.len()));
    }
    if let Some(reference) = parsed::<Reference>(text) {
        assert_eq!(reference.to_string(), text, "a reference has one spelling");
        assert_eq!(
            matches!(reference, Reference::Digest(_)),
            text.contains(':')
        );
        assert!(!text.contains('/') && !text.starts_with('.'));
        stays(text);
    }
}

/// A manifest, after a byte that says as what it was served.
pub(crate) fn manifest(input: &[u8]) {
    let Some((served, body)) = input.split_first() else {
        return;
    };
    let served = match usize::from(*served) % (MANIFESTS.len() + 2) {
        0 => None,
        1 => Some(JSON),
        known => Some(MANIFESTS[known - 2].clone()),
    };
    let Ok(manifest) = Manifest::parse(body, served.as_ref()) else {
        return;
    };
    assert_eq!(manifest.media_type.manifest_kind(), Some(manifest.kind));
    if let Some(served) = served.filter(|served| !served.is_generic()) {
        assert_eq!(served, manifest.media_type);
    }
    assert!(manifest.references().count() <= MAX_DESCRIPTORS);
    // What nobody reads may be halves of letters, or numbers beyond all bounds, which this reader refuses.
    if let Ok(fields) = serde_json::from_slice(body) {
        is_of_one_kind(&fields);
    }
    for descriptor in manifest.references().chain(&manifest.subject) {
        assert!(i64::try_from(descriptor.size).is_ok());
        let printed = serde_json::to_string(descriptor).expect("a descriptor prints");
        assert_eq!(
            serde_json::from_str(&printed).ok().as_ref(),
            Some(descriptor)
        );
        let bare: Result<MediaType, _> = descriptor.media_type.as_str().parse();
        assert_eq!(bare.ok().as_ref(), Some(&descriptor.media_type));
    }
}

/// No client can take it for another kind than this mirror does, even if case is nothing to it.
fn is_of_one_kind(fields: &serde_json::Map<String, serde_json::Value>) {
    let has = |name: &str| fields.keys().any(|field| field.eq_ignore_ascii_case(name));
    assert!(!has("manifests") || !(has("layers") || has("config")));
    assert!(!has("fsLayers"));
}
