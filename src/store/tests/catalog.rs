//! Which repositories have a manifest here, without reading every tag and link.

use super::support::*;
use crate::oci::{Descriptor, Digest, Registry, Repository, RepositoryName};
use crate::store::{Audience, Store, TagRecord};

async fn tagged(store: &Store, registry: &str, name: &str, tags: &[&str]) {
    let digest = put_manifest(store, 1).await;
    let (bytes, media_type) = manifest(1);
    let record = TagRecord {
        descriptor: Descriptor::new(media_type, digest, bytes.len() as u64),
        confirmed_at: std::time::UNIX_EPOCH,
        refused: false,
        audience: Audience::Everyone,
    };
    let repository = Repository::new(registry.parse().unwrap(), name.parse().unwrap());
    for text in tags {
        let tag = tag(text);
        let put = store.put_tag(&repository, &tag, record.clone());
        put.await.unwrap();
    }
}

async fn names(store: &Store, registry: &str, after: &str, count: usize) -> Vec<String> {
    let registry: Registry = registry.parse().unwrap();
    let names = store
        .repositories(&registry, after, count, Audience::Everyone)
        .await
        .unwrap();
    names.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn repositories_with_tags_are_listed_in_order_and_survive_a_restart() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    assert_eq!(store.registries(9).await.unwrap(), []);
    assert!(names(&store, "a.io", "", 9).await.is_empty());
    for (registry, name, tags) in [
        ("a.io", "x/y", &["v1", "v2", "v3"][..]),
        ("a.io", "x", &["v1"]),
        ("a.io", "x-y", &["0", "_", "z"]),
        ("a.io:5000", "far", &["v1"]),
        ("a.io.example", "near", &["v1"]),
    ] {
        tagged(&store, registry, name, tags).await;
    }
    store.close().await;
    let store = dir.open(64 * MIB).await;
    let registries = store.registries(9).await.unwrap();
    let registries: Vec<_> = registries.iter().map(Registry::as_str).collect();
    assert_eq!(registries, ["a.io", "a.io.example", "a.io:5000"]);
    assert_eq!(store.registries(2).await.unwrap().len(), 2);
    for (after, count, expected) in [
        ("", 9, &["x", "x-y", "x/y"][..]),
        ("", 2, &["x", "x-y"]),
        ("x", 9, &["x-y", "x/y"]),
        ("x-", 1, &["x-y"]),
        ("x-y", 9, &["x/y"]),
        ("x/y", 9, &[]),
        ("zzz", 9, &[]),
        ("a", 0, &[]),
    ] {
        let found = names(&store, "a.io", after, count).await;
        assert_eq!(found, expected, "{after:?} {count}");
    }
    let gone = repository("x");
    let gone = Repository::new("a.io".parse().unwrap(), gone.name);
    store.remove_tag(&gone, &tag("v1")).await.unwrap();
    assert_eq!(names(&store, "a.io", "", 9).await, ["x-y", "x/y"]);
}

/// A repository whose images were pulled by digest alone was not listed.
#[tokio::test]
async fn repositories_that_hold_a_manifest_are_listed_as_long_as_it_is_here() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let digest = put_manifest(&store, 1).await;
    let blob = body(2, 1000);
    fill(&store, &blob).await.unwrap();
    let link = async |registry: &str, name: Option<&str>, digest: &Digest| {
        let name = name.map(|name| name.parse().unwrap());
        let registry = registry.parse().unwrap();
        let linked = store.record_link(&registry, name.as_ref(), digest, Audience::Everyone);
        linked.await.unwrap();
    };
    link("a.io", Some("b"), &digest).await;
    link("a.io", Some("b/c"), &digest).await;
    link("z.io", Some("y"), &digest).await;
    // Everybody's, only a blob, and not here.
    link("a.io", None, &digest).await;
    link("a.io", Some("of-blobs"), &self::digest(&blob)).await;
    link("a.io", Some("never"), &self::digest(b"never")).await;
    tagged(&store, "a.io", "a", &["v1"]).await;
    tagged(&store, "a.io", "b", &["v1", "v2"]).await;
    tagged(&store, "a.io", "bb", &["v1"]).await;
    let registries = store.registries(9).await.unwrap();
    let registries: Vec<_> = registries.iter().map(Registry::as_str).collect();
    assert_eq!(registries, ["a.io", "z.io"]);
    for (after, count, expected) in [
        ("", 9, &["a", "b", "b/c", "bb"][..]),
        ("", 2, &["a", "b"]),
        ("b", 9, &["b/c", "bb"]),
        ("b/", 1, &["b/c"]),
        ("bb", 9, &[]),
    ] {
        let found = names(&store, "a.io", after, count).await;
        assert_eq!(found, expected, "{after:?} {count}");
    }
    assert_eq!(names(&store, "z.io", "", 9).await, ["y"]);
    store.remove(&digest).await.unwrap();
    assert_eq!(store.registries(9).await.unwrap(), []);
    assert!(names(&store, "a.io", "", 9).await.is_empty());
}

/// A repository that only clients' logins have seen was listed for everyone.
#[tokio::test]
async fn repositories_that_were_seen_with_clients_logins_are_listed_for_logins_alone() {
    let dir = Dir::new();
    let store = dir.open(64 * MIB).await;
    let digest = put_manifest(&store, 1).await;
    let (bytes, media_type) = manifest(1);
    let registry: Registry = "a.io".parse().unwrap();
    let link = async |name: &str, by| {
        let name = name.parse().unwrap();
        let linked = store.record_link(&registry, Some(&name), &digest, by);
        linked.await.unwrap();
    };
    let tagged = async |name: &str, text: &str, by, refused| {
        let record = TagRecord {
            descriptor: Descriptor::new(media_type.clone(), digest, bytes.len() as u64),
            confirmed_at: std::time::UNIX_EPOCH,
            refused,
            audience: by,
        };
        let repository = Repository::new(registry.clone(), name.parse().unwrap());
        store
            .put_tag(&repository, &tag(text), record)
            .await
            .unwrap();
    };
    let (everyone, logins) = (Audience::Everyone, Audience::Logins);
    link("linked", logins).await;
    tagged("tagged", "v1", logins, false).await;
    link("tagged", logins).await;
    link("tagged-and-linked", everyone).await;
    tagged("tagged-and-linked", "v1", logins, false).await;
    tagged("tagged-twice", "v1", logins, false).await;
    tagged("tagged-twice", "v2", everyone, false).await;
    tagged("refused", "v1", logins, false).await;
    tagged("refused", "v2", everyone, false).await;
    tagged("refused", "v2", everyone, true).await;
    for (by, expected) in [
        (everyone, &["tagged-and-linked", "tagged-twice"][..]),
        (
            logins,
            &[
                "linked",
                "refused",
                "tagged",
                "tagged-and-linked",
                "tagged-twice",
            ],
        ),
    ] {
        let names = store.repositories(&registry, "", 9, by).await.unwrap();
        let names: Vec<_> = names.iter().map(RepositoryName::as_str).collect();
        assert_eq!(names, expected, "{by:?}");
    }
}
