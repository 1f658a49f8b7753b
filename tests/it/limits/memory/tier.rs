//! The memory tier, and what is known beside it: sizes, rights and tags.

use forebay_loadtest::origin::Origin;

use super::{check, most, own};
use crate::harness::{Forebay, Setup, heavy, plain_origin};

/// What images' manifests are.
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A manifest with these layers, and what it says beside that.
fn manifest(config: &str, layers: &str, said: &str) -> String {
    let config = format!(
        r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}}"#
    );
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{layers}],"annotations":{{"said":"{said}"}}}}"#
    )
}

/// A mirror with so much memory for its tier, before an origin with manifests that `make` makes of their number.
async fn with_manifests(
    tier: &str,
    count: usize,
    make: impl Fn(&str, usize) -> String,
) -> (Forebay, Vec<String>, Origin) {
    let mut digests = Vec::new();
    let builder = plain_origin().repository("library/app", |repository| {
        let config = repository.blob("{}").digest.to_string();
        let manifests = (0..count).map(|number| make(&config, number));
        for text in manifests {
            digests.push(repository.manifest(OCI_MANIFEST, text).digest.to_string());
        }
    });
    let origin = builder.start().await.unwrap();
    let tier = format!("[cache]\nmemory = \"{tier}\"");
    let forebay = Setup::new(&origin).config(&tier).start().await;
    (forebay, digests, origin)
}

async fn pull(forebay: &Forebay, manifests: &[String]) {
    let client = forebay.client();
    for digest in manifests {
        let answer = client.manifest("library/app", digest).await;
        assert_eq!(answer.status, 200);
    }
}

/// More manifests than the tier has room for, each of them asked for twice.
#[tokio::test(flavor = "multi_thread")]
async fn the_memory_tier_takes_no_more_than_it_may() {
    const TIER: u64 = 32 << 20;
    const MANIFESTS: usize = 2_000;
    const SAID: usize = 32 << 10;
    heavy();
    let make = |config: &str, number: usize| manifest(config, "", &format!("{number:0SAID$}"));
    let (forebay, manifests, _origin) = with_manifests("32MiB", MANIFESTS, make).await;
    pull(&forebay, &manifests[..10]).await;
    let before = own(forebay.pid());
    for _ in 0..2 {
        pull(&forebay, &manifests).await;
    }
    let after = own(forebay.pid());
    println!("memory tier: {} and then {} KiB", before >> 10, after >> 10);
    // It was filled, or there is nothing to see.
    assert!(after - before >= TIER / 2, "{before} and then {after}");
    let allowed = before + most(1, TIER);
    assert!(after <= allowed, "{before} and then {after} bytes");
}

/// By what manifests say, the mirror knows sizes and rights of what is asked for next.
#[tokio::test(flavor = "multi_thread")]
async fn what_manifests_name_takes_what_is_stated() {
    const MANIFESTS: usize = 10;
    const LAYERS: usize = 4_000;
    heavy();
    let make = |config: &str, number: usize| {
        let layer = |at: usize| {
            let hex = format!("{:064x}", number * LAYERS + at);
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:{hex}","size":{at}}}"#
            )
        };
        let layers: Vec<_> = (0..LAYERS).map(layer).collect();
        manifest(config, &layers.join(","), "")
    };
    let (forebay, manifests, _origin) = with_manifests("1MiB", MANIFESTS + 2, make).await;
    let (first, others) = manifests.split_at(2);
    pull(&forebay, first).await;
    let before = own(forebay.pid());
    pull(&forebay, others).await;
    let what = "for each blob that manifests have named, of 100,000 at most";
    check(what, MANIFESTS * LAYERS, before, own(forebay.pid()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_take_what_is_stated() {
    const TAGS: usize = 4_000;
    heavy();
    let tags: Vec<_> = (0..TAGS).map(|number| format!("v{number}")).collect();
    let builder = plain_origin().repository("library/app", |repository| {
        let config = repository.blob("{}").digest.to_string();
        let all = repository.manifest(OCI_MANIFEST, manifest(&config, "", ""));
        for tag in &tags {
            repository.tag(tag, &all.digest);
        }
    });
    let origin = builder.start().await.unwrap();
    let forebay = Setup::new(&origin).start().await;
    let (first, others) = tags.split_at(100);
    pull(&forebay, first).await;
    let before = own(forebay.pid());
    pull(&forebay, others).await;
    let what = "for each tag that was asked for, of 100,000 at most";
    check(what, others.len(), before, own(forebay.pid()));
}
