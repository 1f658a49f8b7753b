//! `daemon.json`.

use proptest::prelude::*;
use serde::Serialize as _;
use serde_json::{Value, json};

use super::{MIRROR, edit, request};
use crate::client::{Edit, Kind, Known};

fn daemon() -> Box<dyn Edit> {
    edit(Kind::Docker, &request(), "daemon.json")
}

fn known<'a>(original: Option<&'a str>, added: &'a [String]) -> Known<'a> {
    Known { original, added }
}

#[test]
fn other_bytes_stay_as_they_are() {
    for (existing, merged) in [
        (
            "{\n    \"debug\": true,\n    \"x\": 1.0e3\n}\n",
            "{\n    \"debug\": true,\n    \"x\": 1.0e3,\n    \"registry-mirrors\": [\"http://mirror.lan:5000\"],\n    \
             \"insecure-registries\": [\"mirror.lan:5000\"]\n}\n",
        ),
        (
            "{\"registry-mirrors\":[\"https://a\"],\"insecure-registries\":[]}",
            "{\"registry-mirrors\":[\"http://mirror.lan:5000\", \"https://a\"],\"insecure-registries\":[\"mirror.lan:5000\"]}",
        ),
        (
            "{\n  \"insecure-registries\": [\"mirror.lan:5000\"],\n  \"registry-mirrors\": [\n    \"https://a\"\n  ]\n}",
            "{\n  \"insecure-registries\": [\"mirror.lan:5000\"],\n  \"registry-mirrors\": [\n    \
             \"http://mirror.lan:5000\",\n    \"https://a\"\n  ]\n}",
        ),
        (
            "{\"registry-mirrors\": [\"http://mirror.lan:5000/\"], \"insecure-registries\": [\"mirror.lan:5000\"]}",
            "{\"registry-mirrors\": [\"http://mirror.lan:5000/\"], \"insecure-registries\": [\"mirror.lan:5000\"]}",
        ),
    ] {
        assert_eq!(daemon().merge(existing).unwrap(), merged);
    }
}

#[test]
fn an_empty_file_is_filled() {
    for existing in ["", "\n"] {
        assert_eq!(daemon().merge(existing).unwrap(), daemon().fresh());
    }
    let merged = daemon().merge("{ }").unwrap();
    assert!(serde_json::from_str::<Value>(&merged).is_ok(), "{merged}");
}

#[test]
fn what_is_not_understood_is_refused_with_what_to_add() {
    for (existing, problem) in [
        ("{\n  // a comment\n}", "line 2"),
        ("{\"debug\": true,}", "trailing comma"),
        ("{} {}", "trailing"),
        ("[]", "not a JSON object"),
        ("{\"registry-mirrors\": \"http://a\"}", "not a list"),
        (
            "{\"registry-mirrors\": [], \"registry-mirrors\": []}",
            "twice",
        ),
        (
            "{\"registry-mirrors\": [\"https://a\", \"http://mirror.lan:5000\"]}",
            "move it to the front",
        ),
    ] {
        let message = daemon().merge(existing).unwrap_err().to_string();
        assert!(message.contains(problem), "{existing}: {message}");
        assert!(message.contains(MIRROR), "{message}");
    }
}

#[test]
fn undo_takes_ours_and_leaves_what_was_there_before() {
    let added = "{\"registry-mirrors\": [\"http://mirror.lan:5000\", \"https://a\"], \
                 \"insecure-registries\": [\"mirror.lan:5000\"], \"debug\": true}";
    assert_eq!(
        daemon().remove(added, Known::default()).unwrap(),
        added,
        "the user's own, for all that is known"
    );
    let left = daemon()
        .remove(added, known(None, &daemon().adds("")))
        .unwrap();
    assert_eq!(
        left,
        "{\"registry-mirrors\": [\"https://a\"], \"debug\": true}"
    );
    let before = "{\"insecure-registries\": [\"mirror.lan:5000\"], \"registry-mirrors\": []}";
    let left = daemon()
        .remove(
            &daemon().merge(before).unwrap(),
            known(Some(before), &daemon().adds(before)),
        )
        .unwrap();
    assert_eq!(left, before);
    let fresh = daemon().fresh();
    let left = daemon().remove(&fresh, known(None, &daemon().adds("")));
    assert_eq!(left.unwrap(), "");
}

/// A daemon.json as somebody could have written it, and what is in it.
fn files() -> impl Strategy<Value = (String, Value)> {
    let strings = || prop::collection::vec("[a-z:/\\\\\"\\{\\[, ]{0,9}", 0..4);
    let other = prop_oneof![
        any::<i64>().prop_map(|number| json!(number)),
        "[a-z\\\\\"\\{\\}\\[\\],é ]{0,9}".prop_map(|text| json!(text)),
        Just(json!(null)),
        Just(json!({"registry-mirrors": ["http://mirror.lan:5000"]})),
        strings().prop_map(|list| json!(list)),
    ];
    let lists = prop::option::of(strings());
    (
        prop::collection::btree_map("[a-d\"{}é]{1,3}", other, 0..4),
        lists.clone(),
        lists,
        0..4,
    )
        .prop_map(|(others, mirrors, insecure, style)| {
            let mut object: serde_json::Map<_, _> = others.into_iter().collect();
            object.extend(mirrors.map(|list| ("registry-mirrors".into(), json!(list))));
            object.extend(insecure.map(|list| ("insecure-registries".into(), json!(list))));
            let value = Value::Object(object);
            let text = match style {
                0 => value.to_string(),
                1 => serde_json::to_string_pretty(&value).unwrap(),
                2 => indented_by_tabs(&value).replace('\n', "\r\n"),
                _ => format!(" {value} \n"),
            };
            (text, value)
        })
}

fn indented_by_tabs(value: &Value) -> String {
    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, tabs);
    value.serialize(&mut serializer).unwrap();
    String::from_utf8(text).unwrap()
}

proptest! {
    #[test]
    fn a_merge_adds_ours_and_nothing_else_and_undo_takes_it_back((text, value) in files()) {
        let merged = daemon().merge(&text).unwrap();
        let mut found: Value = serde_json::from_str(&merged).unwrap();
        prop_assert_eq!(&found["registry-mirrors"][0], MIRROR);
        prop_assert_eq!(&found["insecure-registries"][0], "mirror.lan:5000");
        prop_assert_eq!(daemon().merge(&merged).unwrap(), merged.clone());

        for list in ["registry-mirrors", "insecure-registries"] {
            found[list].as_array_mut().unwrap().remove(0);
            if value.get(list).is_none() {
                found.as_object_mut().unwrap().remove(list);
            }
        }
        prop_assert_eq!(&found, &value);
        let added = daemon().adds(&text);
        let left = daemon().remove(&merged, known(Some(&text), &added)).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&left).unwrap(), value);
    }

    #[test]
    fn no_text_panics(text in "[ \\[\\]\\{\\}:,\"a-b\\\\u0-9é]{0,30}") {
        let _ = daemon().merge(&text);
        let _ = daemon().remove(&text, known(Some(&text), &daemon().adds("")));
    }
}
