//! What is read, and all that is refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::media_type::{
    DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1_SIGNED, JSON, OCI_CONFIG, OCI_LAYER_GZIP,
};
use super::super::{Algorithm, Digest};
use super::*;

fn descriptor(media_type: &MediaType, content: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(Algorithm::Sha256, content.as_bytes()), "size": content.len()})
}

fn image(media_type: &MediaType) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(&OCI_CONFIG, "config"),
        "layers": [descriptor(&OCI_LAYER_GZIP, "one"), descriptor(&OCI_LAYER_GZIP, "two")],
    })
}

fn index(media_type: &MediaType) -> Value {
    let mut child = descriptor(&OCI_MANIFEST, "child");
    child["platform"] = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
    json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [child]})
}

fn with(mut manifest: Value, key: &str, value: Value) -> Value {
    manifest[key] = value;
    manifest
}

fn without(mut manifest: Value, key: &str) -> Value {
    manifest.as_object_mut().unwrap().remove(key);
    manifest
}

fn parse(manifest: &Value, content_type: Option<&MediaType>) -> Result<Manifest, ManifestError> {
    Manifest::parse(manifest.to_string().as_bytes(), content_type)
}

#[test]
fn images_say_what_they_refer_to() {
    for media_type in [OCI_MANIFEST, DOCKER_MANIFEST] {
        let manifest = parse(&image(&media_type), Some(&media_type)).unwrap();
        assert_eq!(manifest.kind, ManifestKind::Image);
        assert_eq!(manifest.media_type(), &media_type);
        let sizes: Vec<_> = manifest
            .references()
            .map(|descriptor| descriptor.size)
            .collect();
        assert_eq!(sizes, [6, 3, 3]);
    }
}

#[test]
fn indexes_say_what_they_refer_to() {
    for media_type in [OCI_INDEX, DOCKER_LIST] {
        let manifest = parse(&index(&media_type), Some(&media_type)).unwrap();
        assert_eq!(manifest.kind, ManifestKind::Index);
        let platform = manifest.manifests[0].platform.as_ref().unwrap();
        assert_eq!(platform.variant.as_deref(), Some("v8"));
        assert_eq!(manifest.references().count(), 1);
    }
}

#[test]
fn a_subject_is_kept_but_not_pulled() {
    let manifest = with(
        image(&OCI_MANIFEST),
        "subject",
        descriptor(&OCI_MANIFEST, "subject"),
    );
    let manifest = parse(&with(manifest, "artifactType", json!("a/b")), None).unwrap();
    assert_eq!(manifest.subject.as_ref().unwrap().size, 7);
    assert_eq!(manifest.artifact_type.as_deref(), Some("a/b"));
    assert_eq!(manifest.references().count(), 3);
}

#[test]
fn the_type_comes_from_the_content_type_then_the_body_then_the_fields() {
    let bare_image = without(image(&OCI_MANIFEST), "mediaType");
    let bare_index = without(index(&OCI_INDEX), "mediaType");
    assert_eq!(
        parse(&bare_image, Some(&OCI_MANIFEST)).unwrap().media_type,
        OCI_MANIFEST
    );
    assert_eq!(
        parse(&bare_image, Some(&DOCKER_MANIFEST))
            .unwrap()
            .media_type,
        DOCKER_MANIFEST
    );
    assert_eq!(
        parse(&image(&DOCKER_MANIFEST), Some(&JSON))
            .unwrap()
            .media_type,
        DOCKER_MANIFEST
    );
    assert_eq!(
        parse(&index(&DOCKER_LIST), None).unwrap().media_type,
        DOCKER_LIST
    );
    assert_eq!(
        parse(&bare_image, Some(&JSON)).unwrap().media_type,
        OCI_MANIFEST
    );
    assert_eq!(parse(&bare_index, None).unwrap().media_type, OCI_INDEX);
}

#[test]
fn a_body_that_contradicts_its_content_type_is_refused() {
    for (body, served) in [
        (image(&OCI_MANIFEST), OCI_INDEX),
        (index(&OCI_INDEX), OCI_MANIFEST),
        (image(&OCI_MANIFEST), DOCKER_MANIFEST),
        (index(&DOCKER_LIST), OCI_INDEX),
    ] {
        assert!(matches!(
            parse(&body, Some(&served)),
            Err(ManifestError::TypeMismatch { .. })
        ));
    }
    let bare = without(image(&OCI_MANIFEST), "mediaType");
    assert!(matches!(
        parse(&bare, Some(&OCI_INDEX)),
        Err(ManifestError::Missing("manifests"))
    ));
    let bare = without(index(&OCI_INDEX), "mediaType");
    assert!(matches!(
        parse(&bare, Some(&OCI_MANIFEST)),
        Err(ManifestError::Missing("config"))
    ));
}

/// CVE-2021-41190: a body that is an image to one client and an index to another, by the type that
/// each was told.
#[test]
fn a_body_with_the_fields_of_both_kinds_is_refused() {
    for value in [
        json!([descriptor(&OCI_MANIFEST, "child")]),
        json!([]),
        json!(null),
    ] {
        for content_type in [None, Some(&OCI_MANIFEST), Some(&JSON)] {
            let both = with(image(&OCI_MANIFEST), "manifests", value.clone());
            assert!(matches!(
                parse(&both, content_type),
                Err(ManifestError::Ambiguous)
            ));
            let both = without(both, "mediaType");
            assert!(matches!(
                parse(&both, content_type),
                Err(ManifestError::Ambiguous)
            ));
        }
    }
    for key in ["layers", "config"] {
        let both = with(index(&OCI_INDEX), key, json!(null));
        assert!(matches!(
            parse(&both, Some(&OCI_INDEX)),
            Err(ManifestError::Ambiguous)
        ));
    }
}

/// Clients in Go read `Layers` as `layers`, so that what was an index to this mirror was an image to them.
#[test]
fn a_field_in_another_spelling_is_refused() {
    for (body, media_type, spelling) in [
        (index(&OCI_INDEX), OCI_INDEX, "Layers"),
        (index(&OCI_INDEX), OCI_INDEX, "layer\u{17f}"),
        (image(&OCI_MANIFEST), OCI_MANIFEST, "MANIFESTS"),
        (image(&OCI_MANIFEST), OCI_MANIFEST, "MediaType"),
        (image(&OCI_MANIFEST), OCI_MANIFEST, "schemaversion"),
    ] {
        let body = with(body, spelling, json!(null));
        for content_type in [None, Some(&media_type)] {
            assert!(matches!(
                parse(&body, content_type),
                Err(ManifestError::Lookalike(_))
            ));
        }
    }
    // What is not read by anybody may be called what it likes.
    let body = with(image(&OCI_MANIFEST), "Annotations", json!({"Layers": ""}));
    assert!(parse(&body, None).is_ok());
}

/// Found by the fuzzer: what the mirror has no use for was not looked at, and clients were left to make of it what they would.
#[test]
fn bytes_that_are_no_text_are_refused() {
    let text = image(&OCI_MANIFEST).to_string();
    let text = text.replacen('{', r#"{"x":"?","#, 1);
    let mut bytes = text.into_bytes();
    assert!(Manifest::parse(&bytes, None).is_ok());
    let at = bytes.iter().position(|byte| *byte == b'?').unwrap();
    bytes[at] = 0xc1;
    assert!(matches!(
        Manifest::parse(&bytes, None),
        Err(ManifestError::NotText)
    ));
}

#[test]
fn a_field_given_twice_is_refused() {
    let text = image(&OCI_MANIFEST)
        .to_string()
        .replacen('{', r#"{"layers":[],"#, 1);
    assert!(matches!(
        Manifest::parse(text.as_bytes(), None),
        Err(ManifestError::Json(_))
    ));
}

#[test]
fn schema_1_is_refused_clearly() {
    let schema1 =
        json!({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": []});
    for (body, content_type) in [
        (schema1.clone(), None),
        (schema1.clone(), Some(&DOCKER_SCHEMA1_SIGNED)),
        (image(&OCI_MANIFEST), Some(&DOCKER_SCHEMA1_SIGNED)),
        (with(image(&OCI_MANIFEST), "fsLayers", json!([])), None),
        (with(image(&OCI_MANIFEST), "fsLayers", json!(null)), None),
        (
            with(
                image(&OCI_MANIFEST),
                "mediaType",
                json!(DOCKER_SCHEMA1_SIGNED),
            ),
            None,
        ),
    ] {
        let error = parse(&body, content_type).unwrap_err();
        assert!(matches!(error, ManifestError::Schema1), "{error}");
        assert!(error.to_string().contains("schema 1"));
    }
}

#[test]
fn empty_lists_may_be_written_as_null_or_left_out() {
    for manifest in [
        with(image(&OCI_MANIFEST), "layers", json!(null)),
        without(image(&OCI_MANIFEST), "layers"),
    ] {
        assert_eq!(parse(&manifest, None).unwrap().references().count(), 1);
    }
    assert_eq!(
        parse(&with(index(&OCI_INDEX), "manifests", json!(null)), None)
            .unwrap()
            .references()
            .count(),
        0
    );
}

#[test]
fn what_is_no_manifest_is_refused() {
    for body in [
        "",
        "null",
        "[]",
        "{}",
        "\"x\"",
        "{\"schemaVersion\":2}",
        "<html>",
        "{",
        "{}{}",
    ] {
        assert!(Manifest::parse(body.as_bytes(), None).is_err(), "{body}");
    }
    for (key, value) in [
        ("schemaVersion", json!(3)),
        (
            "mediaType",
            json!("application/vnd.oci.artifact.manifest.v1+json"),
        ),
        ("mediaType", json!("not a type")),
        ("config", json!(null)),
        ("layers", json!([{"digest": "sha256:00"}])),
        ("layers", json!({})),
    ] {
        assert!(
            parse(&with(image(&OCI_MANIFEST), key, value), None).is_err(),
            "{key}"
        );
    }
}

#[test]
fn limits_hold_at_their_edge() {
    let padded = |size: usize| {
        let mut bytes = image(&OCI_MANIFEST).to_string().into_bytes();
        bytes.resize(size, b' ');
        bytes
    };
    assert!(Manifest::parse(&padded(MAX_MANIFEST_BYTES), None).is_ok());
    let error = Manifest::parse(&padded(MAX_MANIFEST_BYTES + 1), None).unwrap_err();
    assert!(matches!(error, ManifestError::TooLarge { size } if size == MAX_MANIFEST_BYTES + 1));

    let nested = |levels: usize| {
        let mut value = json!(0);
        for _ in 1..levels {
            value = json!([value]);
        }
        with(image(&OCI_MANIFEST), "annotations", value)
    };
    assert!(parse(&nested(MAX_DEPTH), None).is_ok());
    assert!(matches!(
        parse(&nested(MAX_DEPTH + 1), None),
        Err(ManifestError::TooDeep)
    ));
    assert!(matches!(
        Manifest::parse(&vec![b'['; MAX_MANIFEST_BYTES], None),
        Err(ManifestError::TooDeep)
    ));

    let layers = |count: usize| {
        with(
            image(&OCI_MANIFEST),
            "layers",
            json!(vec![descriptor(&OCI_LAYER_GZIP, ""); count]),
        )
    };
    assert!(parse(&layers(MAX_DESCRIPTORS - 1), None).is_ok());
    let error = parse(&layers(MAX_DESCRIPTORS), None).unwrap_err();
    assert!(
        matches!(error, ManifestError::TooManyDescriptors { count } if count == MAX_DESCRIPTORS + 1)
    );
}

#[test]
fn brackets_in_strings_are_not_depth() {
    assert_eq!(depth(br#"{"a":"[[[[\"[[[\\","b":[{}]}"#), 3);
    assert_eq!(depth(b"]]]][["), 2);
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(sizes in prop::collection::vec(0..=i64::MAX as u64, 0..20)) {
        let layers: Vec<_> = sizes
            .iter()
            .map(|size| Descriptor::new(OCI_LAYER_GZIP, Digest::of(Algorithm::Sha512, &size.to_le_bytes()), *size))
            .collect();
        let body = with(image(&OCI_MANIFEST), "layers", json!(layers));
        prop_assert_eq!(parse(&body, Some(&OCI_MANIFEST)).unwrap().layers, layers);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Manifest::parse(&bytes, None);
    }

    #[test]
    fn no_mangled_manifest_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = image(&OCI_MANIFEST).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Manifest::parse(&bytes, Some(&OCI_MANIFEST));
    }
}
